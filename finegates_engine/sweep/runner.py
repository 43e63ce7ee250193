"""A sweep: train the cells that a store lacks, and say all the while how far it is."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import filelock

from finegates_engine.config import RunConfig
from finegates_engine.errors import DiskError, UserError
from finegates_engine.files import full_disk
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep import ranks
from finegates_engine.sweep.plan import (
    Cell,
    Job,
    PreparedSweep,
    Strategy,
    plan_sweep,
    prepare_sweep,
)
from finegates_engine.sweep.state import CellState, SweepState
from finegates_engine.sweep.writer import SweepWriter, new_sweep_id

if TYPE_CHECKING:
    from finegates_engine.sweep.jobs import Executor

__all__ = ["Cell", "Strategy", "plan_sweep", "run_sweep"]


def run_sweep(
    base: RunConfig,
    targets: Iterable[float],
    seeds: Iterable[int],
    *,
    store: RunStore,
    strategy: Strategy = "independent",
    retry_failed: bool = False,
    report_to: Sequence[str] = (),
    on_state: Callable[[SweepState], None] | None = None,
    executor: "Executor | None" = None,
) -> SweepState:
    """Train every cell that the store lacks; how the sweep has ended.

    A cell that was killed goes on from its newest whole checkpoint, one that has failed before is
    left alone unless `retry_failed`, one that another sweep trains is waited for. A cell that
    fails is recorded, the others go on. `on_state` is told of every change. `executor` trains the
    cells (`workers.worker_processes`, `ray_cluster.ray_cluster`); None: one after the other, here.

    Started by `accelerate launch` or torchrun, the processes share each training; the first one
    decides and writes, the others return the state before the sweep.

    Raises UserError for bad input before any training, DiskError where the store's disk becomes
    full. KeyboardInterrupt goes through. What was trained is kept either way, and the same call
    goes on from there.
    """
    from finegates_engine.sweep.claims import forget_failure
    from finegates_engine.sweep.jobs import follow, in_process
    from finegates_engine.sweep.training import Inputs

    _check_ranks(executor)
    prepared = prepare_sweep(
        base, targets, seeds, store=store, strategy=strategy, report_to=report_to
    )
    inputs = None if prepared.tokens is None else Inputs(prepared.data, prepared.tokens)
    state = _first_state(prepared, store, base, strategy)
    if ranks.is_follower():
        if inputs is not None:
            follow(prepared.jobs, inputs)
        return state
    if retry_failed:
        for job in prepared.jobs:
            forget_failure(store, job.run_id)
    missing = [job for job in prepared.jobs if not store.exists(job.run_id)]
    with _full_disk_is_named(store), SweepWriter(store.root, state, on_state) as writer:
        for job in prepared.jobs:
            _clear_leftovers(store, job.run_id)
        if inputs is not None:
            (executor or in_process)(missing, inputs, writer.update)
        ranks.announce(None)
    return writer.state


def _first_state(
    prepared: PreparedSweep, store: RunStore, base: RunConfig, strategy: Strategy
) -> SweepState:
    now = time.time()
    return SweepState(
        sweep_id=new_sweep_id(base.task.name),
        task=base.task.name,
        method=base.method,
        strategy=strategy,
        target_unit=base.gates.target_unit,
        metric=prepared.data.spec.headline,
        process_id=os.getpid(),
        started=now,
        heartbeat=now,
        cells=tuple(_first_cell(job, store) for job in prepared.jobs),
    )


def _first_cell(job: Job, store: RunStore) -> CellState:
    cell = CellState(
        run_id=job.run_id, target=job.config.gates.target, seed=job.config.seed, epochs=job.epochs
    )
    if not store.exists(job.run_id):
        return cell
    record = store.load(job.run_id).record
    steps = record.costs.steps
    return dataclasses.replace(
        cell, state="done", cached=True, score=record.score, step=steps, steps=steps
    )


def _check_ranks(executor: "Executor | None") -> None:
    if executor is not None and ranks.count() > 1:
        raise UserError(
            "Under `accelerate launch` all processes share one training after the other. Leave "
            "--workers and --executor out, or start the sweep without a launcher."
        )


@contextlib.contextmanager
def _full_disk_is_named(store: RunStore) -> Iterator[None]:
    """Say in a line what a disk has said while a lock or a folder was made."""
    try:
        yield
    except OSError as error:
        if (reason := full_disk(error)) is None:
            raise
        raise DiskError(
            f"Store {str(store.root)!r} cannot be written ({reason}). Once it can, the same "
            "command goes on."
        ) from error


def _clear_leftovers(store: RunStore, run_id: str) -> None:
    """Remove the scratch of a run that was saved just before its process was killed."""
    if store.left_of(run_id) and store.exists(run_id):
        with contextlib.suppress(filelock.Timeout), store.lock(run_id):
            store.clear_scratch(run_id)
