"""Trains cells in other processes: hands them out, keeps what comes back, and does lost ones again.

What trains is a `Pool`: processes of this machine or tasks of a cluster. What is decided here is
the same for both. Whatever becomes of a worker, this process alone locks cells and writes runs.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from finegates_engine.sweep.claims import Claim, Report, claim
from finegates_engine.sweep.jobs import LOCKED_NOTE, POLL_SECONDS
from finegates_engine.sweep.order import JobQueue
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.training import Arrays, Failure, adapter_before, failure_of
from finegates_engine.train.progress import Progress

RETRIES = 2
"""Times that a cell is trained again after its worker was lost."""


@dataclass(frozen=True)
class Began:
    """A worker has begun with a cell."""

    worker: str
    """Where: what a user can look for."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A cell was trained."""

    files: Mapping[str, bytes]
    """The run, as `encode` makes it."""


@dataclass(frozen=True)
class Lost:
    """A worker has ended without a word: killed, out of memory, or its machine is gone."""

    reason: str


Message = Began | Progress | Finished | Failure | Lost


class Pool(Protocol):
    """Processes that train cells."""

    def room(self) -> int:
        """Cells that could be begun now."""

    def start(self, job: Job, adapter: Arrays | None) -> None:
        """Begin with a cell, in whose name messages then come."""

    def messages(self, seconds: float) -> Iterable[tuple[str, Message]]:
        """(run id, what has happened) since the last call; waits up to `seconds` for the first.

        The last one of a cell is Finished, Failure or Lost.
        """

    def close(self) -> None:
        """End all that is being trained, at once."""


def supervise(jobs: Sequence[Job], pool: Pool, report: Report, *, retries: int = RETRIES) -> None:
    """Train jobs in the processes of a pool, which is closed at the end.

    A cell whose worker is lost begins again from its last checkpoint, `retries` times at most,
    and is then recorded as failed. One that another sweep trains is waited for.
    """
    desk = _Desk(jobs, pool, report, retries)
    try:
        while desk.queue.left:
            desk.hand_out()
            for name, message in pool.messages(POLL_SECONDS):
                desk.take(name, message)
    finally:
        pool.close()
        for claimed in desk.claims.values():
            claimed.release()


class _Desk:
    """Which cells are left, and which are with a worker."""

    def __init__(self, jobs: Sequence[Job], pool: Pool, report: Report, retries: int) -> None:
        self.queue = JobQueue(jobs)
        self.pool = pool
        self.report = report
        self.retries = retries
        self.claims: dict[str, Claim] = {}
        self.losses: Counter[str] = Counter()
        self._locked: set[str] = set()
        self._looked = time.monotonic()

    def hand_out(self) -> None:
        """Begin with as many cells as there is room for."""
        if time.monotonic() - self._looked >= POLL_SECONDS:
            self._looked = time.monotonic()
            self._locked.clear()
        while self.pool.room() > 0:
            job = self.queue.next(but={*self.claims, *self._locked}, longest_first=True)
            if job is None:
                return
            self._begin(job)

    def _begin(self, job: Job) -> None:
        claimed = claim(job, self.report)
        if claimed == "locked":
            self._locked.add(job.run_id)
            self.report(job.run_id, {"note": LOCKED_NOTE})
        elif claimed == "settled":
            self.queue.settle(job.run_id)
        else:
            self.claims[job.run_id] = claimed
            try:
                adapter = adapter_before(job, claimed.store)
            except Exception as error:
                claimed.fail(failure_of(error))
                self._settle(job.run_id)
                return
            self.pool.start(job, adapter)

    def take(self, name: str, message: Message) -> None:
        """What a worker has said, or what was found out about it."""
        claimed = self.claims[name]
        match message:
            case Began():
                claimed.begin(message.worker)
            case Progress():
                self.report(name, dataclasses.asdict(message))  # type: ignore[arg-type]
            case Finished():
                claimed.save(message.files)
                self._settle(name)
            case Failure():
                claimed.fail(message)
                self._settle(name)
            case Lost():
                self._lost(claimed, message.reason)

    def _lost(self, claimed: Claim, reason: str) -> None:
        name = claimed.job.run_id
        self.losses[name] += 1
        count = self.losses[name]
        if count > self.retries:
            text = (
                f"Its worker was lost {count} times, at last because {reason}. Was memory short? "
                "Train fewer cells at a time with --workers, and add --retry-failed."
            )
            claimed.fail(Failure(text), keep_checkpoints=True)
            self._settle(name)
            return
        note = f"Its worker was lost: {reason}. It goes on from its last checkpoint."
        self.report(name, {"state": "planned", "worker": None, "retries": count, "note": note})
        self.claims.pop(name).release()

    def _settle(self, name: str) -> None:
        self.claims.pop(name).release()
        self.queue.settle(name)
