"""Tables of runs on a terminal: a store, and the outcome of a sweep. No torch."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.state import SweepState
from finegates_engine.tasks import TASKS
from finegates_engine.text.format import (
    MISSING,
    UNITS,
    count_text,
    metric_label,
    score_text,
    seconds_text,
    share_text,
)

PIPE_WIDTH = 200
"""Columns of a table that goes into a file or a pipe."""

HASH_DIGITS = 7
"""Of a run's hash in tables: enough to tell runs apart, as in Git."""

_GROUP = ["task", "backbone", "method", "target_unit", "metric"]
_ORDER = ["target", "path", "seed", "run_id"]
_RUNGS: dict[str, str] = {
    "gate_sparsity": "Gates\nclosed",
    "removed_weight_fraction": "Gated\nweights\nremoved",
    "folded_encoder_fraction": "Encoder\nweights\nremoved",
    "removed_model_fraction": "Model\nremoved",
    "macs_per_token": "MACs/\ntoken",
}
"""Rung of the ladder -> title of its column."""


def output() -> Console:
    """Standard output; as wide as a table needs where it is not a terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def print_runs(
    frame: pd.DataFrame, damaged: list[tuple[str, str]], store: Path, *, task: str | None
) -> None:
    """All runs of a store, a table for each task, backbone and method; and what is damaged."""
    console = output()
    if frame.empty:
        of_task = "" if task is None else f" of task {task!r}"
        command = "demo" if task is None else f"sweep --task {task}"
        text = f"No runs{of_task} in {str(store)!r}. Make some: finegates {command} --store {store}"
        console.print(Text(text), soft_wrap=True)
    for key, group in frame.groupby(_GROUP, dropna=False):
        names = dict(zip(_GROUP, key, strict=True))
        title = f"{names['task']}, {names['method']} on {names['backbone']}"
        title += _target_words(names["target_unit"])
        print_titled(console, title, _runs_table(group, names))
    if not frame.empty:
        count = "1 run" if len(frame) == 1 else f"{len(frame):,} runs"
        name = str(frame["run_id"].iloc[-1])
        text = f"{count}. One of them: finegates show {_hash(name)} --store {store}"
        console.print(Text(text), soft_wrap=True)
    for path, reason in damaged:
        console.print(Text(f"Skipped {path}: {reason}", style="yellow"), soft_wrap=True)


def _runs_table(group: pd.DataFrame, names: Mapping[str, Any]) -> Table:
    on_path = group["path"].ne("").any()
    first = ["Target", *(["Path"] if on_path else []), "Seed", _lines(names["metric"])]
    table = make_table(*first, *_RUNGS.values(), "Time", "Run")
    for row in group.sort_values(_ORDER, na_position="first").to_dict("records"):
        path = ["yes" if row["path"] else MISSING] if on_path else []
        table.add_row(
            share_text(row["target"]),
            *path,
            str(row["seed"]),
            score_text(row["score"]),
            *_rung_texts(row),
            seconds_text(row["seconds_total"]),
            _hash(str(row["run_id"])),
        )
    return table


def print_sweep_result(state: SweepState, store: RunStore) -> None:
    """The runs of a sweep that has ended, what failed, and what to do next."""
    console = output()
    table = make_table("Target", "Seed", _lines(state.metric), *_RUNGS.values(), "Time", "Run")
    done = [cell for cell in state.cells if cell.state == "done"]
    for cell in done:
        record = store.load(cell.run_id).record
        table.add_row(
            share_text(cell.target),
            str(cell.seed),
            score_text(record.score),
            *_rung_texts(vars(record.ladder)),
            seconds_text(record.costs.seconds_total),
            _hash(cell.run_id),
        )
    if done:
        title = f"{state.task}, {state.method}, {state.strategy}{_target_words(state.target_unit)}"
        print_titled(console, title, table)
    for cell in state.cells:
        if cell.state in ("failed", "skipped"):
            note = f"{cell.run_id} {cell.state}: {cell.note}"
            console.print(Text(note, style="red"), soft_wrap=True)
    lines = {
        "The failed ones again:": "the same command with --retry-failed",
        "All runs of the store:": f"finegates runs --store {store.root}",
        "One run with its ladder:": f"finegates show {_hash(done[-1].run_id) if done else ''}"
        f" --store {store.root}",
    }
    if not state.count("failed"):
        del lines["The failed ones again:"]
    for what, how in list(lines.items())[: None if done else 1]:
        console.print(Text(f"{what:<25}{how}"), soft_wrap=True)


def make_table(*titles: str) -> Table:
    """A plain table, narrow enough for 80 columns; its columns are numbers but for names."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0))
    for title in titles:
        table.add_column(title, justify="left" if title in _NAMES else "right", overflow="fold")
    return table


_NAMES = ("Run", "Rung", "Value", "Score", "Split")


def print_titled(console: Console, title: str, table: Table) -> None:
    """A table below its title; names in it are never taken for markup."""
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)


def _rung_texts(row: Mapping[Any, Any] | Mapping[Hashable, Any]) -> list[str]:
    shares = [share_text(row[name]) for name in _RUNGS if name != "macs_per_token"]
    return [*shares, count_text(row["macs_per_token"])]


def _target_words(unit: object) -> str:
    """What the column of the target counts, for a title."""
    words = UNITS.get(str(unit))
    return "" if words is None else f"; target: share of {words} to remove"


def _lines(metric: object) -> str:
    return metric_label(str(metric)).replace(" ", "\n")


def _hash(run_id: str) -> str:
    """The part of a run id which `finegates show` takes for the whole."""
    return run_id.rsplit("-", 1)[1][:HASH_DIGITS]


def print_tasks() -> None:
    """The table of tasks: what is asked, of which columns, scored how."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("Task", "Question", "Text columns", "Scores"):
        table.add_column(title)
    for spec in TASKS.values():
        scores = ", ".join(metric_label(name) for name in spec.metrics or ())
        table.add_row(spec.name, spec.sentence, ", ".join(spec.text_fields), scores)
    console = output()
    console.print(table)
    console.print(Text("Any other name works with --data and --text-fields."), soft_wrap=True)
