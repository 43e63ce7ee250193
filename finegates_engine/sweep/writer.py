"""Writes the live state of the sweep of this process into the store. No torch."""

import contextlib
import dataclasses
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from finegates_engine.errors import UserError
from finegates_engine.files import write_atomic
from finegates_engine.sweep.state import (
    FOLDER,
    STATE,
    CellState,
    CellUpdate,
    SweepState,
    SweepStatus,
    held,
    state_files,
)

WRITE_SECONDS = 1.0
"""Time between two writes where only steps and times have changed."""

SAID_AT_ONCE = ("state", "worker", "retries", "note")
"""What of a cell is written as soon as it changes."""

KEPT = 100
"""Ended sweeps whose state is kept."""


def new_sweep_id(task: str) -> str:
    """A name that begins with the time (UTC), so that names sort by age."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{task}-{secrets.token_hex(3)}"


class SweepWriter:
    """Holds the state of the sweep of this process and writes it into the store.

    A context: an exception that leaves it decides how the sweep has ended. A state that cannot
    be written any more does not stop a training. `on_state` is told of every update.
    """

    def __init__(
        self,
        root: Path,
        state: SweepState,
        on_state: Callable[[SweepState], None] | None = None,
    ) -> None:
        self.state = state
        self.on_state = on_state
        self.folder = root / FOLDER
        self._index = {cell.run_id: i for i, cell in enumerate(state.cells)}
        self._written = float("-inf")
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        _forget_old(self.folder)
        path = self.folder / f"{self.state.sweep_id}.lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # a reader may hold it for a moment
        self._publish(now=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        state: SweepStatus = "finished"
        if kind is not None:
            state = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
        note = _reason(error) if error is not None and state == "failed" else None
        cells = tuple(
            dataclasses.replace(cell, state="planned", worker=None)
            if cell.state == "running"
            else cell
            for cell in self.state.cells
        )
        self.state = dataclasses.replace(
            self.state, cells=cells, state=state, ended=time.time(), seconds_left=None, note=note
        )
        self._publish(now=True)
        if self._lock is not None:
            os.close(self._lock)

    def update(self, run_id: str, changes: CellUpdate) -> None:
        """Change one cell."""
        index = self._index[run_id]
        cells = list(self.state.cells)
        cell = dataclasses.replace(cells[index], **changes)
        changed = any(getattr(cell, name) != getattr(cells[index], name) for name in SAID_AT_ONCE)
        cells[index] = cell
        self.state = dataclasses.replace(
            self.state, cells=tuple(cells), seconds_left=seconds_left(cells)
        )
        self._publish(now=changed)

    def _publish(self, *, now: bool) -> None:
        if now or time.monotonic() - self._written >= WRITE_SECONDS:
            self._written = time.monotonic()
            self.state = dataclasses.replace(self.state, heartbeat=time.time())
            with contextlib.suppress(OSError):
                write_atomic(
                    self.folder / f"{self.state.sweep_id}.json", STATE.dump_json(self.state)
                )
        if self.on_state is not None:
            self.on_state(self.state)


def seconds_left(cells: list[CellState]) -> float | None:
    """Estimate for all cells that are left, from the epochs of those that ran.

    As many at a time as are being trained now, and no less than the longest of these.
    """
    spent = epochs = 0.0
    open_epochs = 0.0
    running = []
    for cell in cells:
        if cell.state == "done" and cell.seconds is not None and not cell.cached:
            spent, epochs = spent + cell.seconds, epochs + cell.epochs
        elif cell.state == "running" and cell.seconds_left is not None and cell.steps:
            running.append(cell.seconds_left)
            share = 1 - cell.step / cell.steps
            if share > 0:
                spent, epochs = spent + cell.seconds_left, epochs + share * cell.epochs
        elif cell.state in ("running", "planned"):
            open_epochs += cell.epochs
    at_a_time = max(1, sum(cell.state == "running" for cell in cells))
    if open_epochs and not epochs:
        return None
    left = sum(running) + (open_epochs * spent / epochs if open_epochs else 0.0)
    return max(left / at_a_time, *running) if running else left / at_a_time


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _forget_old(folder: Path) -> None:
    for path in state_files(folder)[KEPT:]:
        lock = path.with_suffix(".lock")
        if not held(lock):
            for file in (path, lock):
                with contextlib.suppress(OSError):
                    file.unlink()
    for path in folder.glob(".*.json.*.tmp"):  # of a sweep that was killed while it wrote
        if not held(folder / f"{path.name[1:].split('.json.')[0]}.lock"):
            with contextlib.suppress(OSError):
                path.unlink()
