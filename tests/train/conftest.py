"""Trainings on the tiny BERT."""

from pathlib import Path
from typing import Any

import pytest
from tiny_trainings import config

from finegates_engine.config import RunConfig
from finegates_engine.data.load import TaskData, load_task
from finegates_engine.train.training import Trained, fit


@pytest.fixture(scope="module")
def data() -> TaskData:
    return load_task(config().task)


@pytest.fixture
def run(tiny_backbone: Path, data: TaskData, tmp_path: Path) -> Any:
    """Train a config in a scratch folder of that name."""

    def go(cell: RunConfig, *, name: str = "scratch", **options: Any) -> Trained:
        return fit(cell, options.pop("data", data), tiny_backbone, tmp_path / name, **options)

    return go
