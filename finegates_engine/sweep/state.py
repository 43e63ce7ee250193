"""What a running sweep says about itself in the store, and how others read it. No torch.

<root>/.sweeps/<sweep id>.json   plan and progress, replaced as a whole about once a second
<root>/.sweeps/<sweep id>.lock   held by the sweep's process; the system frees it when that dies
"""

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypedDict

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from finegates_engine.files import Damaged, list_folder, read_file
from finegates_engine.validation import explain

FOLDER = ".sweeps"
MOST_FILES = 10_000
"""In the folder of the states; more are damage."""

STATE_BYTES = 64 * 2**20

CellStatus = Literal["planned", "running", "done", "failed", "skipped"]
SweepStatus = Literal["running", "finished", "interrupted", "failed", "died", "unreadable"]
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CellState:
    """One cell of a sweep."""

    run_id: str
    """Id of the run that it becomes."""

    target: float
    """Share to remove, in the config's unit."""

    seed: int
    """Seed of the run."""

    epochs: float = Field(gt=0)
    """Planned passes over the training rows: what the cell costs, beside the others."""

    state: CellStatus = "planned"
    """skipped: the level before it on its path failed."""

    cached: bool = False
    """Was in the store before this sweep came to it."""

    step: int = 0
    """Steps done."""

    steps: int | None = None
    """Steps planned. None: not known before it starts."""

    score: float | None = None
    """Last score of the headline metric."""

    seconds: float | None = None
    """Wall time that this sweep spent on it, once it is done."""

    seconds_left: float | None = None
    """Estimate, while it is running."""

    worker: str | None = None
    """Where it is being trained, if in another process: a process id, and on a cluster the node."""

    retries: int = Field(default=0, ge=0)
    """Times that it began again because its worker was lost."""

    note: str | None = None
    """Why it failed, was skipped, or waits."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SweepState:
    """Plan and progress of one sweep."""

    sweep_id: str
    task: str
    method: str
    strategy: str
    """independent or path."""

    target_unit: str
    """What targets count."""

    metric: str
    """Name of the headline metric."""

    process_id: int
    """Of the sweep's process, on the machine that it runs on."""

    started: float
    """Seconds since 1970."""

    heartbeat: float
    """Time of the last write, seconds since 1970."""

    ended: float | None = None
    """Seconds since 1970. None: running, or died."""

    state: SweepStatus = "running"
    """died: its process is gone and did not say why (said by who reads). unreadable: no state."""

    seconds_left: float | None = None
    """Estimate for all cells that are left. None: nothing to estimate from yet."""

    cells: tuple[CellState, ...] = ()
    """All cells, in the order in which they are trained."""

    note: str | None = None
    """What an ended sweep has to say."""

    def count(self, state: CellStatus) -> int:
        """Cells in this state."""
        return sum(cell.state == state for cell in self.cells)

    @property
    def running(self) -> tuple[CellState, ...]:
        """The cells that are being trained, in the order of the plan."""
        return tuple(cell for cell in self.cells if cell.state == "running")

    @property
    def current(self) -> CellState | None:
        """The first cell that is being trained."""
        return next(iter(self.running), None)


class CellUpdate(TypedDict, total=False):
    """What can change of a cell; plain values, so that it can cross a process border."""

    state: CellStatus
    cached: bool
    step: int
    steps: int | None
    score: float | None
    seconds: float | None
    seconds_left: float | None
    worker: str | None
    retries: int
    note: str | None


STATE: TypeAdapter[SweepState] = TypeAdapter(SweepState)


def read_sweeps(root: Path) -> list[SweepState]:
    """The sweeps of a store, newest first; one whose process is gone has the state "died".

    A file that cannot be read is a sweep of state "unreadable", with the reason in its note; so is
    the folder of the states, where it is a link out of the store.
    """
    folder = root / FOLDER
    if not os.path.lexists(folder):
        return []
    try:
        list_folder(folder, root=root, most=MOST_FILES)
    except Damaged as error:
        return [_unreadable(folder, str(error))]
    return [_read(path, root) for path in state_files(folder)]


def _read(path: Path, root: Path) -> SweepState:
    lock = path.with_suffix(".lock")
    alive = held(lock)  # before the state: a sweep that ends in between has said so in it
    try:
        state = STATE.validate_json(read_file(path, root=root, limit=STATE_BYTES), strict=True)
    except Damaged as error:
        return _unreadable(path, str(error))
    except ValidationError as error:
        return _unreadable(path, explain(error).split("\n")[0][:200])
    if state.state != "running" or alive:
        return state
    note = f"Process {state.process_id} is gone. The same command goes on from where it was."
    return dataclasses.replace(state, state="died", seconds_left=None, note=note)


def _unreadable(path: Path, reason: str) -> SweepState:
    return SweepState(
        sweep_id=path.stem,
        task="",
        method="",
        strategy="",
        target_unit="",
        metric="",
        process_id=0,
        started=0.0,
        heartbeat=0.0,
        state="unreadable",
        note=f"{path.name} cannot be used: {reason}",
    )


def state_files(folder: Path) -> list[Path]:
    """Files of states, newest first by name."""
    with contextlib.suppress(OSError):
        return sorted(
            (path for path in folder.iterdir() if path.suffix == ".json" and path.name[0] != "."),
            reverse=True,
        )
    return []


def held(lock: Path) -> bool:
    """Whether a process holds the lock. A shared lock for a moment, so that readers do not
    meet each other."""
    if lock.is_symlink():  # not one that a sweep has made
        return False
    with contextlib.suppress(OSError), _opened(lock) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
