"""FineGates against its controls and rivals on the same axis: encoder weights removed.

    python benchmarks/controls.py --data ../shared/glue --tasks sst2,cola --precision bf16

Each method is trained by `finegates sweep` in a process of its own, so that its peak memory is its
own. Runs are kept in --store: an interrupted comparison goes on where it was, and several may share
a store, such as one for each task or part of the methods (--only). The report is made from what the
store has when a sitting ends, of all methods. The last line is one JSON object: scores and
differences of task -> curve -> target, and the largest miss of a target.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from compare import base_values
from reports.controls import (
    HEAD,
    Cells,
    gap,
    headline,
    interval,
    largest_miss,
    section,
)
from reports.curves import COMPARED, CURVES

from finegates_engine.analysis.intervals import Interval
from finegates_engine.backbone import local_folder, weights_hash
from finegates_engine.config import RunConfig, from_json
from finegates_engine.data.load import load_task
from finegates_engine.errors import UserError, unknown
from finegates_engine.files import write_atomic
from finegates_engine.identity import run_id
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.sweep.plan import plan_sweep

QUICK = ("finegates", "random", "magnitude-posthoc", "probe")


@dataclass(frozen=True)
class Comparison:
    """What is compared on one task."""

    base: RunConfig
    targets: tuple[float, ...]
    seeds: tuple[int, ...]
    store: Path

    def levels(self, name: str) -> tuple[float, ...]:
        """Targets of a curve; FineGates also has the point at nothing removed."""
        if CURVES[name].spec.removes == "nothing":
            return (0.0,)
        return (0.0, *self.targets) if name == "finegates" else self.targets

    @property
    def setting(self) -> str:
        """What is trained, a sentence."""
        rows, epochs = self.base.task.max_train_samples, self.base.train.epochs
        seeds = ", ".join(map(str, self.seeds))
        return f"First {rows:,} rows, epochs: {epochs:g}, seeds: {seeds}."

    def train(self, name: str) -> bool:
        """Train what the store lacks of a curve; whether all of it is there."""
        task, model, train = self.base.task, self.base.model, self.base.train
        options = {
            "task": task.name,
            "data": task.data,
            "max-train-samples": task.max_train_samples,
            "max-eval-samples": task.max_eval_samples,
            "precision": model.precision,
            "epochs": train.epochs,
            "targets": ",".join(f"{target:g}" for target in self.levels(name)),
            "seeds": ",".join(map(str, self.seeds)),
            "store": self.store,
            **CURVES[name].words,
        }
        given = [f"--{word}={value}" for word, value in options.items() if value is not None]
        command = [sys.executable, "-m", "finegates_engine", "sweep", "--quiet", *given]
        return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0

    def stored(self) -> Cells:
        """All runs of the comparison that the store has."""
        opened = RunStore(self.store)
        cells: dict[str, dict[float, list[StoredRun]]] = {}
        data_hash = load_task(self.base.task).data_hash
        weights = weights_hash(local_folder(self.base.model.backbone))
        for name, curve in CURVES.items():
            for cell in plan_sweep(curve.config(self.base), self.levels(name), self.seeds):
                found = run_id(cell.config, data_hash=data_hash, weights_hash=weights)
                if cell.config.method == curve.method and opened.exists(found):
                    runs = cells.setdefault(name, {}).setdefault(cell.config.gates.target, [])
                    runs.append(opened.load(found))
        return cells


def main(
    tasks: Annotated[str, typer.Option(help="Tasks, with commas.")] = "agreement",
    data: Annotated[Path | None, typer.Option(help="Folder with a folder for each task.")] = None,
    only: Annotated[str, typer.Option(help="Curves to train, with commas. Empty: all.")] = "",
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
    chosen = [name for name in only.split(",") if name] or list(CURVES)
    for name in chosen:
        if name not in CURVES:
            raise unknown("curve", name, CURVES)
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
    given = [word for word in sys.argv[1:] if word != "--no-train"]
    text = [HEAD.format(command=" ".join(["python benchmarks/controls.py", *given]))]
    text += [
        section(task, comparisons[task].setting, comparisons[task].targets, cells)
        for task, cells in stored.items()
        if cells
    ]
    report.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(report, "\n".join(text).encode())
    print(json.dumps(_summary(stored)))


def _summary(stored: dict[str, Cells]) -> dict[str, object]:
    scores: dict[str, object] = {}
    differences: dict[str, object] = {}
    for task, cells in stored.items():
        metric = headline(cells) if cells else ""
        scores[task] = {
            method: {f"{t:g}": _plain(interval(metric, runs)) for t, runs in levels.items()}
            for method, levels in cells.items()
        }
        differences[task] = {
            method: {f"{t:g}": _plain(gap(metric, cells, method, t)) for t in levels}
            for method, levels in cells.items()
            if method in COMPARED
        }
    miss = max((largest_miss(cells) for cells in stored.values()), default=0.0)
    return {"scores": scores, "differences": differences, "largest_miss": round(miss, 5)}


def _plain(found: Interval | None) -> list[float] | None:
    return None if found is None else [found.mean, found.low, found.high]


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(f"error: {error}")
