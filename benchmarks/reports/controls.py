"""The report of `benchmarks/controls.py`: curves, differences, likeness of gates, points."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from reports.curves import COMPARED, CURVES
from sklearn.metrics import cohen_kappa_score

from finegates_engine.analysis.answers import answers_of
from finegates_engine.analysis.gate_vectors import comparable
from finegates_engine.analysis.intervals import (
    Interval,
    bootstrap_interval,
    mover_interval,
    paired_difference,
    resampled_scores,
)
from finegates_engine.metrics import METRICS
from finegates_engine.runs.stored_run import StoredRun

GIB = 2**30

Cells = Mapping[str, Mapping[float, Sequence[StoredRun]]]
"""Name of a curve -> target -> runs, one a seed."""

HEAD = """# Controls and rivals

    {command}

MiniLM-L6, mean pooling. Means over seeds with 95% intervals: rows resampled, 2,000 draws, and seeds
by Student's t. "Removed" is the share of the encoder's Linear weights that leaves. What each method
does and what is held equal: [methods.md](../methods.md). Gates are closed between 65 and 80% of the
steps by methods that learn them, at 65% by those that score them once; "closed early": between 20
and 40%, or at 20%; "closed first": before the first step. "-": not trained yet.
"""

ALIKE = """How alike the chosen gates are: Cohen's kappa of kept and closed gates, 1 where they
are the same, 0 as by chance; means over seeds. First FineGates against the method with the same
seed, then (in brackets) the method's own seeds against each other."""


def section(task: str, setting: str, targets: Sequence[float], cells: Cells) -> str:
    """All that is said of one task. setting: what was trained, a sentence."""
    name = headline(cells)
    parts = [
        f"## {task}, {METRICS[name].label}",
        setting,
        _curves(name, targets, cells),
        f"FineGates less each method; **bold** where the interval excludes 0.\n\n"
        f"{_differences(name, targets, cells)}",
        "\n".join(_findings(name, targets, cells)),
        _alike(targets, cells),
        _points(name, cells),
        f"Largest miss of a target: {largest_miss(cells):.4f} of the encoder's weights.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(cells: Cells) -> str:
    """The metric of the first run."""
    run = next(run for levels in cells.values() for runs in levels.values() for run in runs)
    return run.record.headline


def interval(metric: str, runs: Sequence[StoredRun]) -> Interval | None:
    """Mean score with its interval. None: no runs."""
    return bootstrap_interval(metric, [run.predictions for run in runs]) if runs else None


def gap(metric: str, cells: Cells, method: str, target: float) -> Interval | None:
    """FineGates less a method at one target. None: one of them has no runs."""
    ours = cells.get("finegates", {}).get(target, [])
    theirs = cells.get(method, {}).get(target, [])
    if not ours or not theirs:
        return None
    return paired_difference(
        metric, [run.predictions for run in ours], [run.predictions for run in theirs]
    )


def mean_gap(metric: str, cells: Cells, method: str, targets: Sequence[float]) -> Interval | None:
    """FineGates less a method, the mean over targets. None: a run is missing.

    Rows are resampled alike at all targets; a seed's score is its mean over them.
    """
    sides = [[cells.get(name, {}).get(t, []) for t in targets] for name in ("finegates", method)]
    if any(len(runs) != len(sides[0][0]) for side in sides for runs in side) or not sides[0][0]:
        return None
    groups = [[answers_of(run.predictions) for run in runs] for side in sides for runs in side]
    scores, drawn = resampled_scores(metric, groups)
    count = len(targets)
    ours, theirs = np.mean(scores[:count], axis=0), np.mean(scores[count:], axis=0)
    rows = np.mean(drawn[:count], axis=(0, 1)) - np.mean(drawn[count:], axis=(0, 1))
    return mover_interval(float(ours.mean() - theirs.mean()), rows, [ours, theirs])


def largest_miss(cells: Cells) -> float:
    """The furthest that any run lies from its target, in shares of the encoder's weights."""
    misses = [
        abs(run.record.ladder.folded_encoder_fraction - target)
        for levels in cells.values()
        for target, runs in levels.items()
        for run in runs
    ]
    return max(misses, default=0.0)


def _curves(metric: str, targets: Sequence[float], cells: Cells) -> str:
    rows = []
    for method in (name for name, curve in CURVES.items() if curve.spec.removes != "nothing"):
        levels = cells.get(method, {})
        if not levels:
            continue
        shown = [_shown(interval(metric, levels.get(t, []))) for t in targets]
        rows.append([CURVES[method].label, *shown])
    return _table(["method", *_titles(targets)], rows)


def _differences(metric: str, targets: Sequence[float], cells: Cells) -> str:
    rows = []
    for method in (name for name in COMPARED if name in cells):
        gaps = [gap(metric, cells, method, target) for target in targets]
        gaps.append(mean_gap(metric, cells, method, targets))
        marks = ["**" if found is not None and found.excludes_zero else "" for found in gaps]
        shown = [f"{m}{_shown(found, '+')}{m}" for m, found in zip(marks, gaps, strict=True)]
        rows.append([CURVES[method].label, *shown])
    return _table(["against", *_titles(targets), "mean of these"], rows)


def _findings(metric: str, targets: Sequence[float], cells: Cells) -> list[str]:
    """A sentence for each compared method: at which levels FineGates is better, worse, neither."""
    better_low = METRICS[metric].better == "lower"
    lines = []
    for method in COMPARED:
        said: dict[str, list[str]] = {"better": [], "worse": [], "not measurably different": []}
        gaps = {f"{target:.0%}": gap(metric, cells, method, target) for target in targets}
        gaps["the mean of these"] = mean_gap(metric, cells, method, targets)
        for level, found in gaps.items():
            if found is not None:
                word = "better" if (found.mean > 0) != better_low else "worse"
                said[word if found.excludes_zero else "not measurably different"].append(level)
        clauses = [f"{word} at {', '.join(levels)}" for word, levels in said.items() if levels]
        if clauses:
            lines.append(f"- FineGates against {CURVES[method].label}: {'; '.join(clauses)}.")
    return lines


def _alike(targets: Sequence[float], cells: Cells) -> str:
    rows = []
    for method in ("finegates", *COMPARED):
        ours, theirs = cells.get("finegates", {}), cells.get(method, {})
        shown = []
        for target in targets:
            runs = theirs.get(target, [])
            seeds = {run.config.seed: run for run in ours.get(target, [])}
            pairs = [(seeds[r.config.seed], r) for r in runs if r.config.seed in seeds]
            same = "" if method == "finegates" else f"{_number(_kappa(pairs))} "
            shown.append(f"{same}({_number(_kappa(itertools.combinations(runs, 2)))})")
        if any(character.isdigit() for text in shown for character in text):
            rows.append([CURVES[method].label, *shown])
    return f"{ALIKE}\n\n{_table(['gates', *_titles(targets)], rows)}" if rows else ""


def _kappa(pairs: Iterable[tuple[StoredRun, StoredRun]]) -> float | None:
    """Mean over pairs of runs whose gates are of the same dimensions. None: there is none."""
    found = []
    for first, second in pairs:
        a, b = first.gate_values, second.gate_values
        if a and comparable(a, b):
            flat = [np.concatenate([values[name] > 0 for name in sorted(a)]) for values in (a, b)]
            found.append(cohen_kappa_score(*flat))
    return float(np.mean(found)) if found else None


def _points(metric: str, cells: Cells) -> str:
    rows = []
    for name, curve in CURVES.items():
        runs = cells.get(name, {}).get(0.0, [])
        if not runs:
            continue
        memory = max(run.record.costs.peak_memory_bytes or 0 for run in runs) / GIB
        devices = {run.record.environment.accelerator or "CPU" for run in runs}
        rows.append(
            [
                curve.label,
                _shown(interval(metric, runs)),
                f"{sum(runs[0].record.costs.trained_parameters.values()):,}",
                f"{_mean(lambda run: run.record.costs.seconds_total, runs):.0f}",
                f"{memory:.2f}",
                ", ".join(sorted(devices)),
            ]
        )
    titles = ("score", "trained values", "seconds a run", "peak memory, GiB", "trained on")
    return _table(["nothing removed", *titles], rows) if rows else ""


def _titles(targets: Sequence[float]) -> list[str]:
    return [f"{target:.0%} removed" for target in targets]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(found: Interval | None, sign: str = "") -> str:
    if found is None:
        return "-"
    low, mean, high = (f"{v:{sign}.3f}" for v in (found.low, found.mean, found.high))
    return f"{mean} ({low} to {high})" + ("" if found.seeds > 1 else ", one seed")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _mean(value: Callable[[StoredRun], float], runs: Sequence[StoredRun]) -> float:
    return sum(map(value, runs)) / len(runs)
