"""Run results with made-up numbers and real shapes, for the explorer's tests."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from run_examples import ENVIRONMENT, IDENTITY

from finegates_engine.analysis.gate_vectors import side_values, vector_kinds
from finegates_engine.config import GateConfig, RunConfig, TaskConfig, TrainConfig
from finegates_engine.fold.dimensions import EncoderShape
from finegates_engine.identity import run_id
from finegates_engine.ladder import count_ladder
from finegates_engine.metrics import compute_metrics
from finegates_engine.results import Costs, GateHistory, RunResult
from finegates_engine.runs.store import RunStore

SHAPE = EncoderShape(
    layers=2, hidden=16, heads=4, key_value_heads=4, head_size=4, ffn=32, model_parameters=9000
)
ROWS = 60
TARGETS = (0.0, 0.3, 0.5, 0.7)


def run_of(
    *,
    task: str = "sst2",
    method: str = "finegates",
    target: float = 0.5,
    seed: int = 0,
    path: tuple[float, ...] = (),
    history: bool = False,
    soft: bool = False,
    **gates: Any,
) -> RunResult:
    """One run; its gates and predictions follow from its config alone."""
    config = RunConfig(
        task=TaskConfig(name=task),
        gates=GateConfig(target=target, **gates),
        train=TrainConfig(epochs=1.0),
        method=method,
        seed=seed,
        path=path,
    )
    generator = np.random.default_rng([seed, round(target * 100), len(path), len(method)])
    values = {} if method == "full" else _gate_values(config, generator, soft=soft)
    predictions, metrics = _predictions(task, target, method, generator)
    name = run_id(config, data_hash=IDENTITY.data_hash, weights_hash=IDENTITY.weights_hash)
    names = list(metrics["validation"])
    return RunResult(
        run_id=name,
        config=config,
        metrics=metrics,
        headline=names[0],
        headline_split="validation",
        ladder=_ladder(config, values),
        shape=SHAPE,
        costs=Costs(
            seconds_total=10.0 + target,
            seconds_per_step=0.1,
            steps=100,
            peak_memory_bytes=10**9,
            trained_parameters={"gates": 128, "head": 34},
        ),
        environment=ENVIRONMENT,
        identity=IDENTITY,
        history=pd.DataFrame({"step": [50, 100], "loss": [0.7, 0.4]}),
        adapter=_adapter(values),
        predictions=predictions,
        gate_history=_history(values) if history else None,
    )


def write_full(folder: Path) -> Path:
    """The full store: see the fixture `full`."""
    store = RunStore(folder / "store")
    for result in full_results():
        store.save(result)
    return store.root


def full_results() -> list[RunResult]:
    """The runs of the full store."""
    results = []
    for seed in range(3):
        for target in TARGETS:
            results.append(run_of(target=target, seed=seed, history=seed == 0 and target == 0.5))
            results.append(run_of(method="random", target=target, seed=seed))
        results.append(run_of(method="full", target=0.0, seed=seed))
        results.append(run_of(target=0.5, seed=seed, axes="all"))
        results.append(run_of(target=0.3, seed=seed, axes="attention"))
        results.append(run_of(target=0.5, seed=seed, relaxation="clip", start="equal", soft=True))
    for number in range(1, len(TARGETS)):
        results.append(run_of(target=TARGETS[number], path=TARGETS[:number]))
    results += [run_of(task="stsb", target=target) for target in TARGETS]
    return results


def _gate_values(
    config: RunConfig, generator: np.random.Generator, *, soft: bool
) -> dict[str, np.ndarray]:
    values = {}
    for layer in range(SHAPE.layers):
        for kind in vector_kinds(config.gates, SHAPE):
            kept = generator.permutation(kind.size) >= round(config.gates.target * kind.size)
            vector = kept.astype(np.float32)
            if soft:
                vector[:3] *= 0.25
            values[f"{layer}/{kind.name}"] = vector
    return values


def _ladder(config: RunConfig, values: dict[str, np.ndarray]) -> Any:
    kinds = vector_kinds(config.gates, SHAPE)
    masks = []
    for layer in range(SHAPE.layers):
        sides = {}
        for role in SHAPE.matrices() if values else ():
            rows, columns = side_values(values, kinds, SHAPE, layer, role)
            sides[role] = tuple(None if side is None else side > 0 for side in (rows, columns))
        masks.append(sides)
    total = sum(len(vector) for vector in values.values())
    return count_ladder(
        SHAPE,
        masks,
        target=config.gates.target if values else None,
        target_unit="encoder_weights" if values else None,
        gates_closed=sum(int((vector == 0).sum()) for vector in values.values()),
        gates_total=total,
    )


def _adapter(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    adapter = {f"gate_values.{name}": vector for name, vector in values.items()}
    return adapter | {f"gates.{name}": vector - 0.5 for name, vector in values.items()}


def _history(values: dict[str, np.ndarray]) -> GateHistory:
    shares = np.linspace(0, 1, 4)[:, None]
    frames = {
        name: np.round(255 * (1 - shares * (1 - vector))).astype(np.uint8)
        for name, vector in values.items()
    }
    return GateHistory(np.arange(1, 5) * 25, frames)


def _predictions(
    task: str, target: float, method: str, generator: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    rows = pd.DataFrame(
        {
            "row_id": np.arange(ROWS),
            "text_hash": [f"{row:08x}" for row in range(ROWS)],
            "label": np.arange(ROWS) % 2,
            "split": "validation",
        }
    )
    wrong = generator.random(ROWS) < 0.1 + 0.2 * target + 0.2 * (method == "random")
    likely = np.where(wrong, 1 - rows["label"], rows["label"]) * 0.8 + 0.1
    if task == "stsb":
        rows["label"] = np.linspace(0, 5, ROWS)
        rows["score"] = rows["label"] + generator.normal(0, 1 + target, ROWS)
        outputs, names = rows["score"].to_numpy(), ("pearson", "spearman")
    else:
        rows["prob_0"], rows["prob_1"] = 1 - likely, likely
        outputs, names = rows[["prob_0", "prob_1"]].to_numpy(), ("accuracy", "mcc")
    return rows, {"validation": compute_metrics(names, outputs, rows["label"])}
