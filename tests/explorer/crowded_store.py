"""A store as it is after the sweeps over all methods: made-up numbers of real size.

python tests/explorer/crowded_store.py DIR      to look at it: streamlit run ... -- --store DIR
"""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from explorer_stores import run_of

from finegates_engine.method_table import METHODS
from finegates_engine.metrics import compute_metrics
from finegates_engine.results import RunResult
from finegates_engine.runs.store import RunStore

ROWS = {"sst2": 872, "mrpc": 408, "stsb": 1500}
TARGETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)
SEEDS = range(3)
LOSS = {
    "finegates": 0.05,
    "l0": 0.07,
    "movement": 0.075,
    "taylor": 0.085,
    "group-lasso": 0.09,
    "activation": 0.1,
    "magnitude": 0.12,
    "random": 0.16,
    "svd": 0.11,
    "taylor-posthoc": 0.3,
    "activation-posthoc": 0.32,
    "magnitude-posthoc": 0.35,
    "random-posthoc": 0.4,
}
"""Method that removes something -> about what is lost of the score at 80% removed, squared in
between. The others remove nothing, and lie between 0.78 (probe) and 0.86."""


def write_crowded(folder: Path, tasks: tuple[str, ...] = tuple(ROWS)) -> Path:
    """Every method of the table, three seeds; twelve levels of those that remove something."""
    store = RunStore(folder)
    for result in results(tasks):
        store.save(result)
    return store.root


def results(tasks: tuple[str, ...]) -> Iterator[RunResult]:
    """The runs of the crowded store."""
    for task in tasks:
        for method in METHODS:
            for target in TARGETS if method in LOSS else (0.0,):
                for seed in SEEDS:
                    yield _run(task, method, target, seed)
        for number in range(1, len(TARGETS)):
            yield _run(task, "finegates", TARGETS[number], 0, path=TARGETS[:number])


def _run(
    task: str, method: str, target: float, seed: int, path: tuple[float, ...] = ()
) -> RunResult:
    made = run_of(task=task, method=method, target=target, seed=seed, path=path)
    generator = np.random.default_rng([seed, round(target * 100), len(path), *method.encode()])
    order = list(METHODS).index(method)
    good = 0.855 - LOSS.get(method, 0.0) * (target / 0.8) ** 2 - 0.002 * (order % 7)
    good -= 0.06 * (method == "probe")
    predictions, metrics = _predictions(task, good + 0.004 * generator.standard_normal(), generator)
    shares = dict.fromkeys(("removed_weight_fraction", "folded_encoder_fraction"), target)
    ladder = dataclasses.replace(
        made.ladder,
        **shares,
        gate_sparsity=target,
        removed_model_fraction=0.47 * target,
        macs_per_token=(1 - 0.97 * target) * made.ladder.dense_macs_per_token,
    )
    adapter = {} if METHODS[method].removes != "rows and columns" else made.adapter
    return dataclasses.replace(
        made, predictions=predictions, metrics=metrics, ladder=ladder, adapter=adapter
    )


def _predictions(
    task: str, good: float, generator: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """Rows of which about the share `good` is right, the same hard rows for all methods."""
    count = ROWS[task]
    hard = np.random.default_rng(1).random(count)
    rows = pd.DataFrame(
        {
            "row_id": np.arange(count),
            "text_hash": [f"{row:08x}" for row in range(count)],
            "label": np.arange(count) % 2,
            "split": "validation",
        }
    )
    if task == "stsb":
        rows["label"] = np.linspace(0, 5, count)
        noise = 1.44 * np.sqrt(1 / good**2 - 1)
        rows["score"] = rows["label"] + generator.normal(0, noise, count)
        outputs, names = rows["score"].to_numpy(), ("pearson", "spearman")
    else:
        wrong = hard + 0.1 * generator.standard_normal(count) > good
        likely = np.where(wrong, 1 - rows["label"], rows["label"]) * 0.8 + 0.1
        rows["prob_0"], rows["prob_1"] = 1 - likely, likely
        names = ("accuracy", "f1") if task == "mrpc" else ("accuracy", "mcc")
        outputs = rows[["prob_0", "prob_1"]].to_numpy()
    return rows, {"validation": compute_metrics(names, outputs, rows["label"])}


if __name__ == "__main__":
    print(write_crowded(Path(sys.argv[1])))
