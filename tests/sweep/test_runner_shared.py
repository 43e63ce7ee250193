"""Cells that more than one sweep or process has a part in."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweep_states import states
from tiny import child_environment

from finegates_engine.config import RunConfig
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import run_sweep


def test_a_cell_that_another_sweep_trains_is_waited_for(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]], monkeypatch: Any
) -> None:
    """The neighbour is played by a lock that is given back while the sweep waits."""
    from finegates_engine.sweep import jobs as sweep_jobs

    plan = run_sweep(base, (0.0,), (0,), store=store)
    (name,) = [cell.run_id for cell in plan.cells]
    saved = store.root.parent / "aside"
    (store.root / "reviews" / name).rename(saved)
    lock = store.lock(name)
    lock.acquire()
    notes: list[str | None] = []

    def neighbour_finishes(seconds: float) -> None:
        saved.rename(store.root / "reviews" / name)
        lock.release()

    clock = SimpleNamespace(sleep=neighbour_finishes, monotonic=time.monotonic, time=time.time)
    monkeypatch.setattr(sweep_jobs, "time", clock)
    del trained[:]
    state = run_sweep(
        base, (0.0, 0.4), (0,), store=store, on_state=lambda s: notes.append(s.cells[0].note)
    )
    assert trained == [(0.4, 0)]
    assert "Another sweep trains it." in notes
    assert states(state) == ["done", "done"]
    assert [cell.cached for cell in state.cells] == [True, False]


@pytest.mark.slow
def test_two_launched_processes_share_each_training(
    tiny_backbone: Path, tiny_task: Path, store: RunStore
) -> None:
    launch = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    options = ["--task", "reviews", "--data", tiny_task, "--text-fields", "text", "--backbone",
               tiny_backbone, "--targets", "0,0.5", "--strategy", "path", "--epochs", "2",
               "--path-epochs", "2", "--batch-size", "8", "--store", store.root]  # fmt: skip
    done = subprocess.run(
        [sys.executable, *launch, "-m", "finegates_engine", "sweep", *map(str, options)],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    frame = store.frame()
    assert sorted(frame["target"]) == [0.0, 0.5]
    assert set(frame["steps"]) == {12}  # 96 rows, 2 x 8 a step, 2 epochs
