"""How a sweep shows its progress: a bar on a terminal, plain lines elsewhere. No torch."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from finegates_engine.sweep.state import CellState, SweepState
from finegates_engine.text.format import metric_label, seconds_text, times_text

LINE_SECONDS = 30.0
"""Time between two plain lines on the progress of one cell."""

SHOWN_BARS = 16
"""Cells whose steps have a bar, if more are trained at a time."""

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
        due, alone = time.monotonic() - self._said > LINE_SECONDS, len(state.running) == 1
        for number, cell in enumerate(state.cells, start=1):
            before = self._seen[cell.run_id]
            moved = due and alone and cell.state == "running"
            if cell.state != before.state or cell.note != before.note or moved:
                self._seen[cell.run_id] = cell
                self._say(f"[{number}/{total}] {cell.run_id}: {cell_text(cell, state)}")
        if due and len(state.running) > 1:
            self._say(running_line(state))

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self.console.print(Text(line), soft_wrap=True)


class _Bars:
    """One bar over the cells, and one over the steps of each cell that is being trained."""

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
        self.steps: dict[str, TaskID] = {}
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
        running = {cell.run_id: cell for cell in state.running[:SHOWN_BARS]}
        for name in [name for name in self.steps if name not in running]:
            self.bars.remove_task(self.steps.pop(name))
        for name, cell in running.items():
            if name not in self.steps:
                self.steps[name] = self.bars.add_task("", total=None, text="")
            self.bars.update(
                self.steps[name],
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


def running_line(state: SweepState) -> str:
    """One sentence on a sweep that trains several cells at a time."""
    counts = ", ".join(f"{state.count(kind)} {kind}" for kind in ("done", "running", "planned"))
    left = "" if state.seconds_left is None else f", about {seconds_text(state.seconds_left)} left"
    return f"{state.task}: {counts}{left}."


def cell_text(cell: CellState, state: SweepState) -> str:
    """What can be said of a cell, in a few words."""
    score = "" if cell.score is None else f"{metric_label(state.metric)} {cell.score:.3f}"
    if cell.state == "running":
        steps = f"step {cell.step} of {cell.steps}" if cell.steps else "starting"
        left = "" if cell.seconds_left is None else f"{seconds_text(cell.seconds_left)} left"
        again = f"begun again {times_text(cell.retries)}" if cell.retries else ""
        return ", ".join(part for part in (steps, score, left, cell.worker, again) if part)
    if cell.state == "done":
        if cell.cached:
            return ", ".join(part for part in ("already in the store", score) if part)
        took = "" if cell.seconds is None else f" in {seconds_text(cell.seconds)}"
        return ", ".join(part for part in (f"done{took}", score) if part)
    return f"{cell.state}: {cell.note}" if cell.note else cell.state
