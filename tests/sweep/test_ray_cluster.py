"""Cells on a Ray cluster: one of this machine, with two workers."""

import importlib.util
import os
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny import tiny_config

from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep import ray_cluster as module
from finegates_engine.sweep.ray_cluster import Mailbox, RayOptions, RayPool, ray_cluster
from finegates_engine.sweep.runner import run_sweep
from finegates_engine.sweep.state import SweepState, read_sweeps
from finegates_engine.sweep.supervise import Began
from finegates_engine.train.progress import Progress


def test_the_mailbox_keeps_the_newest_progress_of_each_attempt() -> None:
    box = Mailbox()
    for step in (1, 2, 3):
        box.put(4, Progress(step, 9, None, None))
    box.put(5, Began("there"))
    assert box.take() == [(4, Progress(3, 9, None, None)), (5, Began("there"))]
    assert box.take() == []


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        ray_cluster(RayOptions())
    assert str(error.value) == (
        "--executor ray needs the package ray. Run: pip install 'finegates-explorer[cluster]'"
    )


def test_places_are_counted_node_by_node(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 7.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 64.0, "GPU": 8.0}},
        {"Alive": True, "Resources": {"CPU": 64.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    pool: Any = SimpleNamespace(ray=SimpleNamespace(nodes=lambda: nodes), needs={})

    def places(**needs: float) -> int:
        pool.needs = needs
        return RayPool._count_places(pool)

    assert places(CPU=2.0, GPU=0.0) == 3 + 32 + 32
    assert places(CPU=2.0, GPU=1.0) == 1 + 8
    assert places(CPU=2.0, GPU=0.25) == 3 + 32
    assert places(CPU=65.0, GPU=0.0) == 0
    assert module._no_room({"CPU": 65.0, "GPU": 1.0}).startswith(
        "No node of the Ray cluster has 65 CPUs and 1 GPUs, which one cell needs."
    )


def test_what_does_not_work_on_a_cluster_is_refused() -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"--cell-gpus must be at least 0, got -1."):
        ray_cluster(RayOptions(cell_gpus=-1))
    execute = ray_cluster(RayOptions())
    job: Any = SimpleNamespace(report_to=("tensorboard",))
    with pytest.raises(UserError, match="tensorboard writes files, which would stay on the nodes"):
        execute([job], None, lambda *_: None)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_killed_worker_of_a_cluster_s_cell_is_done_again_to_the_same_bits(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest -m slow tests/sweep/test_ray_cluster.py"""
    pytest.importorskip("ray")
    short = tempfile.mkdtemp(prefix="fg")  # Ray's sockets lie there, whose names are bounded
    monkeypatch.setenv("TMPDIR", short)
    base = tiny_config(tiny_backbone, tiny_task, train={"epochs": 60.0, "batch_size": 16})
    here, there = RunStore(tmp_path / "here"), RunStore(tmp_path / "there")
    run_sweep(base, (0.4,), (0, 1), store=here)
    killed: list[int] = []
    both = []
    stored: list[SweepState] = []

    def on_state(state: SweepState) -> None:
        cell = state.cells[0]
        both.append(len(state.running))
        if not killed and cell.worker and cell.step > 10 and len(state.running) == 2:
            stored.append(read_sweeps(there.root)[0])
            killed.append(int(cell.worker.rpartition(" ")[2]))
            os.kill(killed[0], signal.SIGKILL)
        if cell.retries and cell.state == "planned":
            stored.append(read_sweeps(there.root)[0])

    executor = ray_cluster(RayOptions(address="local", cells=2, scratch=tmp_path / "scratch"))
    state = run_sweep(base, (0.4,), (0, 1), store=there, executor=executor, on_state=on_state)
    assert [(cell.state, cell.note) for cell in state.cells] == [("done", None)] * 2
    assert [cell.retries for cell in state.cells] == [1, 0]
    assert max(both) == 2
    assert [cell.state for cell in stored[0].cells] == ["running", "running"]
    assert "Its worker was lost: WorkerCrashedError" in (stored[1].cells[0].note or "")
    assert here.ids() == there.ids()
    for name in here.ids():
        a, b = here.load(name), there.load(name)
        assert a.predictions.equals(b.predictions)
        assert all(np.array_equal(b.adapter[key], value) for key, value in a.adapter.items())
