"""A run's ladder with the rungs that need its compiled form. No torch."""

from dataclasses import dataclass, replace

from finegates_engine.files import Damaged
from finegates_engine.ladder import Ladder
from finegates_engine.parity import read_certificate
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.stored import PRUNED, Setting, TimingCell, read_timings

SETTING = Setting(device="cpu", backend="torch", precision="fp32", threads=1, batch=1, tokens=64)
"""The call whose latency stands in the ladder, where it was timed."""


@dataclass(frozen=True)
class MeasuredLadder:
    """A ladder, and what its measured rungs belong to."""

    ladder: Ladder
    latency: TimingCell | None
    """The timing behind `latency_ms`. None: not timed in that setting."""
    machine: str | None
    """Where it was timed."""
    problem: str | None
    """Why measured rungs are missing although there are files for them."""


def measured_ladder(run: StoredRun, setting: Setting = SETTING) -> MeasuredLadder:
    """The ladder of a run with all that was measured of it. Rungs without a passing certificate
    stay None."""
    try:
        certificate = read_certificate(run)
        if certificate is None or not certificate.passed:
            return MeasuredLadder(run.ladder, None, None, None)
        found = [
            (cell, file.machine.accelerator or file.machine.cpu)
            for file in read_timings(run).values()
            for cell in file.cells
            if cell.setting == setting
        ]
    except Damaged as error:
        return MeasuredLadder(run.ladder, None, None, str(error))
    cell, machine = max(found, key=lambda pair: pair[0].measured, default=(None, None))
    ladder = replace(
        run.ladder,
        stored_weight_fraction=certificate.stored_weight_fraction,
        file_bytes=certificate.file_bytes,
        latency_ms=None if cell is None else 1e3 * cell.variants[PRUNED].latency.median,
    )
    return MeasuredLadder(ladder, cell, machine, None)
