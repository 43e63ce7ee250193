"""A tiny sweep's config and store, and which of its cells are trained."""

from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_config

from finegates_engine.config import RunConfig
from finegates_engine.runs.store import RunStore
from finegates_engine.train import cell as cell_module


@pytest.fixture
def base(tiny_backbone: Path, tiny_task: Path) -> RunConfig:
    return tiny_config(tiny_backbone, tiny_task)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "store")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """(target, seed) of every cell that is really trained, in order."""
    seen: list[tuple[float, int]] = []
    real = cell_module.fit

    def fit(config: RunConfig, *args: Any, **options: Any) -> Any:
        seen.append((config.gates.target, config.seed))
        return real(config, *args, **options)

    monkeypatch.setattr(cell_module, "fit", fit)
    return seen
