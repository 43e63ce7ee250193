"""Tables of runs on a terminal: a store, and the outcome of a sweep. No torch."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from finegates_engine.cli_format import (
    MISSING,
    UNITS,
    count_text,
    metric_label,
    score_text,
    seconds_text,
    share_text,
)
from finegates_engine.runs import RunStore
from finegates_engine.sweep_state import SweepState

PIPE_WIDTH = 200
"""Columns of a table that goes into a file or a pipe."""

_GROUP = ["task", "backbone", "method", "target_unit", "metric"]
_ORDER = ["target", "path", "seed", "run_id"]
_RUNGS: dict[str, str] = {
    "gate_sparsity": "Gates\nclosed",
    "removed_weight_fraction": "Gated\nweights\nremoved",
    "folded_encoder_fraction": "Encoder\nweights\nremoved",
    "removed_model_fraction": "Model\nremoved",
    "macs_per_token": "MACs per\ntoken",
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
        print_titled(console, title, _runs_table(group, names))
    if not frame.empty:
        count = "1 run" if len(frame) == 1 else f"{len(frame):,} runs"
        name = str(frame["run_id"].iloc[-1])
        text = f"{count}. One of them: finegates show {_hash(name)} --store {store}"
        console.print(Text(text), soft_wrap=True)
    for path, reason in damaged:
        console.print(Text(f"Skipped {path}: {reason}", style="yellow"), soft_wrap=True)


def _runs_table(group: pd.DataFrame, names: Mapping[str, Any]) -> Table:
    unit = names["target_unit"]
    table = make_table(_target_title(unit), "Starts\nfrom", "Seed", metric_label(names["metric"]))
    _add_rungs(table)
    table.add_column("Run", justify="left")
    for row in group.sort_values(_ORDER, na_position="first").to_dict("records"):
        before = str(row["path"]).rpartition(",")[2]
        table.add_row(
            share_text(row["target"]),
            share_text(float(before)) if before else MISSING,
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
    table = make_table(_target_title(state.target_unit), "Seed", metric_label(state.metric))
    _add_rungs(table)
    table.add_column("Run", justify="left")
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
        print_titled(console, f"{state.task}, {state.method}, {state.strategy}", table)
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
    """A plain table with columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        table.add_column(title, justify="right")
    return table


def print_titled(console: Console, title: str, table: Table) -> None:
    """A table below its title; names in it are never taken for markup."""
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)


def _add_rungs(table: Table) -> None:
    for title in (*_RUNGS.values(), "Trained\nin"):
        table.add_column(title, justify="right")


def _rung_texts(row: Mapping[Any, Any] | Mapping[Hashable, Any]) -> list[str]:
    shares = [share_text(row[name]) for name in _RUNGS if name != "macs_per_token"]
    return [*shares, count_text(row["macs_per_token"])]


def _target_title(unit: object) -> str:
    """The column of the target, which always says its unit."""
    words = UNITS.get(str(unit))
    return "Target" if words is None else "Target\nof\n" + words.replace(" ", "\n")


def _hash(run_id: str) -> str:
    """The end of a run id, which `finegates show` takes for the whole."""
    return run_id.rsplit("-", 1)[1]
