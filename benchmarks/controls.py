"""FineGates against its controls and rivals on the same axis: encoder weights removed.

    python benchmarks/controls.py --data ../shared/glue --tasks sst2,cola --precision bf16

Each method is trained by `finegates sweep` in a process of its own, so that its peak memory is its
own. Runs are kept in --store: an interrupted comparison goes on where it was, and several may share
a store, such as one for each task or part of the methods (--only). The report is made from what the
store has when a sitting ends, of all methods. The last line is one JSON object: scores and
differences of task -> method -> target, and the largest miss of a target.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from compare import base_values

from finegates_engine.analysis.intervals import Interval, bootstrap_interval, paired_difference
from finegates_engine.backbone import local_folder, weights_hash
from finegates_engine.config import RunConfig, from_json
from finegates_engine.data.load import load_task
from finegates_engine.errors import UserError, unknown
from finegates_engine.files import write_atomic
from finegates_engine.identity import run_id
from finegates_engine.method_table import METHODS
from finegates_engine.metrics import METRICS
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.sweep.plan import plan_sweep

COMPARED = ("random", "magnitude", "activation", "taylor", "movement", "l0", "group-lasso", "svd")
"""Methods whose difference to FineGates is reported, each trained for the same steps."""

QUICK = ("finegates", "random", "magnitude-posthoc", "probe")
TOLERANCE = 0.005
GIB = 2**30

Cells = dict[str, dict[float, list[StoredRun]]]
"""Method -> target -> runs, one a seed."""


@dataclass(frozen=True)
class Comparison:
    """What is compared on one task."""

    base: RunConfig
    targets: tuple[float, ...]
    seeds: tuple[int, ...]
    store: Path

    def levels(self, method: str) -> tuple[float, ...]:
        """Targets of a method; FineGates also has the point at nothing removed."""
        if METHODS[method].removes == "nothing":
            return (0.0,)
        return (0.0, *self.targets) if method == "finegates" else self.targets

    def train(self, method: str) -> bool:
        """Train what the store lacks of a method; whether all of it is there."""
        task, model, train = self.base.task, self.base.model, self.base.train
        options = {
            "task": task.name,
            "data": task.data,
            "max-train-samples": task.max_train_samples,
            "max-eval-samples": task.max_eval_samples,
            "precision": model.precision,
            "epochs": train.epochs,
            "method": method,
            "targets": ",".join(f"{target:g}" for target in self.levels(method)),
            "seeds": ",".join(map(str, self.seeds)),
            "store": self.store,
        }
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        command = [sys.executable, "-m", "finegates_engine", "sweep", "--quiet", *given]
        return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0

    def stored(self) -> Cells:
        """All runs of the comparison that the store has."""
        opened, cells = RunStore(self.store), Cells()
        data_hash = load_task(self.base.task).data_hash
        weights = weights_hash(local_folder(self.base.model.backbone))
        for method in METHODS:
            config = replace(self.base, method=method)
            for cell in plan_sweep(config, self.levels(method), self.seeds):
                found = run_id(cell.config, data_hash=data_hash, weights_hash=weights)
                if cell.config.method == method and opened.exists(found):
                    runs = cells.setdefault(method, {}).setdefault(cell.config.gates.target, [])
                    runs.append(opened.load(found))
        return cells


def main(
    tasks: Annotated[str, typer.Option(help="Tasks, with commas.")] = "agreement",
    data: Annotated[Path | None, typer.Option(help="Folder with a folder for each task.")] = None,
    only: Annotated[str, typer.Option(help="Methods to train, with commas. Empty: all.")] = "",
    targets: Annotated[str, typer.Option(help="Shares of encoder weights.")] = "0.2,0.4,0.6",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas.")] = "0,1,2",
    rows: Annotated[int, typer.Option(help="Training rows, the first ones.")] = 4000,
    epochs: Annotated[float, typer.Option(help="Passes over the rows.")] = 3.0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    store: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path(".compare"),
    report: Annotated[Path, typer.Option(help="The report.")] = Path("docs/results/controls.md"),
    train: Annotated[bool, typer.Option(help="Train what the store lacks.")] = True,
    quick: Annotated[bool, typer.Option(help="96 rows, one epoch, one seed.")] = False,
) -> None:
    """Train every method on every task, and write the report."""
    if quick:
        rows, epochs, seeds, targets, only = 96, 1.0, "0", "0.4", ",".join(QUICK)
    chosen = [name for name in only.split(",") if name] or list(METHODS)
    for name in chosen:
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    comparisons = {
        task: Comparison(
            from_json(base_values(task, data, rows, epochs, precision, quick=quick)),
            tuple(float(target) for target in targets.split(",")),
            tuple(int(seed) for seed in seeds.split(",")),
            store,
        )
        for task in tasks.split(",")
    }
    if train:
        for comparison in comparisons.values():
            missed = [name for name in chosen if not comparison.train(name)]
            if missed:
                print(f"Not every run was trained: {', '.join(missed)}.", file=sys.stderr)
    stored = {task: comparison.stored() for task, comparison in comparisons.items()}
    text = [HEAD.format(command=" ".join(["python benchmarks/controls.py", *sys.argv[1:]]))]
    text += [_section(task, comparisons[task], cells) for task, cells in stored.items() if cells]
    report.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(report, "\n".join(text).encode())
    print(json.dumps(_summary(stored)))


HEAD = """# Controls and rivals

    {command}

MiniLM-L6, mean pooling. Means over seeds with 95% intervals: rows resampled, 2,000 draws, and seeds
by Student's t. "Removed" is the share of the encoder's Linear weights that leaves. What each method
does and what is held equal: [methods.md](../methods.md). "-": not trained yet.
"""


def _section(task: str, comparison: Comparison, cells: Cells) -> str:
    metric = next(run for levels in cells.values() for runs in levels.values() for run in runs)
    name = metric.record.headline
    parts = [
        f"## {task}, {METRICS[name].label}",
        f"First {comparison.base.task.max_train_samples:,} rows, epochs: "
        f"{comparison.base.train.epochs:g}, seeds: {', '.join(map(str, comparison.seeds))}.",
        _curves(name, comparison, cells),
        f"FineGates less each method; **bold** where the interval excludes 0.\n\n"
        f"{_differences(name, comparison, cells)}",
        "\n".join(_findings(name, comparison, cells)),
        _points(name, cells),
        f"Largest miss of a target: {_largest_miss(cells):.4f} of the encoder's weights.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _curves(metric: str, comparison: Comparison, cells: Cells) -> str:
    rows = []
    for method in (name for name, spec in METHODS.items() if spec.removes != "nothing"):
        levels = cells.get(method, {})
        shown = [_shown(_interval(metric, levels.get(t, []))) for t in comparison.targets]
        rows.append([METHODS[method].label, *shown])
    return _table(["method", *(f"{target:.0%} removed" for target in comparison.targets)], rows)


def _differences(metric: str, comparison: Comparison, cells: Cells) -> str:
    rows = []
    for method in COMPARED:
        gaps = [_gap(metric, cells, method, target) for target in comparison.targets]
        marks = ["**" if gap is not None and gap.excludes_zero else "" for gap in gaps]
        shown = [f"{m}{_shown(gap, '+')}{m}" for m, gap in zip(marks, gaps, strict=True)]
        rows.append([METHODS[method].label, *shown])
    return _table(["against", *(f"{target:.0%} removed" for target in comparison.targets)], rows)


def _findings(metric: str, comparison: Comparison, cells: Cells) -> list[str]:
    """A sentence for each compared method: at which levels FineGates is better, worse, neither."""
    better_low = METRICS[metric].better == "lower"
    lines = []
    for method in COMPARED:
        said: dict[str, list[str]] = {"better": [], "worse": [], "not measurably different": []}
        for target in comparison.targets:
            gap = _gap(metric, cells, method, target)
            if gap is not None:
                ahead = (gap.mean > 0) != better_low
                word = "better" if ahead else "worse"
                key = word if gap.excludes_zero else "not measurably different"
                said[key].append(f"{target:.0%}")
        clauses = [f"{word} at {', '.join(levels)}" for word, levels in said.items() if levels]
        if clauses:
            lines.append(f"- FineGates against {METHODS[method].label}: {'; '.join(clauses)}.")
    return lines


def _points(metric: str, cells: Cells) -> str:
    rows = []
    for name, spec in METHODS.items():
        runs = cells.get(name, {}).get(0.0, [])
        if not runs:
            continue
        memory = max(run.record.costs.peak_memory_bytes or 0 for run in runs) / GIB
        rows.append(
            [
                spec.label,
                _shown(_interval(metric, runs)),
                f"{sum(runs[0].record.costs.trained_parameters.values()):,}",
                f"{_mean(lambda run: run.record.costs.seconds_total, runs):.0f}",
                f"{memory:.2f}",
            ]
        )
    titles = ["nothing removed", "score", "trained values", "seconds a run", "peak memory, GiB"]
    return _table(titles, rows) if rows else ""


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    low, mean, high = (f"{v:{sign}.3f}" for v in (interval.low, interval.mean, interval.high))
    return f"{mean} ({low} to {high})" + ("" if interval.seeds > 1 else ", one seed")


def _interval(metric: str, runs: Sequence[StoredRun]) -> Interval | None:
    return bootstrap_interval(metric, [run.predictions for run in runs]) if runs else None


def _gap(metric: str, cells: Cells, method: str, target: float) -> Interval | None:
    ours = cells.get("finegates", {}).get(target, [])
    theirs = cells.get(method, {}).get(target, [])
    if not ours or not theirs:
        return None
    return paired_difference(
        metric, [run.predictions for run in ours], [run.predictions for run in theirs]
    )


def _mean(value: Callable[[StoredRun], float], runs: Sequence[StoredRun]) -> float:
    return sum(map(value, runs)) / len(runs)


def _largest_miss(cells: Cells) -> float:
    misses = [
        abs(run.record.ladder.folded_encoder_fraction - target)
        for levels in cells.values()
        for target, runs in levels.items()
        for run in runs
    ]
    return max(misses, default=0.0)


def _summary(stored: dict[str, Cells]) -> dict[str, object]:
    scores: dict[str, object] = {}
    differences: dict[str, object] = {}
    for task, cells in stored.items():
        metric = next(
            (r.record.headline for lv in cells.values() for rs in lv.values() for r in rs), ""
        )
        scores[task] = {
            method: {f"{t:g}": _plain(_interval(metric, runs)) for t, runs in levels.items()}
            for method, levels in cells.items()
        }
        differences[task] = {
            method: {f"{t:g}": _plain(_gap(metric, cells, method, t)) for t in levels}
            for method, levels in cells.items()
            if method in COMPARED
        }
    miss = max((_largest_miss(cells) for cells in stored.values()), default=0.0)
    return {"scores": scores, "differences": differences, "largest_miss": round(miss, 5)}


def _plain(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.mean, interval.low, interval.high]


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(f"error: {error}")
