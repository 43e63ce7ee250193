"""Stored timings as a column of the trade-off: one machine and setting at a time, never mixed."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from explorer.loading import loaders
from explorer.look.numbers import plural
from finegates_engine.environment import collect_environment
from finegates_engine.errors import UserError
from finegates_engine.timing.stored import PRUNED, Machine, Setting, TimingCell, read_timings


@dataclass(frozen=True)
class Passport:
    """Where and how calls were timed."""

    fingerprint: str
    place: str
    """The processor's name."""
    setting: Setting

    @property
    def code(self) -> str:
        """Its text in the address."""
        s = self.setting
        parts = (s.device, s.backend, s.precision, s.threads, s.batch, s.tokens)
        return "-".join([self.fingerprint[:8], *map(str, parts)])

    @property
    def label(self) -> str:
        """In words: batch 1 x 64 tokens, 1 thread, fp32, torch on a CPU's name."""
        s = self.setting
        return (
            f"batch {s.batch} x {s.tokens} tokens, {plural(s.threads, 'thread')}, {s.precision}, "
            f"{s.backend} on {self.place}"
        )


Times = dict[Passport, dict[str, float]]
"""Passport -> run id -> median milliseconds of one call of the pruned model."""


def stored_times(store: loaders.Store, runs: Sequence[str]) -> Times:
    """All timings of these runs, the passport with the most runs first; unusable ones left out."""
    memo, versions = loaders.memo("latencies", 20_000), loaders.listing(store).versions
    times: Times = {}
    for run in runs:
        key = (store.root, run, versions.get(run))
        own = memo.get(key)
        if own is None:
            own = _of_run(store, run)
            memo.put(key, own)
        for passport, milliseconds in own.items():
            times.setdefault(passport, {})[run] = milliseconds
    return dict(sorted(times.items(), key=lambda item: (-len(item[1]), item[0].code)))


def with_latency(rows: pd.DataFrame, milliseconds: dict[str, float]) -> pd.DataFrame:
    """The rows with these runs' times as `latency_ms`; the others have none."""
    return rows.assign(latency_ms=rows["run_id"].map(milliseconds).astype("float64"))


@dataclass(frozen=True, eq=False)
class Timed:
    """One cell of one run, and where it was timed."""

    cell: TimingCell
    here: bool
    """Whether that was a machine like this one: same processor, as many cores."""


def timed_cells(store: loaders.Store, run: str) -> dict[Passport, Timed]:
    """All that was timed of one run; empty where nothing of it can be used."""
    try:
        files = read_timings(loaders.run(store, run))
    except UserError:  # no passing certificate, or a file that cannot be used: no time is shown
        return {}
    return {
        Passport(name, _place(file.machine, cell.setting), cell.setting): Timed(
            cell, (file.machine.cpu, file.machine.cores) == _here()
        )
        for name, file in files.items()
        for cell in file.cells
    }


def _of_run(store: loaders.Store, run: str) -> dict[Passport, float]:
    cells = timed_cells(store, run)
    return {p: 1000 * timed.cell.variants[PRUNED].latency.median for p, timed in cells.items()}


def _here() -> tuple[str | None, int]:
    """Processor and cores of this machine."""
    memo = loaders.memo("here", 1)
    if memo.get("here") is None:
        found = collect_environment()
        memo.put("here", (found.cpu, found.cores))
    cpu, cores = memo.get("here")
    return cpu, cores


def _place(machine: Machine, setting: Setting) -> str:
    found = machine.accelerator if setting.device == "cuda" else machine.cpu
    return found or machine.platform
