"""The table of running sweeps on a terminal. No torch."""

import time
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from finegates_engine.cli.progress import cell_text
from finegates_engine.cli.tables import output
from finegates_engine.sweep.state import STATE, SweepState, read_sweeps
from finegates_engine.text.format import MISSING, metric_label, score_text, seconds_text

REFRESH_SECONDS = 1.0
SHOWN = 5
"""Sweeps in the table: all that are running, and the newest others."""

STYLES = {"running": "green", "failed": "red", "died": "red", "unreadable": "yellow"}


def sweeps_json(sweeps: list[SweepState]) -> str:
    """All sweeps of a store as a JSON list."""
    import json

    plain: list[Any] = [STATE.dump_python(sweep, mode="json") for sweep in sweeps]
    return json.dumps(plain, indent=1)


def print_sweeps(sweeps: list[SweepState], store: Path) -> None:
    """The table once."""
    output().print(_rendered(sweeps, store))


def watch_sweeps(store: Path) -> None:
    """The table, renewed until no sweep is running any more."""
    console = Console(highlight=False)
    sweeps = read_sweeps(store)
    if not console.is_terminal or not _running(sweeps):
        print_sweeps(sweeps, store)
        return
    with Live(_rendered(sweeps, store), console=console, auto_refresh=False) as live:
        while _running(sweeps):
            time.sleep(REFRESH_SECONDS)
            sweeps = read_sweeps(store)
            live.update(_rendered(sweeps, store), refresh=True)


def _running(sweeps: list[SweepState]) -> bool:
    return any(sweep.state == "running" for sweep in sweeps)


def _rendered(sweeps: list[SweepState], store: Path) -> RenderableType:
    chosen = [s for s in sweeps if s.state == "running"]
    chosen += [s for s in sweeps if s.state != "running"][: max(0, SHOWN - len(chosen))]
    if not chosen:
        return Text(f"No sweeps in {str(store)!r}. Start one: finegates demo --store {store}")
    return Group(*(_sweep(sweep) for sweep in chosen))


def _sweep(sweep: SweepState) -> RenderableType:
    title = Text(sweep.sweep_id, style="bold")
    title.append(f"  {sweep.state}", style=STYLES.get(sweep.state, ""))
    if sweep.state == "unreadable":
        return Group(title, Text(f"  {sweep.note}\n"))
    left = "" if sweep.seconds_left is None else f", {seconds_text(sweep.seconds_left)} left"
    counts = ", ".join(
        f"{sweep.count(state)} {state}"
        for state in ("done", "running", "planned", "failed", "skipped")
        if sweep.count(state)
    )
    note = "" if sweep.note is None else f"\n  {sweep.note}"
    text = Text(f"  {sweep.task}, {sweep.method}, {sweep.strategy}: {counts}{left}{note}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Target", "Seed", metric_label(sweep.metric), "Steps"):
        table.add_column(name, justify="right")
    table.add_column("State")
    for cell in sweep.cells:
        steps = f"{cell.step}/{cell.steps}" if cell.steps else MISSING
        state = Text(cell_text(cell, sweep), overflow="fold")
        table.add_row(f"{cell.target:g}", str(cell.seed), score_text(cell.score), steps, state)
    return Group(title, text, table)
