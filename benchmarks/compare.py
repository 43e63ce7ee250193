"""Compare variants of one config on the same rows and seeds, through the ordinary sweep.

    python benchmarks/compare.py closing --data ../shared/glue --tasks sst2,cola

Groups: `closing` (ways to reach the target), `ceiling` (nothing removed, against full
finetuning), `slope` (what else is trained at half of the weights removed), `variants` (which
dimensions carry gates). Runs are kept in --store, so an interrupted comparison goes on where it
was. The last line is one JSON object: task -> variant -> [mean score, low, high].
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from reports.curves import EARLY
from rich.console import Console
from rich.table import Table

from finegates_engine.analysis.intervals import bootstrap_interval, paired_difference
from finegates_engine.config import RunConfig, from_json, to_json
from finegates_engine.errors import UserError, unknown
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.sweep.runner import run_sweep

Changes = dict[str, Any]

PLAIN: Changes = {
    "relaxation": "clip",
    "controller": "fixed",
    "start": "equal",
    "anneal": False,
    "open_start": 0.0,
    "ramp": 0.0,
    "finish": 0.0,
    "noise_std": 0.3,
    "penalty_std": 0.3,
}
RAMPED: Changes = {**PLAIN, "open_start": 0.1, "ramp": 0.4, "finish": 0.4}
RANKED: Changes = {
    **PLAIN,
    "relaxation": "hard",
    "controller": "shift",
    "start": "fisher",
    "noise_std": 0.1,
    "penalty_std": 0.1,
}

GROUPS: dict[str, dict[str, Changes]] = {
    "closing": {
        "ranked, learned, fixed (default)": {},
        "closed early": {"gates": dict(EARLY)},
        "closed step by step": {"gates": {"learn": "fisher"}},
        "ranked, fixed at once": {"gates": {**RANKED, "open_start": 0.3, "finish": 0.7}},
        "random gates": {"method": "random"},
        "hard gates shifted, fixed": {
            "gates": {**RAMPED, "relaxation": "hard", "controller": "shift"},
            "train": {"gate_lr": 1e-2},
        },
        "ramped, annealed, fixed": {
            "gates": {**RAMPED, "anneal": True},
            "train": {"gate_lr": 1e-2},
        },
        "paper's deviations, penalty alone": {
            "gates": {**PLAIN, "noise_std": 0.1, "penalty_std": 0.5},
            "train": {"gate_lr": 1e-2},
        },
        "one deviation, then fixed": {
            "gates": {**PLAIN, "finish": 0.4},
            "train": {"gate_lr": 1e-2},
        },
        "multiplier controlled, fixed": {
            "gates": {**RAMPED, "controller": "dual", "penalty_weight": 5.0},
            "train": {"gate_lr": 1e-2},
        },
    },
    "ceiling": {
        "default, nothing removed": {"gates": {"target": 0.0}},
        "no low-rank update": {"gates": {"target": 0.0}, "model": {"low_rank": 0}},
        "rank 32": {"gates": {"target": 0.0}, "model": {"low_rank": 32}},
        "full finetuning, rate 1e-4": {
            "method": "full",
            "gates": {"target": 0.0},
            "train": {"backbone_lr": 1e-4},
        },
        "full finetuning, rate 2e-4": {
            "method": "full",
            "gates": {"target": 0.0},
            "train": {"backbone_lr": 2e-4},
        },
    },
    "slope": {
        "default": {},
        "no low-rank update": {"model": {"low_rank": 0}},
        "rank 32": {"model": {"low_rank": 32}},
        "distilled from all gates open": {"gates": {"distill": 1.0}},
        "twice as long": {"train": {"epochs": 6.0}},
    },
    "variants": {
        "default": {},
        "inner, not tied": {"gates": {"axes": "inner", "tie": False}},
        "a target for each vector": {"gates": {"allocation": "vector"}},
        "head gates too": {"gates": {"head_gates": True}},
        "all axes, tied": {"gates": {"axes": "all", "tie": True}},
        "ramped, annealed, weighted by kurtosis": {
            "gates": {**RAMPED, "anneal": True, "kurtosis": True},
            "train": {"gate_lr": 1e-2},
        },
        "random inner gates": {"method": "random"},
    },
}


def main(
    group: Annotated[str, typer.Argument(help=f"One of {', '.join(GROUPS)}.")],
    tasks: Annotated[str, typer.Option(help="Tasks, with commas.")] = "agreement",
    data: Annotated[Path | None, typer.Option(help="Folder with a folder for each task.")] = None,
    target: Annotated[float, typer.Option(help="Share of encoder weights removed.")] = 0.5,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas.")] = "0,1,2",
    rows: Annotated[int, typer.Option(help="Training rows, the first ones.")] = 4000,
    epochs: Annotated[float, typer.Option(help="Passes over the rows.")] = 3.0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    only: Annotated[str, typer.Option(help="Parts of names of variants, with commas.")] = "",
    store: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path(".compare"),
    quick: Annotated[bool, typer.Option(help="96 rows, one epoch, one seed.")] = False,
) -> None:
    """Train every variant of a group on every task and seed, and print a table."""
    if quick:
        rows, epochs, seeds = 96, 1.0, "0"
    if group not in GROUPS:
        raise unknown("group", group, GROUPS)
    wanted = only.split(",")
    chosen = {
        name: changes for name, changes in GROUPS[group].items() if any(w in name for w in wanted)
    }
    runs = RunStore(store)
    result: dict[str, dict[str, list[float]]] = {}
    for task in tasks.split(","):
        base = base_values(task, data, rows, epochs, precision, quick=quick)
        base["gates"] = {"target": target}
        trained = {
            name: _train(variant(base, changes), [int(s) for s in seeds.split(",")], runs)
            for name, changes in chosen.items()
        }
        result[task] = _report(task, trained)
    print(json.dumps({"group": group, "target": target, "seeds": seeds, "scores": result}))


def base_values(
    task: str, data: Path | None, rows: int, epochs: float, precision: str, *, quick: bool
) -> dict[str, Any]:
    """Plain values of a config for one task, its rows under `data` where it is not generated."""
    return {
        "task": {
            "name": task,
            "data": None if data is None or task == "agreement" else str(data / task),
            "max_train_samples": rows,
            "max_eval_samples": 64 if quick else None,
        },
        "model": {"precision": precision},
        "train": {"epochs": epochs},
    }


def variant(base: dict[str, Any], changes: Changes) -> RunConfig:
    """The base config with some fields changed."""
    plain = to_json(from_json(base))
    for part, values in changes.items():
        plain[part] = {**plain[part], **values} if isinstance(values, dict) else values
    return from_json(plain)


def _train(config: RunConfig, seeds: list[int], store: RunStore) -> list[StoredRun]:
    state = run_sweep(config, [config.gates.target], seeds, store=store)
    failed = [cell.run_id for cell in state.cells if cell.state != "done"]
    if failed:
        raise UserError(f"Not every run was trained: {', '.join(failed)}. See `finegates runs`.")
    return [store.load(cell.run_id) for cell in state.cells]


def _report(task: str, trained: dict[str, list[StoredRun]]) -> dict[str, list[float]]:
    table = Table(title=task)
    for column in (
        "variant",
        "score",
        "interval",
        "difference to the first",
        "removed",
        "closed",
        "soft",
        "seconds",
    ):
        table.add_column(column)
    scores: dict[str, list[float]] = {}
    first = next(iter(trained.values()))
    metric = first[0].record.headline
    for name, runs in trained.items():
        interval = bootstrap_interval(metric, [run.predictions for run in runs])
        scores[name] = [interval.mean, interval.low, interval.high]
        table.add_row(
            name,
            f"{interval.mean:.3f}",
            f"{interval.low:.3f} to {interval.high:.3f}",
            _difference(metric, runs, first),
            _mean(run.record.ladder.folded_encoder_fraction for run in runs),
            _mean(run.record.ladder.gate_sparsity or 0.0 for run in runs),
            _mean(_soft(run) for run in runs),
            f"{sum(run.record.costs.seconds_total for run in runs) / len(runs):.0f}",
        )
    Console(file=sys.stdout, width=150).print(table)
    return scores


def _difference(metric: str, runs: list[StoredRun], first: list[StoredRun]) -> str:
    if runs is first:
        return ""
    gap = paired_difference(
        metric, [run.predictions for run in runs], [run.predictions for run in first]
    )
    return f"{gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"


def _soft(run: StoredRun) -> float:
    history = run.history
    return float(history["gates_soft"].dropna().iloc[-1]) if "gates_soft" in history else 0.0


def _mean(values: Any) -> str:
    listed = list(values)
    return f"{sum(listed) / len(listed):.3f}"


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(f"error: {error}")
