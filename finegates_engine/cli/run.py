"""One run on a terminal: scores with intervals, the ladder, its config and cost. No torch."""

import dataclasses
from typing import Any

from rich.console import Console
from rich.text import Text

from finegates_engine.analysis.intervals import Interval, bootstrap_interval
from finegates_engine.cli.tables import make_table, output
from finegates_engine.config import RunConfig, to_json
from finegates_engine.ladder import RUNGS, Ladder
from finegates_engine.results import RECORD, RunRecord
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.text.format import (
    MISSING,
    UNITS,
    bytes_text,
    count_text,
    metric_label,
    ms_text,
    run_words,
    score_text,
    seconds_text,
    share_text,
)
from finegates_engine.timing.measured_ladder import MeasuredLadder, measured_ladder

_SHOWN_ELSEWHERE = {"task.name", "task.data", "gates.target", "method", "seed", "path"}


def print_run(run: StoredRun) -> None:
    """One run: scores with intervals, the ladder, and what it took."""
    console, record = output(), run.record
    console.print(Text(record.run_id, style="bold"), soft_wrap=True)
    console.print(Text(_summary(record)), soft_wrap=True)
    _print_scores(console, run)
    measured = measured_ladder(run)
    ladder = make_table("Rung", "Value")
    for name, text in ladder_texts(measured.ladder).items():
        ladder.add_row(RUNGS[name].label, text)
    console.print(ladder)
    for line in (*_run_lines(run, measured), *_cost_lines(record), _config_line(run.config)):
        console.print(Text(line), soft_wrap=True)


def _run_lines(run: StoredRun, measured: MeasuredLadder) -> list[str]:
    left_out = run.record.left_out
    again = [] if left_out is None else [f"Shipped without its weights. Again: {left_out.remake}"]
    return _measured_lines(run, measured) + again


def _measured_lines(run: StoredRun, measured: MeasuredLadder) -> list[str]:
    """What the measured rungs belong to, or the command that measures them."""
    if measured.problem is not None:
        return [measured.problem]
    if measured.ladder.file_bytes is None and run.has_adapter:
        return [f"Not folded yet: finegates prune {run_words(run.run_id, run.root)}"]
    cell = measured.latency
    if cell is None:
        words = run_words(run.run_id, run.root)
        return [f"Not timed yet: finegates bench {words}"] if run.has_adapter else []
    times, setting = cell.speedup, cell.setting
    return [
        f"Latency of {setting.batch} x {setting.tokens} tokens, {setting.threads} thread on "
        f"{measured.machine}: {times.value:.2f}x as fast as dense "
        f"({times.low:.2f} to {times.high:.2f})."
    ]


def run_json(run: StoredRun) -> dict[str, Any]:
    """run.json, and the intervals of its scores."""
    plain: dict[str, Any] = RECORD.dump_python(run.record, mode="json")
    intervals: dict[str, dict[str, Any]] = {}
    for split, metric in _scores(run.record):
        interval = _interval(run, split, metric)
        intervals.setdefault(split, {})[metric] = None if interval is None else vars(interval)
    ladder = dataclasses.asdict(measured_ladder(run).ladder)
    return plain | {"intervals": intervals, "ladder": ladder}


def ladder_texts(ladder: Ladder) -> dict[str, str]:
    """Rung to what it says of this model; those that are not measured are left out."""
    gates = f"({ladder.gates_closed:,} of {ladder.gates_total:,} gates)"
    dense = f"{count_text(ladder.dense_macs_per_token)} dense, rows of {ladder.macs_tokens} tokens"
    texts = {
        "gate_sparsity": f"{share_text(ladder.gate_sparsity)} {gates}",
        "removed_weight_fraction": f"{share_text(ladder.removed_weight_fraction)} of the "
        f"{count_text(ladder.gated_weights)} weights in gated matrices",
        "folded_encoder_fraction": f"{share_text(ladder.folded_encoder_fraction)} of "
        f"{count_text(ladder.encoder_weights)}",
        "removed_model_fraction": f"{share_text(ladder.removed_model_fraction)} of "
        f"{count_text(ladder.model_parameters)} parameters",
        "macs_per_token": f"{count_text(ladder.macs_per_token)} per token ({dense})",
    }
    if ladder.target is not None:
        unit = UNITS.get(str(ladder.target_unit), "")
        texts = {"target": f"{share_text(ladder.target)} of {unit}"} | texts
    if ladder.stored_weight_fraction is not None:
        texts["stored_weight_fraction"] = share_text(ladder.stored_weight_fraction)
    if ladder.file_bytes is not None:
        texts["file_bytes"] = bytes_text(ladder.file_bytes)
    if ladder.latency_ms is not None:
        texts["latency_ms"] = f"{ms_text(ladder.latency_ms / 1000)} ms"
    return texts


def _print_scores(console: Console, run: StoredRun) -> None:
    table = make_table("Score", "Split", "Value", "95% interval")
    for (split, metric), value in _scores(run.record).items():
        interval = _interval(run, split, metric)
        shown = MISSING if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
        table.add_row(metric_label(metric), Text(split), score_text(value), shown)
    console.print(table)
    note = "Intervals are over evaluation rows; one run cannot say how much seeds differ."
    console.print(Text(note, style="dim"))


def _scores(record: RunRecord) -> dict[tuple[str, str], float | None]:
    return {
        (split, name): value
        for split, scores in record.metrics.items()
        for name, value in scores.items()
    }


def _interval(run: StoredRun, split: str, metric: str) -> Interval | None:
    rows = run.predictions[run.predictions["split"] == split]
    return None if rows.empty else bootstrap_interval(metric, [rows])


def _summary(record: RunRecord) -> str:
    config = record.config
    path = ", ".join(f"{level:g}" for level in config.path)
    after = f", on a path after the targets {path}" if path else ""
    return (
        f"Task {config.task.name}, method {config.method}{after}, seed {config.seed}, "
        f"on {record.identity.base_weights}"
    )


def _cost_lines(record: RunRecord) -> list[str]:
    costs, environment = record.costs, record.environment
    trained = ", ".join(f"{kind} {n:,}" for kind, n in costs.trained_parameters.items() if n)
    rate = costs.seconds_per_step
    a_step = "" if rate is None else f", {rate:.2g} s a step"
    memory = costs.peak_memory_bytes
    at_most = "" if memory is None else f", {bytes_text(memory)} of memory"
    machine = environment.accelerator or environment.cpu or environment.platform
    commit = "" if environment.commit is None else f", commit {environment.commit[:10]}"
    changed = " with changes" if environment.dirty else ""
    return [
        f"Trained values: {trained or 'none'}.",
        f"{costs.steps:,} steps in {seconds_text(costs.seconds_total)}{a_step}{at_most}.",
        f"On {machine}, torch {environment.versions.get('torch')}{commit}{changed}.",
    ]


def _config_line(config: RunConfig) -> str:
    """Where the config is not the default one."""
    ours, default = _flat(config), _flat(RunConfig())
    other = [
        f"{name} {value}"
        for name, value in ours.items()
        if value != default[name] and name not in _SHOWN_ELSEWHERE
    ]
    return f"Not as in the default: {', '.join(other) or 'nothing'}."


def _flat(config: RunConfig) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for part, value in to_json(config).items():
        fields = value if isinstance(value, dict) else {"": value}
        flat |= {f"{part}.{name}".rstrip("."): one for name, one in fields.items()}
    return flat
