"""A sweep whose disk becomes full: it says so, loses nothing, and goes on once there is room."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import content, files
from small_disk import fill, mounted
from tiny import child_environment, tiny_config

from finegates_engine.config import RunConfig
from finegates_engine.errors import DiskError
from finegates_engine.results import RunResult
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep import jobs
from finegates_engine.sweep.runner import run_sweep
from finegates_engine.sweep.state import SweepState
from finegates_engine.sweep.workers import worker_processes
from finegates_engine.train import training

TARGETS = (0.2, 0.5)
STEP = 60_000
"""Bytes more at each attempt; a checkpoint of the tiny model takes about 150,000."""

WHAT_NEXT = "the same command goes on."

Sweep = Callable[..., SweepState]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", megabytes=8):
        yield tmp_path / "disk"


@pytest.fixture
def base(tiny_backbone: Path, tiny_task: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Checkpoints each 5 of 12 steps."""
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 5)
    return tiny_config(tiny_backbone, tiny_task)


def sweep(base: RunConfig, store: RunStore, **options: Any) -> SweepState:
    return run_sweep(base, TARGETS, (0,), store=store, **{"strategy": "path", **options})


class Filler:
    """Fills a disk but for some bytes once a cell is running at a step."""

    def __init__(self, place: Path, *, left: int, step: int = 0) -> None:
        self.place, self.left, self.step = place, left, step
        self.file: Path | None = None

    def __call__(self, state: SweepState) -> None:
        if self.file is None and any(cell.step >= self.step for cell in state.running):
            self.file = fill(self.place, left=self.left)


def assert_nothing_is_lost(store: RunStore, error: DiskError) -> None:
    """The sweep has said it, no cell is recorded as failed, no checkpoint is half-written."""
    assert "\n" not in str(error)
    assert "(No space left on device)" in str(error)
    assert str(error).endswith(WHAT_NEXT)
    work = store.root / ".work"
    assert not list(work.glob("*/failed.json"))
    assert not list(work.glob("saving-*"))
    unfinished = [p for p in work.glob("*/checkpoint-*") if not (p / "trainer_state.json").exists()]
    assert unfinished == []
    assert store.damaged(verify=True) == []


def test_sweep_on_a_disk_that_becomes_full_goes_on_when_there_is_room(
    base: RunConfig, disk: Path, tmp_path: Path
) -> None:
    """Ever more room, a little each time, so that each thing that is written fails once."""
    whole, store = RunStore(tmp_path / "whole"), RunStore(disk / "store")
    sweep(base, whole)
    reasons, left = [], 0
    while len(store.ids()) < len(TARGETS):
        filler = Filler(disk, left=left)
        try:
            sweep(base, store, on_state=filler)
        except DiskError as error:
            assert_nothing_is_lost(store, error)
            reasons.append(str(error))
        finally:
            assert filler.file is not None
            filler.file.unlink()
        left += STEP
    assert any(reason.startswith("No checkpoint can be written") for reason in reasons)
    assert content(store.root) == content(whole.root)
    assert files(store.root) == files(whole.root)


def test_run_that_finds_no_room_after_its_training_is_saved_by_the_next_sweep(
    base: RunConfig, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, store = RunStore(tmp_path / "whole"), RunStore(disk / "store")
    sweep(base, whole)
    encode, fillers = jobs.encode, []

    def fill_and_encode(result: RunResult) -> dict[str, bytes]:
        fillers.append(fill(disk, left=0))
        return encode(result)

    monkeypatch.setattr(jobs, "encode", fill_and_encode)
    with pytest.raises(DiskError, match="could not be saved in") as caught:
        sweep(base, store)
    assert_nothing_is_lost(store, caught.value)
    assert list(store.root.glob(".work/*/checkpoint-12"))
    fillers[0].unlink()
    monkeypatch.setattr(jobs, "encode", encode)
    sweep(base, store)
    assert content(store.root) == content(whole.root)
    assert files(store.root) == files(whole.root)


@pytest.mark.slow
def test_workers_on_a_disk_that_becomes_full_stop_and_go_on_when_there_is_room(
    base: RunConfig, disk: Path, tmp_path: Path
) -> None:
    whole, store = RunStore(tmp_path / "whole"), RunStore(disk / "store")
    options: dict[str, Any] = {"strategy": "independent", "executor": worker_processes(2)}
    sweep(base, whole, **options)
    filler = Filler(disk, left=0, step=1)
    with pytest.raises(DiskError) as caught:
        sweep(base, store, on_state=filler, **options)
    assert_nothing_is_lost(store, caught.value)
    assert filler.file is not None
    filler.file.unlink()
    sweep(base, store, **options)
    assert content(store.root) == content(whole.root)
    assert files(store.root) == files(whole.root)


@pytest.mark.slow
def test_launched_processes_on_a_disk_that_becomes_full_end_and_go_on_when_there_is_room(
    base: RunConfig, disk: Path, tmp_path: Path
) -> None:
    """Two processes share a training; the first alone writes, and says why both end."""
    store = RunStore(disk / "store")
    launch = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone")
    options = ("--task", "reviews", "--data", base.task.data, "--text-fields", "text",
               "--backbone", base.model.backbone, "--targets", "0.5", "--epochs", "60",
               "--batch-size", "8", "--store", store.root)  # fmt: skip
    command = [sys.executable, *launch, "-m", "finegates_engine", "sweep", *map(str, options)]
    written = tmp_path / "said.txt"
    with written.open("w") as errors:
        sweeps = subprocess.Popen(command, env=child_environment(), stderr=errors)
        while sweeps.poll() is None:
            if list(store.root.glob(".work/*/checkpoint-*")):
                filler = fill(disk, left=0)  # again: an older checkpoint may have gone
            time.sleep(0.01)
    said = written.read_text()
    assert sweeps.returncode == 1, said[-2000:]
    lines = [one for one in said.splitlines() if one.startswith("No checkpoint can be written")]
    assert len(lines) == 1, said[-2000:]
    assert lines[0].endswith(WHAT_NEXT)
    assert not list(store.root.glob(".work/*/failed.json"))
    filler.unlink()
    done = subprocess.run(command, env=child_environment(), timeout=300, check=False)
    assert done.returncode == 0
    assert len(store.ids()) == 1
    assert store.damaged(verify=True) == []
