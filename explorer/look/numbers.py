"""Numbers as a reader wants them: units, and as many digits as mean something."""

import math

from finegates_engine.analysis.tradeoff import Quantity
from finegates_engine.text.format import bytes_text, count_text, ms_text, seconds_text

MISSING = "-"
MINUS = "\u2212"


def value_text(value: float | None, quantity: Quantity) -> str:
    """A value of this quantity with its unit."""
    if value is None or math.isnan(value):
        return MISSING
    match quantity.unit:
        case "share":
            return f"{value:.1%}"
        case "bytes":
            return bytes_text(value)
        case "ms":
            return f"{ms_text(value / 1000)} ms"
        case "s":
            return f"{value:.2g} s" if value < 1 else seconds_text(value)
        case "MACs" | "count":
            return count_text(value)
        case _:
            return f"{value:.3f}"


def points_text(points: float, digits: int = 1) -> str:
    """A number of points, "1.2 points" or "1 point"; the sign is a real minus."""
    number = f"{abs(points):.{digits}f}"
    sign = MINUS if points < 0 and float(number) else ""
    return f"{sign}{number} {'point' if number == '1' else 'points'}"


def range_text(low: float, high: float, digits: int = 1) -> str:
    """An interval, "0.2 to 2.1"."""
    return f"{_signed(low, digits)} to {_signed(high, digits)}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: 1 seed, 3 seeds."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return MINUS + text if value < 0 and float(text) else text
