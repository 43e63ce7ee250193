"""A whole curve in one go against single runs: what it costs, and whether its scores differ.

    python benchmarks/path.py --data ../shared/glue --tasks sst2,cola

Trains a path of eight targets and, at some of them, independent runs with the same seeds. The
last line is one JSON object: `path_cost_in_single_runs` (seconds of the path over those of one
independent run, the largest over tasks) and `largest_score_gap` (the largest loss of the path
against independent runs, with its interval).
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from compare import base_values
from rich.console import Console
from rich.table import Table

from finegates_engine.analysis.intervals import paired_difference
from finegates_engine.config import RunConfig, from_json
from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.sweep.runner import Strategy, run_sweep

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

Level = dict[float, list[StoredRun]]


def main(
    tasks: Annotated[str, typer.Option(help="Tasks, with commas.")] = "agreement",
    data: Annotated[Path | None, typer.Option(help="Folder with a folder for each task.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas.")] = "0,1,2",
    compared: Annotated[str, typer.Option(help="Targets of the single runs.")] = "0.3,0.5,0.7",
    rows: Annotated[int, typer.Option(help="Training rows, the first ones.")] = 4000,
    epochs: Annotated[float, typer.Option(help="Passes of a single run.")] = 3.0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    store: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path(".compare"),
    quick: Annotated[bool, typer.Option(help="96 rows, one epoch, one seed.")] = False,
) -> None:
    """Train both, and print cost and differences."""
    if quick:
        rows, epochs, seeds, compared = 96, 1.0, "0", "0.5"
    runs, chosen = RunStore(store), [int(seed) for seed in seeds.split(",")]
    singles_at = [float(target) for target in compared.split(",")]
    costs, gaps = {}, {}
    for task in tasks.split(","):
        base = from_json(base_values(task, data, rows, epochs, precision, quick=quick))
        path = _levels(base, LEVELS, chosen, runs, "path")
        single = _levels(base, singles_at, chosen, runs, "independent")
        costs[task] = _seconds(path) / len(chosen) / (_seconds(single) / _count(single))
        gaps |= _compare(task, path, single)
    worst = min(gaps, key=lambda name: gaps[name][0])
    print(
        json.dumps(
            {
                "path_cost_in_single_runs": round(max(costs.values()), 3),
                "largest_score_gap": gaps[worst][0],
                "largest_score_gap_interval": gaps[worst][1:],
                "largest_score_gap_at": worst,
                "costs": costs,
                "gaps": gaps,
            }
        )
    )


def _levels(
    base: RunConfig, targets: Any, seeds: list[int], store: RunStore, strategy: Strategy
) -> Level:
    state = run_sweep(base, targets, seeds, store=store, strategy=strategy)
    levels: Level = {}
    for cell in state.cells:
        if cell.state != "done":
            raise UserError(f"Run {cell.run_id} was not trained. See `finegates runs`.")
        levels.setdefault(cell.target, []).append(store.load(cell.run_id))
    return levels


def _compare(task: str, path: Level, single: Level) -> dict[str, list[float]]:
    table = Table(title=task)
    for column in ("target", "path", "single runs", "difference"):
        table.add_column(column)
    gaps = {}
    for target, runs in path.items():
        row = [f"{target:.1f}", _score(runs)]
        if target in single:
            metric = runs[0].record.headline
            gap = paired_difference(
                metric,
                [run.predictions for run in runs],
                [run.predictions for run in single[target]],
            )
            gaps[f"{task} at {target:g}"] = [gap.mean, gap.low, gap.high]
            row += [_score(single[target]), f"{gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"]
        table.add_row(*row)
    Console(file=sys.stdout, width=110).print(table)
    return gaps


def _score(runs: list[StoredRun]) -> str:
    return f"{sum(run.record.score or 0.0 for run in runs) / len(runs):.3f}"


def _seconds(levels: Level) -> float:
    return sum(run.record.costs.seconds_total for runs in levels.values() for run in runs)


def _count(levels: Level) -> int:
    return sum(len(runs) for runs in levels.values())


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(f"error: {error}")
