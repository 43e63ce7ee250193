"""Two cells on two workers against the same two one after the other, as whole commands.

    python benchmarks/workers.py [--quick] [--rounds 2] [--rows 3000]

Each round starts `finegates sweep` twice on the generated task with MiniLM, two seeds in an empty
store: without workers and with `--workers 2`. Before each command it is measured how many cores
are free. The last line is one JSON object: `time_vs_serial` (wall time with workers over that
without, the median over rounds), `cpu_vs_serial` (the same of CPU seconds, which neighbours hardly
change: half of it is what two free cores can reach at best), `free_cores` (the least that was
free), `same_bits` (whether all runs are the same).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from finegates_engine.environment import cores
from finegates_engine.runs.store import RunStore

LOOK_SECONDS = 2.0
"""For which the machine is watched before each command."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """One command."""

    workers: int
    """0: in its own process."""

    seconds: float
    """Wall time."""

    cpu_seconds: float
    """Of all its processes."""

    free_cores: float
    """Just before it began."""


def main() -> None:
    """Measure in turn, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="64 rows, one round")
    parser.add_argument("--rounds", type=int, default=2, help="pairs of commands")
    parser.add_argument("--rows", type=int, default=3000, help="training rows")
    chosen = parser.parse_args()
    rows, rounds = (64, 1) if chosen.quick else (chosen.rows, chosen.rounds)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        stores = [RunStore(Path(folder) / f"store-{i}") for i in range(2 * rounds)]
        for i in range(rounds):
            pair = [measure(stores[2 * i + k], rows, workers) for k, workers in enumerate((0, 2))]
            pairs.append(pair)
            for one in pair:
                print(json.dumps(asdict(one)), flush=True)
        same = all(same_runs(stores[0], store) for store in stores[1:])
    ratios = [there.seconds / here.seconds for here, there in pairs]
    cpu = [there.cpu_seconds / here.cpu_seconds for here, there in pairs]
    result = {
        "time_vs_serial": round(statistics.median(ratios), 3),
        "cpu_vs_serial": round(statistics.median(cpu), 3),
        "free_cores": min(one.free_cores for pair in pairs for one in pair),
        "cores": cores(),
        "rows": rows,
        "rounds": [round(ratio, 3) for ratio in ratios],
        "same_bits": same,
    }
    print(json.dumps(result))


def measure(store: RunStore, rows: int, workers: int) -> Measured:
    """Run the command on an empty store. Raises CalledProcessError where it fails."""
    free = free_cores()
    words = [sys.executable, "-m", "finegates_engine", "sweep", "--quiet", "--task", "agreement"]
    words += ["--max-train-samples", str(rows), "--max-eval-samples", "200", "--epochs", "2"]
    words += ["--batch-size", "16", "--targets", "0.4", "--seeds", "0,1", "--threads", "1"]
    words += ["--store", str(store.root)] + (["--workers", str(workers)] if workers else [])
    begun = time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    used: dict[int, float] = {}
    while child.poll() is None:
        used |= cpu_of_session(child.pid)
        time.sleep(0.1)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, words)
    return Measured(workers, time.perf_counter() - begun, sum(used.values()), free)


def cpu_of_session(session: int) -> dict[int, float]:
    """Process id to CPU seconds until now, of a session's processes."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session:
            found[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def free_cores() -> float:
    """Cores that nobody used in the last seconds."""
    before = _idle_ticks()
    time.sleep(LOOK_SECONDS)
    return round((_idle_ticks() - before) / _TICKS / LOOK_SECONDS, 2)


def _idle_ticks() -> int:
    idle, waiting = Path("/proc/stat").read_text().split()[4:6]
    return int(idle) + int(waiting)


def same_runs(first: RunStore, second: RunStore) -> bool:
    """Whether two stores hold the same runs, to the bit of what was trained."""
    if first.ids() != second.ids() or len(first.ids()) != 2:
        return False
    pairs = [(first.load(name).adapter, second.load(name).adapter) for name in first.ids()]
    return all(np.array_equal(a[key], b[key]) for a, b in pairs for key in a)


if __name__ == "__main__":
    main()
