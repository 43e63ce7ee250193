"""Cells that a sweep has taken for itself: locked, then saved as a run or recorded as failed.

Only the process of the sweep makes claims, and so it alone writes the store, whoever trains.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import filelock

from finegates_engine.errors import DiskError
from finegates_engine.files import Damaged, read_file, write_atomic
from finegates_engine.runs.core_files import decode
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import RECORD_BYTES, json_object
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.state import CellUpdate
from finegates_engine.sweep.training import Failure, failure_of

FAILURE_FILE = "failed.json"
TRACKER_FOLDER = "runs"  # where the Trainer's TensorBoard callback writes

Report = Callable[[str, CellUpdate], None]
"""Told of a run id and what has changed of its cell."""


class Claim:
    """A cell whose lock this sweep holds until `release`."""

    def __init__(self, job: Job, lock: filelock.BaseFileLock, report: Report) -> None:
        self.job = job
        self.store = RunStore(job.store)
        self.report = report
        self._lock = lock
        self._begun = time.monotonic()

    def begin(self, worker: str | None = None) -> None:
        """The training has begun. worker: where, if in another process."""
        self._begun = time.monotonic()
        self.report(self.job.run_id, {"state": "running", "worker": worker, "note": None})

    def save(self, files: Mapping[str, bytes]) -> None:
        """Make a run of what was trained (`core_files.encode`); a failure where it cannot be.

        Raises DiskError, as `fail`.
        """
        name = self.job.run_id
        try:
            score = decode(files).score
            self.store.save_files(files)
        except Exception as error:
            self.fail(failure_of(error))
            return
        _keep_tracker_logs(self.store, name)
        self.store.clear_scratch(name)
        seconds = time.monotonic() - self._begun
        done: CellUpdate = {"state": "done", "score": score, "seconds": seconds}
        self.report(name, {**done, "seconds_left": None, "worker": None})

    def fail(self, failure: Failure, *, keep_checkpoints: bool = False) -> None:
        """Record why the training has failed, in place of its checkpoints or beside them.

        Raises DiskError where only a full disk is to blame: nothing is recorded, checkpoints stay,
        and the other cells would end like this one.
        """
        name = self.job.run_id
        if failure.disk:
            self.report(name, {"state": "planned", "note": failure.reason, "worker": None})
            raise DiskError(
                f"{failure.reason} The sweep has stopped and keeps what is trained: once that "
                "place can be written, the same command goes on."
            )
        record = {"error": failure.reason, "at": time.time(), "traceback": failure.trace}
        if not keep_checkpoints:
            self.store.clear_scratch(name)
        with contextlib.suppress(OSError):
            self.store.scratch(name)
            write_atomic(_failure(self.store, name), json.dumps(record, indent=1).encode())
        self.report(name, {"state": "failed", "note": failure.reason, "worker": None})

    def release(self) -> None:
        """Let others have the cell."""
        self._lock.release()


def claim(job: Job, report: Report) -> Claim | Literal["settled", "locked"]:
    """Take a cell.

    settled: it is there, has failed before, or starts from a run that is not there; reported.
    locked: another sweep has it.
    """
    store = RunStore(job.store)
    if job.after is not None and not store.exists(job.after):
        report(job.run_id, {"state": "skipped", "note": f"It starts from {job.after}."})
        return "settled"
    lock = store.lock(job.run_id)
    try:
        lock.acquire()
    except filelock.Timeout:
        return "locked"
    try:
        settled = _reported(job, store, report)
    except BaseException:
        lock.release()
        raise
    if settled:
        lock.release()
        return "settled"
    return Claim(job, lock, report)


def _reported(job: Job, store: RunStore, report: Report) -> bool:
    """Whether nothing is to be done for a cell, which is then reported."""
    if store.exists(job.run_id):
        score = store.load(job.run_id).record.score
        report(job.run_id, {"state": "done", "cached": True, "score": score, "note": None})
        return True
    if (failure := read_failure(store, job.run_id)) is not None:
        report(job.run_id, {"state": "failed", "note": failure})
        return True
    return False


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


def _keep_tracker_logs(store: RunStore, run_id: str) -> None:
    """What TensorBoard reads, moved out of the scratch folder to `<root>/.logs/<run id>`."""
    logs, kept = store.root / ".work" / run_id / TRACKER_FOLDER, store.root / ".logs" / run_id
    if logs.is_dir():
        with contextlib.suppress(OSError):
            kept.parent.mkdir(exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            logs.rename(kept)
