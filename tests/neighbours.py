"""Sweeps as processes beside each other, on one store."""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from finegates_engine.config import RunConfig


def start_sweep(base: RunConfig, targets: Sequence[float], store: Path, **options: Any) -> Any:
    """A process that sweeps over targets, forked from one that has imported all and trained
    nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["finegates_engine.sweep.worker", "finegates_engine.train.cell"])
    process: BaseProcess = context.Process(
        target=sweep_to_the_end, args=(base, tuple(targets), store, options)
    )
    process.start()
    return process


def sweep_to_the_end(
    base: RunConfig, targets: tuple[float, ...], store: Path, options: dict[str, Any]
) -> None:
    """What such a process does; it ends with a code other than 0 where a cell is not done."""
    from finegates_engine.runs.store import RunStore
    from finegates_engine.sweep.runner import run_sweep

    state = run_sweep(base, targets, (0,), store=RunStore(store), **options)
    assert [cell.state for cell in state.cells] == ["done"] * len(targets), state
