"""What a thousand cells cost the one process that hands them out and writes the store.

    python benchmarks/driver.py [--quick] [--cells 1000] [--at-once 80]

Nothing is trained: the workers are played. Each cell begins, tells of its progress ten times and
gives back a small run, which is saved. The last line is one JSON object: `ms_per_message` and
`ms_per_cell` (of the sweep's process: a message is a step's progress; a cell is all else, its
lock, the saved run and the state included), `state_bytes` (of the state that is replaced about
once a second), `listing_s` (of the store afterwards).
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from store import make_run

from finegates_engine.runs.core_files import encode
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.state import FOLDER, CellState, SweepState
from finegates_engine.sweep.supervise import Began, Finished, Message, supervise
from finegates_engine.sweep.training import Arrays
from finegates_engine.sweep.writer import SweepWriter
from finegates_engine.train.progress import Progress

TOLD = 10
"""Messages on the progress of a cell."""


class PlayedPool:
    """Workers that need no time (`supervise.Pool`)."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.running: dict[str, int] = {}
        self.example = make_run()
        self.outside = 0.0
        """Seconds spent on playing."""
        self.in_messages = 0.0
        """Seconds that the sweep took for messages on progress."""

    def room(self) -> int:
        """Cells that could be begun now."""
        return self.at_once - len(self.running)

    def start(self, job: Job, adapter: Arrays | None) -> None:
        """Begin with a cell."""
        self.running[job.run_id] = 0

    def messages(self, seconds: float) -> Iterator[tuple[str, Message]]:
        """One message of each cell: its begin, its progress, its end."""
        for name, told in list(self.running.items()):
            self.running[name] += 1
            if told == 0:
                yield name, Began("process 1")
            elif told <= TOLD:
                begun = time.perf_counter()
                yield name, Progress(told, TOLD, 0.5, 1.0)
                self.in_messages += time.perf_counter() - begun
            else:
                del self.running[name]
                begun = time.perf_counter()
                files = encode(dataclasses.replace(self.example, run_id=name))
                self.outside += time.perf_counter() - begun
                yield name, Finished(files)

    def close(self) -> None:
        """Nothing is left to end."""


def main() -> None:
    """Hand out the cells, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="100 cells")
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=80)
    chosen = parser.parse_args()
    count = 100 if chosen.quick else chosen.cells
    pool = PlayedPool(chosen.at_once)
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        jobs = [_job(index, store.root, pool) for index in range(count)]
        begun = time.perf_counter()
        with SweepWriter(store.root, _state(jobs)) as writer:
            supervise(jobs, pool, writer.update)
        seconds = time.perf_counter() - begun - pool.outside
        (state,) = (store.root / FOLDER).glob("*.json")
        size = state.stat().st_size
        begun = time.perf_counter()
        assert len(store.ids()) == count
        listing = time.perf_counter() - begun
    assert "torch" not in sys.modules
    result = {
        "ms_per_message": round(1e3 * pool.in_messages / (count * TOLD), 3),
        "ms_per_cell": round(1e3 * (seconds - pool.in_messages) / count, 2),
        "state_bytes": size,
        "listing_s": round(listing, 2),
        "cells": count,
        "at_once": chosen.at_once,
    }
    print(json.dumps(result))


def _job(index: int, root: Path, pool: PlayedPool) -> Job:
    name = f"{pool.example.run_id[:-12]}{index:012x}"
    return Job(name, pool.example.config, None, root, Path("backbone"), "weights")


def _state(jobs: list[Job]) -> SweepState:
    return SweepState(
        sweep_id="played",
        task="agreement",
        method="finegates",
        strategy="independent",
        target_unit="encoder_weights",
        metric="accuracy",
        process_id=os.getpid(),
        started=time.time(),
        heartbeat=time.time(),
        cells=tuple(CellState(run_id=j.run_id, target=0.4, seed=0, epochs=1.0) for j in jobs),
    )


if __name__ == "__main__":
    main()
