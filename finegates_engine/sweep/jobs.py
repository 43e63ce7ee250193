"""Train the cells of a sweep: one lock a cell, failures recorded, in this process.

An executor takes chains of jobs, each to be run in order, and reports what becomes of them. This
one runs them one after the other; `run_job` is all that a worker process would need.
"""

import contextlib
import dataclasses
import gc
import json
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import filelock

from finegates_engine.data.load import TaskData
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged, read_file, write_atomic
from finegates_engine.results import RunResult
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import RECORD_BYTES, json_object
from finegates_engine.sweep import ranks
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.state import CellUpdate
from finegates_engine.train.progress import Progress

FAILURE_FILE = "failed.json"
TRACKER_FOLDER = "runs"  # where the Trainer's TensorBoard callback writes
POLL_SECONDS = 1.0
"""Time between two looks at cells that another sweep trains."""

Outcome = Literal["done", "failed", "skipped", "locked"]
Report = Callable[[str, CellUpdate], None]
"""Told of a run id and what has changed of its cell."""


class Executor(Protocol):
    """Runs chains of jobs until each job is done, failed or skipped."""

    def __call__(self, chains: Sequence[Sequence[Job]], data: TaskData, report: Report) -> None:
        """chains: jobs of one chain follow each other, chains are independent."""


def in_process(chains: Sequence[Sequence[Job]], data: TaskData, report: Report) -> None:
    """The executor without workers: one cell after the other, in this process.

    A cell that another sweep is training is passed over, and waited for at the end.
    """
    waiting = [list(chain) for chain in chains]
    while waiting:
        moved = [_advance(chain, data, report) for chain in waiting]
        waiting = [chain for chain in waiting if chain]
        if waiting and not any(moved):
            for chain in waiting:
                report(chain[0].run_id, {"note": "Another sweep trains it."})
            time.sleep(POLL_SECONDS)


def _advance(chain: list[Job], data: TaskData, report: Report) -> bool:
    """Run the jobs of a chain up to one that is locked; whether any was settled."""
    moved = False
    while chain:
        if run_job(chain[0], data, report) == "locked":
            return moved
        moved = True
        chain.pop(0)
    return moved


def run_job(job: Job, data: TaskData, report: Report) -> Outcome:
    """Train one cell and save its run, unless it is there, has failed before, or is locked."""
    store = RunStore(job.store)
    if job.after is not None and not store.exists(job.after):
        report(job.run_id, {"state": "skipped", "note": f"It starts from {job.after}."})
        return "skipped"
    lock = store.lock(job.run_id)
    try:
        lock.acquire()
    except filelock.Timeout:
        return "locked"
    try:
        if store.exists(job.run_id):
            score = store.load(job.run_id).record.score
            report(job.run_id, {"state": "done", "cached": True, "score": score, "note": None})
            return "done"
        if (failure := read_failure(store, job.run_id)) is not None:
            report(job.run_id, {"state": "failed", "note": failure})
            return "failed"
        return _train(job, data, store, report)
    finally:
        lock.release()
        gc.collect()  # Trainer and callbacks hold each other, and with them a whole model


def _train(job: Job, data: TaskData, store: RunStore, report: Report) -> Outcome:
    def progress(now: Progress) -> None:
        report(job.run_id, dataclasses.asdict(now))  # type: ignore[arg-type]

    report(job.run_id, {"state": "running", "note": None})
    begun = time.monotonic()
    ranks.announce(job.run_id)
    try:
        result = _result(job, data, store, progress)
        store.save(result)
    except Exception as error:
        report(job.run_id, {"state": "failed", "note": _record_failure(store, job.run_id, error)})
        return "failed"
    _keep_tracker_logs(store, job.run_id)
    store.clear_scratch(job.run_id)
    seconds = time.monotonic() - begun
    report(
        job.run_id,
        {"state": "done", "score": result.score, "seconds": seconds, "seconds_left": None},
    )
    return "done"


def _result(
    job: Job, data: TaskData, store: RunStore, on_progress: Callable[[Progress], None] | None
) -> RunResult:
    from finegates_engine.train.adapters import model_state
    from finegates_engine.train.cell import train

    warm_start = None
    if job.after is not None:
        warm_start = model_state(store.load(job.after).adapter, job.config.gates)
    return train(
        job.config,
        data,
        folder=job.folder,
        weights_hash=job.weights_hash,
        scratch=store.scratch(job.run_id),
        warm_start=warm_start,
        on_progress=on_progress,
        report_to=job.report_to if on_progress is not None else (),
    )


def follow(jobs: Sequence[Job], data: TaskData) -> None:
    """Take part in the trainings that the first process of this sweep announces."""
    by_id = {job.run_id: job for job in jobs}

    def train(run_id: str) -> None:
        job = by_id[run_id]
        _result(job, data, RunStore(job.store), None)
        gc.collect()

    ranks.follow(train)


def _keep_tracker_logs(store: RunStore, run_id: str) -> None:
    """What TensorBoard reads, moved out of the scratch folder to `<root>/.logs/<run id>`."""
    logs, kept = store.root / ".work" / run_id / TRACKER_FOLDER, store.root / ".logs" / run_id
    if logs.is_dir():
        with contextlib.suppress(OSError):
            kept.parent.mkdir(exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            logs.rename(kept)


def read_failure(store: RunStore, run_id: str) -> str | None:
    """Why a cell has failed. None: it has not, or nobody can say."""
    try:
        data = read_file(_failure(store, run_id), root=store.root, limit=RECORD_BYTES)
        return str(json_object(data, FAILURE_FILE)["error"])
    except (Damaged, KeyError):
        return None


def forget_failure(store: RunStore, run_id: str) -> None:
    """Let a failed cell be trained again."""
    with contextlib.suppress(OSError):
        _failure(store, run_id).unlink()


def _failure(store: RunStore, run_id: str) -> Path:
    return store.root / ".work" / run_id / FAILURE_FILE


def _record_failure(store: RunStore, run_id: str, error: Exception) -> str:
    """Replace the cell's checkpoints by the reason; the reason, on one line."""
    text = str(error).strip() or "no message"
    reason = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
    reason = " ".join(reason.split())
    trace = "".join(traceback.format_exception(error))
    record = {"error": reason, "at": time.time(), "traceback": trace}
    store.clear_scratch(run_id)
    with contextlib.suppress(OSError):
        store.scratch(run_id)
        write_atomic(_failure(store, run_id), json.dumps(record, indent=1).encode())
    return reason
