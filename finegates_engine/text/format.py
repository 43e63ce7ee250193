"""Numbers and names as a reader wants them. No torch."""

import math
import shlex
from pathlib import Path

from finegates_engine.metrics import METRICS

_DEFAULT_STORE = Path("cached_runs")  # of a command that names none

MISSING = "-"
"""What stands where there is no number."""

UNITS = {"encoder_weights": "encoder weights", "gates": "gates"}
"""Unit of a target -> its words."""


def run_words(run_id: str, store: Path) -> str:
    """How a command names a run: its id, and its store where that is not the default."""
    return run_id if store == _DEFAULT_STORE else f"{run_id} --store {shlex.quote(str(store))}"


def seconds_text(seconds: float) -> str:
    """A duration with the digits that matter: 0.4 s, 12 s, 3 min, 2 h 5 min."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def ms_text(seconds: float) -> str:
    """Milliseconds with three digits, or all before the point: 8.96, 12.0, 1,363."""
    ms = 1000 * seconds
    return f"{ms:,.0f}" if ms >= 99.95 else f"{ms:#.3g}"


def share_text(share: float | None) -> str:
    """A share in percent, or a dash where there is none."""
    return MISSING if _missing(share) else f"{100 * share:.1f}%"  # type: ignore[operator]


def score_text(score: float | None) -> str:
    """A score with three digits, or a dash."""
    return MISSING if _missing(score) else f"{score:.3f}"


def count_text(count: float | None) -> str:
    """A count with a thousand's unit: 812, 10.6M, 3.1k."""
    if _missing(count):
        return MISSING
    assert count is not None
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def bytes_text(size: float | None) -> str:
    """A size on disk or in memory, such as 88 MB."""
    if _missing(size):
        return MISSING
    assert size is not None
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} B"


def times_text(count: int) -> str:
    """How often: once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def metric_label(name: str) -> str:
    """How a metric is called in tables."""
    return METRICS[name].label if name in METRICS else name


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)
