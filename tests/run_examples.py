"""Small run results with made-up numbers, for tests of what is stored and shown."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from finegates_engine.config import GateConfig, RunConfig, TaskConfig
from finegates_engine.environment import Environment
from finegates_engine.identity import run_id
from finegates_engine.ladder import EncoderShape, count_ladder
from finegates_engine.results import Costs, GateHistory, Identity, RunResult

SHAPE = EncoderShape(
    layers=1, hidden=4, heads=2, key_value_heads=2, head_size=2, ffn=10, model_parameters=288
)
IDENTITY = Identity(data_hash="d" * 12, weights_hash="w" * 12, base_weights="hub/tiny")
COSTS = Costs(
    seconds_total=12.5,
    seconds_per_step=0.25,
    steps=40,
    peak_memory_bytes=None,
    trained_parameters={"gates": 10, "biases": 10, "head": 8},
)
ENVIRONMENT = Environment(
    versions={"python": "3.11.7", "torch": None},
    platform="Linux 6.1 x86_64",
    cpu="Tiny CPU",
    cores=2,
    accelerator=None,
    commit="c" * 40,
    dirty=False,
)


def make_config(*, task: str = "agreement", seed: int = 0, **gates: Any) -> RunConfig:
    return RunConfig(task=TaskConfig(name=task), gates=GateConfig(**gates), seed=seed)


def make_predictions(rows: int = 6, *, seed: int = 0, split: str = "validation") -> pd.DataFrame:
    """Two classes; labels are those of the rows, probabilities those of the seed."""
    first = np.random.default_rng(seed).random(rows)
    return pd.DataFrame(
        {
            "row_id": np.arange(rows),
            "text_hash": [f"{row:08x}" for row in range(rows)],
            "label": np.arange(rows) % 2,
            "split": split,
            "prob_0": first,
            "prob_1": 1 - first,
        }
    )


def make_result(config: RunConfig | None = None, **changes: Any) -> RunResult:
    config = config or make_config()
    kept = np.arange(10) >= 4
    plain = {
        "run_id": run_id(config, data_hash="d" * 12, weights_hash="w" * 12),
        "config": config,
        "metrics": {"validation": {"accuracy": 0.75, "mcc": 0.5}},
        "headline": "accuracy",
        "headline_split": "validation",
        "ladder": count_ladder(
            SHAPE,
            [{"ffn_in": (kept, None), "ffn_out": (None, kept)}],
            target=config.gates.target,
            target_unit=config.gates.target_unit,
            gates_closed=4,
            gates_total=10,
        ),
        "shape": SHAPE,
        "costs": COSTS,
        "environment": ENVIRONMENT,
        "identity": IDENTITY,
        "history": pd.DataFrame({"step": [10, 20], "loss": [0.7, np.nan]}),
        "adapter": {
            "gates.0/ffn": np.linspace(-1, 1, 10, dtype=np.float32),
            "gate_values.0/ffn": kept.astype(np.float32),
            "biases.0.ffn_in": np.zeros(10, np.float32),
            "head.weight": np.asfortranarray(np.arange(8, dtype=np.float32).reshape(2, 4)),
        },
        "predictions": make_predictions(),
        "gate_history": GateHistory(
            np.array([10, 20]), {"0/ffn": np.array([[255] * 10, [0, 128] * 5], np.uint8)}
        ),
    }
    fields = {field.name for field in dataclasses.fields(RunResult)}
    assert set(plain) == fields
    assert set(changes) <= fields
    return RunResult(**(plain | changes))
