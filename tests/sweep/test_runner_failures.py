"""Cells that fail, and sweeps that are killed or interrupted: what is kept, and how it goes on."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep_states import states
from tiny import child_environment, cli_command

from finegates_engine.config import RunConfig
from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import run_sweep
from finegates_engine.sweep.state import read_sweeps
from finegates_engine.train import cell as cell_module


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> set[float]:
    """Targets whose training fails; can be emptied."""
    broken: set[float] = set()
    real = cell_module.fit

    def fit(config: RunConfig, *args: Any, **options: Any) -> Any:
        if config.gates.target in broken:
            raise RuntimeError(f"no luck with {config.gates.target}\nat all")
        return real(config, *args, **options)

    monkeypatch.setattr(cell_module, "fit", fit)
    return broken


def test_a_failed_cell_is_recorded_and_the_others_go_on(
    base: RunConfig, store: RunStore, breaks: set[float]
) -> None:
    breaks.add(0.2)
    state = run_sweep(base, (0.0, 0.2, 0.4), (0,), store=store)
    assert states(state) == ["done", "failed", "done"]
    assert state.cells[1].note == "RuntimeError: no luck with 0.2 at all"
    record = store.root / ".work" / state.cells[1].run_id / "failed.json"
    assert "Traceback" in json.loads(record.read_text())["traceback"]


def test_a_failed_cell_is_left_alone_until_it_is_retried(
    base: RunConfig, store: RunStore, breaks: set[float]
) -> None:
    breaks.add(0.2)
    run_sweep(base, (0.2,), (0,), store=store)
    breaks.clear()
    again = run_sweep(base, (0.2,), (0,), store=store)
    assert states(again) == ["failed"]
    assert again.cells[0].note == "RuntimeError: no luck with 0.2 at all"
    assert states(run_sweep(base, (0.2,), (0,), store=store, retry_failed=True)) == ["done"]
    assert not (store.root / ".work" / again.cells[0].run_id).exists()


def test_a_failed_level_stops_the_path_of_its_seed_only(
    base: RunConfig, store: RunStore, breaks: set[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = cell_module.fit

    def fit(config: RunConfig, *args: Any, **options: Any) -> Any:
        if config.seed == 0 and config.gates.target == 0.3:
            raise UserError("This level is bad.")
        return broken(config, *args, **options)

    monkeypatch.setattr(cell_module, "fit", fit)
    state = run_sweep(base, (0.0, 0.3, 0.6), (0, 1), store=store, strategy="path")
    assert states(state) == ["done", "failed", "skipped", "done", "done", "done"]
    assert state.cells[1].note == "This level is bad."
    assert state.cells[2].note == f"It starts from {state.cells[1].run_id}."


def sweep_command(base: RunConfig, store: Path, *, epochs: float, targets: str) -> list[str]:
    return cli_command(
        "sweep", "--task", "reviews", "--data", str(base.task.data), "--text-fields", "text",
        "--backbone", base.model.backbone, "--targets", targets, "--strategy", "path",
        "--open-start", "0.2", "--ramp", "0.2", "--finish", "0.3", "--batch-size", "16",
        "--epochs", epochs, "--path-epochs", epochs,
        "--store", store,
    )  # fmt: skip


def wait_for(condition: Any, *, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.slow
def test_kill_in_the_middle_and_the_same_command_give_the_same_runs(
    base: RunConfig, tmp_path: Path
) -> None:
    """Killed once in each level, inside an epoch (an epoch has 6 steps)."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = {"epochs": 30.0, "targets": "0.2,0.5"}
    quiet: dict[str, Any] = {
        "env": child_environment(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL
    }  # fmt: skip
    subprocess.run(sweep_command(base, whole, **options), check=True, **quiet)
    for wanted in (
        "*t0.20*/checkpoint-100/trainer_state.json",
        "*t0.50*/checkpoint-50/trainer_state.json",
    ):
        child = subprocess.Popen(sweep_command(base, killed, **options), **quiet)
        wait_for(lambda: any((killed / ".work").glob(wanted)))  # noqa: B023
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert read_sweeps(killed)[0].state == "died"
    subprocess.run(sweep_command(base, killed, **options), check=True, **quiet)
    first, second = RunStore(whole), RunStore(killed)
    assert first.ids() == second.ids()
    assert len(first.ids()) == 2
    for name in first.ids():
        a, b = first.load(name), second.load(name)
        assert a.predictions.equals(b.predictions)
        assert a.record.metrics == b.record.metrics
        assert all(np.array_equal(b.adapter[key], value) for key, value in a.adapter.items())
    assert [p.name for p in (killed / ".work").iterdir() if p.is_dir()] == ["openings"]


def test_what_a_kill_after_saving_has_left_is_removed(base: RunConfig, store: RunStore) -> None:
    state = run_sweep(base, (0.0,), (0,), store=store)
    left = store.scratch(state.cells[0].run_id)
    (left / "checkpoint-1").mkdir()
    run_sweep(base, (0.0,), (0,), store=store)
    assert not left.exists()


def test_an_interrupted_sweep_says_so_and_keeps_what_is_done(
    base: RunConfig, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cell_module.fit

    def fit(config: RunConfig, *args: Any, **options: Any) -> Any:
        if config.gates.target:
            raise KeyboardInterrupt
        return real(config, *args, **options)

    monkeypatch.setattr(cell_module, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(base, (0.0, 0.4), (0,), store=store)
    (seen,) = read_sweeps(store.root)
    assert seen.state == "interrupted"
    assert states(seen) == ["done", "planned"]
    assert len(store.ids()) == 1
