"""Train the cells of a sweep one after the other, in this process."""

import dataclasses
import gc
import time
from collections.abc import Sequence
from typing import Literal, Protocol

from finegates_engine.runs.core_files import encode
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep import ranks
from finegates_engine.sweep.claims import Claim, Report, claim
from finegates_engine.sweep.order import JobQueue
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.training import Inputs, adapter_before, failure_of, train_job
from finegates_engine.train.progress import Progress

POLL_SECONDS = 1.0
"""Time between two looks at cells that another sweep trains."""

LOCKED_NOTE = "Another sweep trains it."


class Executor(Protocol):
    """Runs jobs until each is done, failed or skipped."""

    def __call__(self, jobs: Sequence[Job], inputs: Inputs, report: Report) -> None:
        """jobs: a job stands behind the one that it starts from, if that is among them."""


def in_process(jobs: Sequence[Job], inputs: Inputs, report: Report) -> None:
    """The executor without workers: one cell after the other, in this process.

    A cell that another sweep is training is passed over, and waited for at the end.
    """
    queue = JobQueue(jobs)
    while queue.left:
        locked: list[str] = []
        while (job := queue.next(but=locked)) is not None:
            if run_job(job, inputs, report) == "locked":
                locked.append(job.run_id)
            else:
                queue.settle(job.run_id)
        for name in locked:
            report(name, {"note": LOCKED_NOTE})
        if locked:
            time.sleep(POLL_SECONDS)


def run_job(job: Job, inputs: Inputs, report: Report) -> Literal["settled", "locked"]:
    """Train one cell and save its run, unless it is there, has failed before, or is locked."""
    claimed = claim(job, report)
    if not isinstance(claimed, Claim):
        return claimed
    try:
        _train(claimed, inputs)
    finally:
        claimed.release()
        gc.collect()  # Trainer and callbacks hold each other, and with them a whole model
    return "settled"


def _train(claimed: Claim, inputs: Inputs) -> None:
    job = claimed.job

    def progress(now: Progress) -> None:
        claimed.report(job.run_id, dataclasses.asdict(now))  # type: ignore[arg-type]

    claimed.begin()
    ranks.announce(job.run_id)
    try:
        adapter = adapter_before(job, claimed.store)
        files = encode(train_job(job, inputs, adapter=adapter, on_progress=progress))
    except Exception as error:
        claimed.fail(failure_of(error))
        return
    claimed.save(files)


def follow(jobs: Sequence[Job], inputs: Inputs) -> None:
    """Take part in the trainings that the first process of this sweep announces."""
    by_id = {job.run_id: job for job in jobs}

    def train(run_id: str) -> None:
        job = by_id[run_id]
        adapter = adapter_before(job, RunStore(job.store))
        train_job(job, inputs, adapter=adapter, on_progress=None)
        gc.collect()

    ranks.follow(train)
