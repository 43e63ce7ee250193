"""How a sweep shows its progress: a bar on a terminal, plain lines elsewhere. No torch."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from finegates_engine.sweep.state import CellState, SweepState
from finegates_engine.text.format import metric_label, seconds_text

LINE_SECONDS = 30.0
"""Time between two plain lines on the progress of one cell."""

OnState = Callable[[SweepState], None]


@contextlib.contextmanager
def progress_display(*, quiet: bool) -> Iterator[OnState | None]:
    """What `run_sweep` tells of its state. Progress goes to stderr, results are for stdout."""
    console = Console(stderr=True)
    if quiet:
        yield None
    elif console.is_terminal:
        with _Bars(console) as bars:
            yield bars
    else:
        yield PlainLines(console)


class PlainLines:
    """A line when a cell starts or ends, and now and then in between."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._seen: dict[str, CellState] = {}
        self._said = time.monotonic()

    def __call__(self, state: SweepState) -> None:
        """Say what has changed."""
        if not self._seen:
            self._seen = {cell.run_id: cell for cell in state.cells}
            self._say(plan_line(state))
            return
        total = len(state.cells)
        for number, cell in enumerate(state.cells, start=1):
            before = self._seen[cell.run_id]
            due = cell.state == "running" and time.monotonic() - self._said > LINE_SECONDS
            if cell.state != before.state or cell.note != before.note or due:
                self._seen[cell.run_id] = cell
                self._say(f"[{number}/{total}] {cell.run_id}: {cell_text(cell, state)}")

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self.console.print(Text(line), soft_wrap=True)


class _Bars:
    """One bar over the cells, and one over the steps of the current cell."""

    def __init__(self, console: Console) -> None:
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            transient=True,
        )
        self.cells: TaskID = self.bars.add_task("Loading task and backbone", total=None, text="")
        self.steps: TaskID | None = None
        self._seen: dict[str, str] = {}

    def __enter__(self) -> "_Bars":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def __call__(self, state: SweepState) -> None:
        """Move the bars; a cell that failed leaves a line."""
        settled = len(state.cells) - state.count("planned") - state.count("running")
        left = "" if state.seconds_left is None else f", {seconds_text(state.seconds_left)} left"
        self.bars.update(
            self.cells,
            description=f"{state.task}: cells",
            total=len(state.cells),
            completed=settled,
            text=f"{settled}/{len(state.cells)}{left}",
        )
        self._update_steps(state)
        for cell in state.cells:
            if cell.state == "failed" and self._seen.get(cell.run_id, "planned") != "failed":
                line = Text(f"{cell.run_id}: {cell_text(cell, state)}", style="red")
                self.bars.console.print(line, soft_wrap=True)
            self._seen[cell.run_id] = cell.state

    def _update_steps(self, state: SweepState) -> None:
        cell = state.current
        if cell is None:
            if self.steps is not None:
                self.bars.remove_task(self.steps)
                self.steps = None
            return
        if self.steps is None:
            self.steps = self.bars.add_task("", total=None, text="")
        self.bars.update(
            self.steps,
            description=f"target {cell.target:g}, seed {cell.seed}",
            total=cell.steps,
            completed=cell.step,
            text=cell_text(cell, state),
        )


def plan_line(state: SweepState) -> str:
    """One sentence on what a sweep is about to do."""
    there, failed = state.count("done"), state.count("failed")
    parts = [f"{state.task}, {state.method}, {state.strategy}: {len(state.cells)} cells"]
    if there:
        parts.append(f"{there} already in the store")
    if failed:
        parts.append(f"{failed} failed before")
    return ", ".join(parts) + "."


def cell_text(cell: CellState, state: SweepState) -> str:
    """What can be said of a cell, in a few words."""
    score = "" if cell.score is None else f"{metric_label(state.metric)} {cell.score:.3f}"
    if cell.state == "running":
        steps = f"step {cell.step} of {cell.steps}" if cell.steps else "starting"
        left = "" if cell.seconds_left is None else f"{seconds_text(cell.seconds_left)} left"
        return ", ".join(part for part in (steps, score, left) if part)
    if cell.state == "done":
        if cell.cached:
            return ", ".join(part for part in ("already in the store", score) if part)
        took = "" if cell.seconds is None else f" in {seconds_text(cell.seconds)}"
        return ", ".join(part for part in (f"done{took}", score) if part)
    return f"{cell.state}: {cell.note}" if cell.note else cell.state
