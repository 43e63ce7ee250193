"""One cell trained, in whichever process: what it is given, where it writes, what comes back."""

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from numpy.typing import NDArray

from finegates_engine.data.load import TaskData
from finegates_engine.data.tokens import TaskTokens
from finegates_engine.errors import DiskError, UserError
from finegates_engine.files import full_disk, probe
from finegates_engine.results import RunResult
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.plan import Job
from finegates_engine.train.opening import Opening
from finegates_engine.train.progress import Progress

ORPHAN_SECONDS = 60.0
"""How long the end of a process is waited for whose sweep was killed a moment ago."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What all cells of a sweep read."""

    data: TaskData
    tokens: TaskTokens


def train_job(
    job: Job,
    inputs: Inputs,
    *,
    adapter: Arrays | None,
    on_progress: Callable[[Progress], None] | None,
) -> RunResult:
    """Train one cell. Writes only into its scratch folder below `job.store`, which is kept.

    adapter: what the run that it starts from has stored. on_progress: None for a process that
    only helps another one, and reports to no tracker. Raises DiskError where the disk is full:
    checkpoints that are whole stay.
    """
    from finegates_engine.train.adapters import model_state
    from finegates_engine.train.cell import train

    helps = on_progress is None
    with _scratch(job, locked=not helps) as scratch, _full_disk_is_named(job, scratch, helps=helps):
        return train(
            job.config,
            inputs.data,
            folder=job.folder,
            weights_hash=job.weights_hash,
            scratch=scratch,
            tokens=inputs.tokens,
            warm_start=None if adapter is None else model_state(adapter, job.config.gates),
            on_progress=on_progress,
            report_to=() if helps else job.report_to,
            opening=Opening.of(
                job.config,
                RunStore(job.store).openings(),
                data_hash=inputs.data.data_hash,
                weights_hash=job.weights_hash,
            ),
        )


def adapter_before(job: Job, store: RunStore) -> Arrays | None:
    """The stored adapter that a cell starts from. None: it starts anew. Raises UserError."""
    return None if job.after is None else store.load(job.after).adapter


@dataclass(frozen=True)
class Failure:
    """Why a training has failed; plain text, so that it can travel."""

    reason: str
    """One line for the user."""

    trace: str | None = None
    """Where it happened."""

    disk: bool = False
    """A disk was full: nothing is wrong with the cell."""


def failure_of(error: BaseException) -> Failure:
    """The reason that a user is told, and the trace that is kept with it."""
    text = str(error).strip() or "no message"
    reason = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
    trace = "".join(traceback.format_exception(error))
    return Failure(" ".join(reason.split()), trace, disk=isinstance(error, DiskError))


@contextlib.contextmanager
def _full_disk_is_named(job: Job, scratch: Path, *, helps: bool) -> Iterator[None]:
    """Make a DiskError of what libraries raise that could not write a checkpoint.

    Not where this process helps another one, which says it. torch does not say why it could not
    write, so the disk is asked.
    """
    from finegates_engine.train.trainer import remove_unfinished

    try:
        yield
    except Exception as error:
        reason = None if helps else full_disk(error) or _unwritable(scratch)
        if reason is None:
            raise
        remove_unfinished(scratch, processes=job.config.processes)
        raise DiskError(f"No checkpoint can be written in {str(scratch)!r} ({reason}).") from error


def _unwritable(folder: Path) -> str | None:
    try:
        probe(folder)
    except OSError as error:
        return full_disk(error)
    return None


@contextlib.contextmanager
def _scratch(job: Job, *, locked: bool) -> Iterator[Path]:
    """The cell's scratch folder; locked: for one process at a time.

    The cell's own lock belongs to the sweep that decides on it. When that is killed, its worker
    may live a moment longer: this second lock is the worker's.
    """
    folder = RunStore(job.store).scratch(job.run_id)
    lock = filelock.FileLock(folder / "training.lock", timeout=ORPHAN_SECONDS)
    try:
        with lock if locked else contextlib.nullcontext():
            yield folder
    except filelock.Timeout as error:
        raise UserError(
            f"Another process still trains in {str(folder)!r}. End it, or wait for it."
        ) from error
