"""Cells in processes of their own: the same bits, lost ones done again, nobody left behind."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import child_environment, cli_command, tiny_config

from finegates_engine.backbone import weights_hash
from finegates_engine.config import RunConfig
from finegates_engine.data.load import load_task
from finegates_engine.data.tokens import task_tokens
from finegates_engine.errors import UserError
from finegates_engine.identity import run_id
from finegates_engine.runs.core_files import decode
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep import workers as module
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.runner import run_sweep
from finegates_engine.sweep.state import SweepState, read_sweeps
from finegates_engine.sweep.supervise import Finished
from finegates_engine.sweep.training import Failure, Inputs
from finegates_engine.sweep.worker import trained
from finegates_engine.sweep.workers import crowded, visible_gpus, worker_processes
from finegates_engine.train.progress import Progress


@pytest.fixture
def base(tiny_backbone: Path, tiny_task: Path) -> RunConfig:
    return tiny_config(tiny_backbone, tiny_task)


def assert_same_runs(first: RunStore, second: RunStore, *, count: int) -> None:
    assert first.ids() == second.ids()
    assert len(first.ids()) == count
    for name in first.ids():
        a, b = first.load(name), second.load(name)
        assert a.predictions.equals(b.predictions)
        assert a.record.metrics == b.record.metrics
        assert all(np.array_equal(b.adapter[key], value) for key, value in a.adapter.items())


def process_ids(state: SweepState) -> set[int]:
    return {int(cell.worker.split()[1]) for cell in state.cells if cell.worker}


def gone(process_id: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def wait_for(condition: Callable[[], bool], *, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


# What one worker does, played in this process


class Ear:
    """A pipe's end that keeps what is sent."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.send = self.heard.append


def job_of(config: RunConfig, store: Path) -> tuple[Job, Inputs]:
    folder, data = Path(config.model.backbone), load_task(config.task)
    weights = weights_hash(folder)
    name = run_id(config, data_hash=data.data_hash, weights_hash=weights)
    job = Job(name, config, None, store, folder, weights)
    return job, Inputs(data, task_tokens(data, folder, config.task.max_tokens))


def test_a_worker_sends_its_progress_and_then_the_whole_run(
    base: RunConfig, tmp_path: Path
) -> None:
    job, inputs = job_of(base, tmp_path / "store")
    ear = Ear()
    last = trained(ear.send, job, inputs, None)
    assert isinstance(last, Finished)
    assert decode(last.files).run_id == job.run_id
    assert ear.heard
    assert all(isinstance(message, Progress) for message in ear.heard)
    assert ear.heard[-1].step == 12
    assert RunStore(job.store).ids() == []  # the sweep alone writes runs


def test_a_worker_sends_why_a_training_failed(base: RunConfig, tmp_path: Path) -> None:
    job, inputs = job_of(base, tmp_path / "store")
    for file in ("model.safetensors", "config.json"):
        assert (job.folder / file).is_file()
    lost = Job(job.run_id, job.config, None, job.store, tmp_path / "nowhere", job.weights_hash)
    last = trained(Ear().send, lost, inputs, None)
    assert isinstance(last, Failure)
    assert "\n" not in last.reason
    assert "Traceback" in (last.trace or "")


def test_a_folder_in_which_another_process_trains_is_left_alone(
    base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    from finegates_engine.sweep import training

    monkeypatch.setattr(training, "ORPHAN_SECONDS", 0.0)
    job, inputs = job_of(base, tmp_path / "store")
    folder = RunStore(job.store).scratch(job.run_id)
    with filelock.FileLock(folder / "training.lock"):
        last = trained(Ear().send, job, inputs, None)
    assert isinstance(last, Failure)
    assert last.reason.startswith("Another process still trains in ")


# How many, and where


def test_workers_must_be_some() -> None:
    with pytest.raises(UserError, match=r"workers must be at least 1, got 0."):
        worker_processes(0)


def test_more_threads_than_cores_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 4)
    assert crowded(4, 1) is None
    assert crowded(2, 2) is None
    assert crowded(3, 2) == (
        "3 workers of 2 threads are 6 threads, and this process may use 4 cores: all of them get "
        "slower. --workers 2 would fit."
    )


def test_gpus_are_named_as_the_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8f")
    assert visible_gpus() == ["3", "GPU-8f"]


# Real processes


@pytest.mark.slow
def test_workers_give_the_same_bits_as_this_process(base: RunConfig, tmp_path: Path) -> None:
    here, there = RunStore(tmp_path / "here"), RunStore(tmp_path / "there")
    options: dict[str, Any] = {"strategy": "path"}
    run_sweep(base, (0.0, 0.4), (0, 1), store=here, **options)
    at_once = []
    state = run_sweep(
        base, (0.0, 0.4), (0, 1), store=there, executor=worker_processes(2),
        on_state=lambda now: at_once.append(len(now.running)), **options,
    )  # fmt: skip
    assert state.count("done") == 4
    assert max(at_once) == 2
    assert_same_runs(here, there, count=4)
    assert [p.name for p in (there.root / ".work").iterdir() if p.is_dir()] == ["openings"]


@pytest.mark.slow
def test_a_killed_worker_s_cell_is_done_again_to_the_same_bits(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path
) -> None:
    base = tiny_config(tiny_backbone, tiny_task, train={"epochs": 20.0, "batch_size": 16})
    here, there = RunStore(tmp_path / "here"), RunStore(tmp_path / "there")
    run_sweep(base, (0.4,), (0, 1), store=here)
    killed: list[int] = []
    stored: list[SweepState] = []

    def on_state(state: SweepState) -> None:
        cell = state.cells[0]
        if not killed and cell.worker and cell.step > 60:
            killed.extend(process_ids(SweepState(**{**vars(state), "cells": (cell,)})))
            os.kill(killed[0], signal.SIGKILL)
        if cell.retries and cell.state == "planned":
            stored.append(read_sweeps(there.root)[0])

    state = run_sweep(
        base, (0.4,), (0, 1), store=there, executor=worker_processes(2), on_state=on_state
    )
    assert [cell.state for cell in state.cells] == ["done", "done"]
    assert [cell.retries for cell in state.cells] == [1, 0]
    assert stored[0].cells[0].note == (
        f"Its worker was lost: process {killed[0]} was ended by SIGKILL. "
        "It goes on from its last checkpoint."
    )
    assert_same_runs(here, there, count=2)


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_sweep_leaves_no_worker_and_the_same_command_goes_on(
    base: RunConfig, tmp_path: Path, ended_by: signal.Signals
) -> None:
    here, there = RunStore(tmp_path / "here"), RunStore(tmp_path / "there")
    command = cli_command(
        "sweep", "--task", "reviews", "--data", str(base.task.data), "--text-fields", "text",
        "--backbone", base.model.backbone, "--targets", "0.3", "--seeds", "0,1",
        "--open-start", "0.2", "--ramp", "0.2", "--finish", "0.3", "--batch-size", "16",
        "--epochs", "60", "--quiet",
    )  # fmt: skip
    quiet: dict[str, Any] = {"env": child_environment(), "stdout": subprocess.DEVNULL}
    subprocess.run([*command, "--store", str(here.root)], check=True, **quiet)
    parallel = [*command, "--store", str(there.root), "--workers", "2"]
    child = subprocess.Popen(parallel, start_new_session=True, **quiet)
    wait_for(lambda: len(list((there.root / ".work").glob("*/checkpoint-50/*state.json"))) == 2)
    workers = process_ids(read_sweeps(there.root)[0])
    if ended_by == signal.SIGINT:  # as a terminal does it: to all processes of the group
        os.killpg(child.pid, signal.SIGINT)
    else:
        os.kill(child.pid, signal.SIGKILL)
    code = child.wait(timeout=60)
    wait_for(lambda: all(gone(process_id) for process_id in workers), seconds=20)
    expected = (130, "interrupted") if ended_by == signal.SIGINT else (-9, "died")
    assert (code, read_sweeps(there.root)[0].state) == expected
    assert there.ids() == []
    subprocess.run(parallel, check=True, **quiet)
    assert_same_runs(here, there, count=2)
