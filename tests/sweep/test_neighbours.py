"""Sweeps at once on one store, with cells in common, while the explorer reads."""

import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
from faults import content, files
from neighbours import start_sweep
from tiny import tiny_config

from explorer.loading import loaders
from finegates_engine.config import RunConfig
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import run_sweep
from finegates_engine.sweep.state import read_sweeps

LONGEST_SECONDS = 400
LEVELS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6)


@pytest.fixture
def base(tiny_backbone: Path, tiny_task: Path) -> RunConfig:
    return tiny_config(tiny_backbone, tiny_task, gates={"history_frames": 4})


class Reader(threading.Thread):
    """Reads a store with all of the explorer's loaders, again and again, until it is stopped."""

    def __init__(self, root: Path) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.rounds = self.runs = 0
        self.damaged: set[tuple[str, str]] = set()
        self.error = ""
        self._ended = threading.Event()

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                self._read()
                self.rounds += 1
        except Exception:
            self.error = traceback.format_exc()

    def _read(self) -> None:
        loaders._version.clear()
        store = loaders.current()
        listing = loaders.listing(store)
        self.damaged |= {(item.path, item.reason) for item in listing.damaged}
        self.damaged |= {(s.sweep_id, str(s.note)) for s in loaders.sweeps(store) if not s.task}
        assert len(loaders.curves(store).rows) >= len(listing.frame)
        for name, split in zip(listing.frame["run_id"], listing.frame["split"], strict=True):
            assert loaders.record(store, name).run_id == name
            assert len(loaders.predictions(store, name, split))
            assert len(loaders.history(store, name))
            assert loaders.gate_values(store, name)
            assert loaders.gate_history(store, name) is not None
            self.runs += 1

    def stop(self) -> None:
        self._ended.set()
        self.join(60)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setenv(loaders.VARIABLE, str(tmp_path / "store"))
    return Reader(tmp_path / "store")


@pytest.mark.parametrize(
    ("strategy", "plans"),
    [
        ("independent", [LEVELS[:3], LEVELS[1:4]]),
        ("path", [LEVELS[:2], LEVELS[:3]]),
        pytest.param(
            "independent",
            [LEVELS[:3], LEVELS[1:4], LEVELS[2:5], LEVELS[3:]],
            marks=pytest.mark.slow,
        ),
        pytest.param("path", [LEVELS[: n + 1] for n in range(1, 5)], marks=pytest.mark.slow),
    ],
)
def test_sweeps_at_once_train_each_cell_once_and_the_explorer_reads_on(
    base: RunConfig, tmp_path: Path, reader: Reader, strategy: Any, plans: list[tuple[float, ...]]
) -> None:
    store, alone = RunStore(tmp_path / "store"), RunStore(tmp_path / "alone")
    children = [start_sweep(base, plan, store.root, strategy=strategy) for plan in plans]
    reader.start()
    for child in children:
        child.join(LONGEST_SECONDS)
    reader.stop()
    assert [child.exitcode for child in children] == [0] * len(plans)
    assert reader.error == ""
    assert reader.damaged == set()
    assert reader.runs > 0
    sweeps = read_sweeps(store.root)
    assert [sweep.state for sweep in sweeps] == ["finished"] * len(plans)
    cells = [cell for sweep in sweeps for cell in sweep.cells]
    assert {cell.state for cell in cells} == {"done"}
    trained = [cell.run_id for cell in cells if cell.seconds is not None]
    assert sorted(trained) == sorted({cell.run_id for cell in cells})
    run_sweep(base, sorted(set().union(*plans)), (0,), store=alone, strategy=strategy)
    assert content(store.root) == content(alone.root)
    assert files(store.root) == files(alone.root)
