"""A bundle of a tiny run, to look at or to change."""

import shutil
from pathlib import Path

import pytest
from tiny_bundle import make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    make(folder, target=folder / "bundle")
    return folder / "bundle"


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))
