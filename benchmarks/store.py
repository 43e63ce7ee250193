"""How long a store of 10,000 runs takes to list, with its cache and without.

    python benchmarks/store.py [--quick]

Prints one JSON object as its last line: medians in seconds. --quick measures less often.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from finegates_engine.config import GateConfig, RunConfig
from finegates_engine.environment import collect_environment
from finegates_engine.identity import run_id
from finegates_engine.ladder import EncoderShape, count_ladder
from finegates_engine.results import Costs, Identity, RunResult
from finegates_engine.runs.core_files import encode
from finegates_engine.runs.index import INDEX_NAME
from finegates_engine.runs.store import RunStore

RUNS = 10_000
TARGETS = 50
MINILM = EncoderShape(
    layers=6,
    hidden=384,
    heads=12,
    key_value_heads=12,
    head_size=32,
    ffn=1536,
    model_parameters=22_713_216,
)


def main() -> None:
    """Write the runs, list them, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure three times instead of ten")
    repeats = 3 if parser.parse_args().quick else 10
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        write_runs(store.root, RUNS)
        cold = [listing_seconds(store, cold=True) for _ in range(max(repeats // 3, 1))]
        warm = [listing_seconds(store, cold=False) for _ in range(repeats)]
        damaged = store.damaged()
    assert not damaged, damaged[:3]
    assert "torch" not in sys.modules
    print(f"{RUNS} runs, {repeats} listings: " + ", ".join(f"{value:.3f}" for value in warm))
    result = {
        "listing_10000_runs_s": round(statistics.median(warm), 4),
        "cold_index_s": round(statistics.median(cold), 4),
    }
    print(json.dumps(result))


def listing_seconds(store: RunStore, *, cold: bool) -> float:
    """Wall time of one listing as a data frame; cold: without the cache, which it then writes."""
    if cold:
        (store.root / INDEX_NAME).unlink(missing_ok=True)
    start = time.perf_counter()
    frame = store.frame()
    seconds = time.perf_counter() - start
    assert len(frame) == RUNS
    return seconds


def write_runs(root: Path, count: int) -> None:
    """Runs that differ in target and seed, their tables linked: it is listing that we time."""
    example = make_run()
    files = encode(example)
    record = json.loads(files.pop("run.json"))
    for file, data in files.items():
        (root / file).write_bytes(data)
    for index in range(count):
        name = f"{example.run_id[:-12]}{index:012x}"
        gates = {**record["config"]["gates"], "target": index % TARGETS / 100}
        config = {**record["config"], "gates": gates, "seed": index // TARGETS}
        metrics = {"validation": {"accuracy": 0.5 + index / count / 2}}
        folder = root / "agreement" / name
        folder.mkdir(parents=True)
        changed = {"run_id": name, "config": config, "metrics": metrics}
        (folder / "run.json").write_text(json.dumps(record | changed, indent=1))
        for file in files:
            os.link(root / file, folder / file)


def make_run() -> RunResult:
    """A run with MiniLM's sizes and made-up numbers."""
    config = RunConfig(gates=GateConfig(target=0.4))
    kept = np.arange(MINILM.ffn) % 5 > 1
    masks = [{"ffn_in": (kept, None), "ffn_out": (None, kept)}] * MINILM.layers
    gates = MINILM.layers * MINILM.ffn
    ladder = count_ladder(
        MINILM,
        masks,
        target=0.4,
        target_unit="encoder_weights",
        gates_closed=gates - MINILM.layers * int(kept.sum()),
        gates_total=gates,
    )
    return RunResult(
        run_id=run_id(config, data_hash="data", weights_hash="weights"),
        config=config,
        metrics={"validation": {"accuracy": 0.8}},
        headline="accuracy",
        headline_split="validation",
        ladder=ladder,
        shape=MINILM,
        costs=Costs(
            seconds_total=1.0,
            seconds_per_step=0.1,
            steps=10,
            peak_memory_bytes=None,
            trained_parameters={"gates": gates},
        ),
        environment=collect_environment(),
        identity=Identity(data_hash="data", weights_hash="weights", base_weights="hub/minilm"),
        history=pd.DataFrame({"step": [1], "loss": [0.7]}),
        adapter={"gate_values.0/ffn": kept.astype(np.float32)},
        predictions=pd.DataFrame(
            {
                "row_id": [0],
                "text_hash": ["00"],
                "label": [0],
                "split": ["validation"],
                "prob_0": [0.6],
                "prob_1": [0.4],
            }
        ),
    )


if __name__ == "__main__":
    main()
