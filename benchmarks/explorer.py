"""How fast the explorer answers over 1,000 runs, and lists 10,000.

    python benchmarks/explorer.py [--quick]

Prints one JSON object as its last line, medians in seconds of the server's time:
first_curve_s_1000_runs: a process that has loaded Streamlit alone, and a store without an index, to
the end of the first page, whose bands may still come; first_curve_indexed_s_1000_runs: the same of
a store that was listed before; rerun_s_1000_runs: after a choice; index_s_10000_runs: listing
10,000 runs and placing them on curves, with the index there. cpu: seconds of the processor, which
say more on a busy machine. Compiled modules are kept, as Python does unless it is told not to.
--quick measures less often.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from store import make_run

from finegates_engine.analysis.variants import curve_rows
from finegates_engine.runs.core_files import encode
from finegates_engine.runs.index import INDEX_NAME
from finegates_engine.runs.store import RunStore

APP = Path(__file__).parents[1] / "explorer" / "app.py"
ROWS = 872
TASKS = ("agreement", "cola", "rte", "sst2")
METHODS = ("finegates", "random", "magnitude", "l0", "movement")


def main() -> None:
    """Write the stores, open the app over them, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure twice instead of five times")
    repeats = 2 if parser.parse_args().quick else 5
    with tempfile.TemporaryDirectory() as folder:
        thousand, many = Path(folder) / "1000", Path(folder) / "10000"
        write_runs(thousand, 1000)
        opened = [open_app(thousand) for _ in range(repeats)]
        again = [open_app(thousand, indexed=True) for _ in range(repeats)]
        write_runs(many, 10_000)
        RunStore(many).frame()
        index = [index_seconds(many) for _ in range(repeats)]
        largest = open_app(many)
    print(f"10,000 runs, no index: first page {largest['first']:.2f} s")
    print(f"10,000 runs: choices took {', '.join(f'{t:.2f}' for t in largest['reruns'])} s")
    result = {
        "first_curve_s_1000_runs": median([one["first"] for one in opened]),
        "first_curve_indexed_s_1000_runs": median([one["first"] for one in again]),
        "rerun_s_1000_runs": median([t for one in opened for t in one["reruns"]]),
        "first_curve_cpu_s_1000_runs": median([one["first_cpu"] for one in opened]),
        "rerun_cpu_s_1000_runs": median([t for one in opened for t in one["reruns_cpu"]]),
        "index_s_10000_runs": median(index),
    }
    print(json.dumps(result))


def median(values: list[float]) -> float:
    """To the millisecond."""
    return round(statistics.median(values), 3)


def index_seconds(root: Path) -> float:
    """Listing a store with its index, and placing its runs on curves."""
    start = time.perf_counter()
    rows = curve_rows(RunStore(root).frame())
    seconds = time.perf_counter() - start
    assert len(rows) == 10_000
    return seconds


_CHILD = """
import json, os, sys, time
from streamlit.testing.v1 import AppTest
start, busy = time.perf_counter(), time.process_time()
app = AppTest.from_file({app!r}, default_timeout=120).run()
first, first_cpu = time.perf_counter() - start, time.process_time() - busy
assert not app.exception, app.exception
assert app.subheader, "no answer"
reruns, reruns_cpu = [], []
def choose(act):
    start, busy = time.perf_counter(), time.process_time()
    act().run()
    reruns.append(time.perf_counter() - start)
    reruns_cpu.append(time.process_time() - busy)
    assert not app.exception, app.exception
choose(lambda: app.selectbox(key="pick:task").select("sst2"))
choose(lambda: app.selectbox(key="pick:x").select("macs_per_token"))
choose(lambda: app.selectbox(key="pick:trained").select("independent"))
choose(lambda: app.selectbox(key="pick:y").select("seconds_total"))
choose(lambda: app.selectbox(key="pick:task").select("cola"))
assert "torch" not in sys.modules
timed = {{"first": first, "reruns": reruns, "first_cpu": first_cpu, "reruns_cpu": reruns_cpu}}
print(json.dumps(timed))
"""


def open_app(root: Path, *, indexed: bool = False) -> dict[str, Any]:
    """Seconds of the first page and of reruns after choices, in a process of its own."""
    if not indexed:
        (root / INDEX_NAME).unlink(missing_ok=True)
    paths = [str(APP.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"FINEGATES_STORE": str(root), "PYTHONPATH": os.pathsep.join(paths)}
    environment |= {"PYTHONDONTWRITEBYTECODE": ""}
    code = _CHILD.format(app=str(APP))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    timed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return timed


def write_runs(root: Path, count: int) -> None:
    """Runs of four tasks and five methods, each with ten targets, their tables linked."""
    example = make_run()
    object.__setattr__(example, "predictions", _predictions())
    files = encode(example)
    record = json.loads(files.pop("run.json"))
    root.mkdir()
    for file, data in files.items():
        (root / f".{file}").write_bytes(data)
    seeds = range(count // (len(TASKS) * len(METHODS) * 10))
    cells = product(TASKS, METHODS, range(10), seeds)
    for number, (task, method, tenth, seed) in enumerate(cells):
        changed = _cell(record, task, method, tenth / 10, seed, number)
        folder = root / task / changed["run_id"]
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(record | changed))
        for file in files:
            os.link(root / f".{file}", folder / file)


def _cell(
    record: dict[str, Any], task: str, method: str, target: float, seed: int, number: int
) -> dict[str, Any]:
    config = record["config"]
    config = config | {
        "task": config["task"] | {"name": task},
        "gates": config["gates"] | {"target": target},
        "method": method,
        "seed": seed,
    }
    ladder = record["ladder"] | {"target": target}
    for rung in ("gate_sparsity", "removed_weight_fraction", "folded_encoder_fraction"):
        ladder[rung] = target
    ladder["macs_per_token"] = (1 - target) * ladder["dense_macs_per_token"]
    return {
        "run_id": f"{task}-{method}-t{target:.2f}-s{seed}-{number:012x}",
        "config": config,
        "ladder": ladder,
        "metrics": {"validation": {"accuracy": 0.9 - 0.2 * target - 0.001 * seed}},
    }


def _predictions() -> pd.DataFrame:
    chance = np.random.default_rng(0).random(ROWS)
    return pd.DataFrame(
        {
            "row_id": np.arange(ROWS),
            "text_hash": [f"{row:016x}" for row in range(ROWS)],
            "label": np.arange(ROWS) % 2,
            "split": "validation",
            "prob_0": chance,
            "prob_1": 1 - chance,
        }
    )


if __name__ == "__main__":
    main()
