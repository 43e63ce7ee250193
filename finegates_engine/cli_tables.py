"""Tables of runs on a terminal: a store, one run, the outcome of a sweep. No torch."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from finegates_engine.analysis import Interval, bootstrap_interval
from finegates_engine.cli_format import (
    MISSING,
    bytes_text,
    count_text,
    metric_label,
    score_text,
    seconds_text,
    share_text,
)
from finegates_engine.ladder import RUNGS, Ladder
from finegates_engine.results import RECORD, RunRecord
from finegates_engine.runs import RunStore
from finegates_engine.stored_run import StoredRun
from finegates_engine.sweep_state import SweepState

PIPE_WIDTH = 200
"""Columns of a table that goes into a file or a pipe."""

UNITS = {"encoder_weights": "encoder weights", "gates": "gates"}


def output() -> Console:
    """Standard output; as wide as a table needs where it is not a terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def print_runs(
    frame: pd.DataFrame, damaged: list[tuple[str, str]], store: Path, *, task: str | None
) -> None:
    """All runs of a store, a row each, and what of it is damaged."""
    console = output()
    if frame.empty:
        of_task = "" if task is None else f" of task {task!r}"
        console.print(
            Text(
                f"No runs{of_task} in {str(store)!r}. Make some: "
                f"finegates {'demo' if task is None else f'sweep --task {task}'} --store {store}"
            )
        )
    else:
        console.print(_runs_table(frame))
        count = "1 run" if len(frame) == 1 else f"{len(frame):,} runs"
        console.print(Text(f"{count}. One of them: finegates show {frame['run_id'].iloc[-1]}"))
    for path, reason in damaged:
        console.print(Text(f"Skipped {path}: {reason}", style="yellow"))


def _runs_table(frame: pd.DataFrame) -> Table:
    table = _table("Run", "Score", "Metric", *_RUNG_TITLES, "Trained in")
    for row in frame.to_dict("records"):
        table.add_row(
            Text(str(row["run_id"]), overflow="fold"),
            score_text(row["score"]),
            metric_label(str(row["metric"])),
            *_rungs(row, str(row["target_unit"])),
            seconds_text(row["seconds_total"]),
        )
    return table


_RUNG_TITLES = (
    "Target",
    "Gates closed",
    "Weights removed",
    "Encoder weights removed",
    "Model removed",
    "MACs per token",
)


def _rungs(row: dict[Any, Any], unit: str) -> tuple[str, ...]:
    target = share_text(row["target"])
    return (
        target if target == MISSING else f"{target} of {UNITS.get(unit, unit)}",
        share_text(row["gate_sparsity"]),
        share_text(row["removed_weight_fraction"]),
        share_text(row["folded_encoder_fraction"]),
        share_text(row["removed_model_fraction"]),
        count_text(row["macs_per_token"]),
    )


def print_sweep_result(state: SweepState, store: RunStore) -> None:
    """The runs of a sweep that has ended, what failed, and what to do next."""
    console = output()
    table = _table("Target", "Seed", metric_label(state.metric), *_RUNG_TITLES[1:], "Trained in")
    shown = None
    for cell in state.cells:
        if cell.state != "done":
            continue
        record = store.load(cell.run_id).record
        rungs = _rungs(vars(record.ladder), state.target_unit)
        seconds = seconds_text(record.costs.seconds_total)
        target = f"{cell.target:.0%} of {UNITS.get(state.target_unit, state.target_unit)}"
        table.add_row(target, str(cell.seed), score_text(record.score), *rungs[1:], seconds)
        shown = cell.run_id
    if shown is not None:
        console.print(table)
    for cell in state.cells:
        if cell.state in ("failed", "skipped"):
            note = f"{cell.run_id} {cell.state}: {cell.note}"
            console.print(Text(note, style="red"), soft_wrap=True)
    if state.count("failed"):
        console.print(Text("Train the failed ones again: the same command with --retry-failed"))
    if shown is not None:
        console.print(Text(f"All runs:  finegates runs --store {store.root}"), soft_wrap=True)
        console.print(
            Text(f"One run:   finegates show {shown} --store {store.root}"), soft_wrap=True
        )


def print_run(run: StoredRun) -> None:
    """One run: scores with intervals, the ladder, and what it took."""
    console, record = output(), run.record
    console.print(Text(record.run_id, style="bold"), soft_wrap=True)
    console.print(Text(_summary(record)), soft_wrap=True)
    scores = _table("Score", "Split", "Value", "95% interval")
    for (split, metric), value in _scores(record).items():
        interval = _interval(run, split, metric)
        scores.add_row(metric_label(metric), Text(split), score_text(value), _shown(interval))
    console.print(scores)
    console.print(
        Text("Intervals: evaluation rows resampled; one run cannot say how seeds differ.")
    )
    ladder = _table("Rung", "Value")
    for name, text in ladder_texts(record.ladder).items():
        ladder.add_row(RUNGS[name].label, text)
    console.print(ladder)
    for line in _cost_lines(record):
        console.print(Text(line), soft_wrap=True)


def run_json(run: StoredRun) -> dict[str, Any]:
    """run.json, and the intervals of its scores."""
    plain: dict[str, Any] = RECORD.dump_python(run.record, mode="json")
    intervals: dict[str, dict[str, Any]] = {}
    for split, metric in _scores(run.record):
        interval = _interval(run, split, metric)
        shown = None if interval is None else vars(interval)
        intervals.setdefault(split, {})[metric] = shown
    return plain | {"intervals": intervals}


def ladder_texts(ladder: Ladder) -> dict[str, str]:
    """Rung to what it says of this model; those that are not measured are left out."""
    unit = UNITS.get(str(ladder.target_unit), "")
    dense = f"{count_text(ladder.dense_macs_per_token)} dense, rows of {ladder.macs_tokens} tokens"
    texts = {
        "target": f"{share_text(ladder.target)} of {unit}" if ladder.target is not None else None,
        "gate_sparsity": f"{share_text(ladder.gate_sparsity)} ({ladder.gates_closed:,} of "
        f"{ladder.gates_total:,} gates)",
        "removed_weight_fraction": f"{share_text(ladder.removed_weight_fraction)} of the "
        f"{count_text(ladder.gated_weights)} weights in gated matrices",
        "folded_encoder_fraction": f"{share_text(ladder.folded_encoder_fraction)} of "
        f"{count_text(ladder.encoder_weights)}",
        "removed_model_fraction": f"{share_text(ladder.removed_model_fraction)} of "
        f"{count_text(ladder.model_parameters)} parameters",
        "macs_per_token": f"{count_text(ladder.macs_per_token)} per token ({dense})",
    }
    if ladder.stored_weight_fraction is not None:
        texts["stored_weight_fraction"] = share_text(ladder.stored_weight_fraction)
    if ladder.file_bytes is not None:
        texts["file_bytes"] = bytes_text(ladder.file_bytes)
    if ladder.latency_ms is not None:
        texts["latency_ms"] = f"{ladder.latency_ms:.3g} ms"
    return {name: text for name, text in texts.items() if text is not None}


def _scores(record: RunRecord) -> dict[tuple[str, str], float | None]:
    return {
        (s, name): value for s, scores in record.metrics.items() for name, value in scores.items()
    }


def _interval(run: StoredRun, split: str, metric: str) -> Interval | None:
    rows = run.predictions[run.predictions["split"] == split]
    return None if rows.empty else bootstrap_interval(metric, [rows])


def _shown(interval: Interval | None) -> str:
    return MISSING if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _summary(record: RunRecord) -> str:
    config = record.config
    path = f", after {', '.join(f'{level:g}' for level in config.path)}" if config.path else ""
    return (
        f"Task {config.task.name}, method {config.method}{path}, seed {config.seed}, "
        f"backbone {record.identity.base_weights}"
    )


def _cost_lines(record: RunRecord) -> list[str]:
    costs, environment = record.costs, record.environment
    trained = ", ".join(f"{kind} {n:,}" for kind, n in costs.trained_parameters.items() if n)
    rate = costs.seconds_per_step
    a_step = "" if rate is None else f", {rate:.2g} s a step"
    machine = environment.accelerator or environment.cpu or environment.platform
    commit = "" if environment.commit is None else f", commit {environment.commit[:10]}"
    changed = " (changed)" if environment.dirty else ""
    return [
        f"Trained {trained} values in {costs.steps:,} steps: {seconds_text(costs.seconds_total)}"
        f"{a_step}, {bytes_text(costs.peak_memory_bytes)} at most.",
        f"On {machine}, torch {environment.versions.get('torch')}{commit}{changed}.",
    ]


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        left = title in ("Run", "Metric", "Split", "Rung", "Value")
        table.add_column(title, justify="left" if left else "right")
    return table
