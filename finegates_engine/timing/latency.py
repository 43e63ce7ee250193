"""Statistics of raw timings: median, p95, how many times faster, and if that is real. No torch.

Variants are timed in rounds, one after the other, so that what slows the machine for a while slows
all of them. The speed-up is the median of the rounds' ratios, not the ratio of two medians: on a
machine whose speed drifts or jumps, the second is several times less certain (a machine that jumps
between full and half speed can have one median at full and the other at half).
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

DRAWS = 2000
LEVEL = 0.95

LEAST_ROUNDS = 8
"""Fewer rounds give no interval: with 8, that of a median reaches from about the second smallest
ratio to the second largest."""

Verdict = Literal["faster", "slower", "no measurable difference"]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Latency:
    """How long one call took, in seconds."""

    median: float = Field(gt=0)
    p95: float = Field(gt=0)
    """Nineteen calls in twenty took no longer. Short calls are timed several at a time, and then
    it is that of their means."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Speedup:
    """How many times as fast as a baseline, with its 95% interval. Above 1 is faster."""

    value: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)

    @property
    def verdict(self) -> Verdict:
        """A difference is one only where the interval leaves 1 out."""
        if self.low > 1:
            return "faster"
        return "slower" if self.high < 1 else "no measurable difference"


def latency(seconds: Sequence[float]) -> Latency:
    """Median and 95th percentile. seconds: (rounds,), of one call each."""
    values = _checked(seconds)
    return Latency(median=float(np.median(values)), p95=float(np.quantile(values, LEVEL)))


def speedup(
    baseline: Sequence[float], other: Sequence[float], *, draws: int = DRAWS, seed: int = 0
) -> Speedup:
    """How many times as fast `other` is as `baseline`, both (rounds,) seconds, paired by round.

    The median of the rounds' ratios with a percentile bootstrap interval over rounds. Exchanging
    the two gives the inverse, interval included. Raises ValueError for fewer than LEAST_ROUNDS
    rounds, another number of them, or a time that is not above 0.
    """
    slow, fast = _checked(baseline), _checked(other)
    if len(slow) != len(fast):
        raise ValueError(f"rounds must be paired, got {len(slow)} and {len(fast)}")
    if len(slow) < LEAST_ROUNDS:
        raise ValueError(f"a speed-up needs at least {LEAST_ROUNDS} rounds, got {len(slow)}")
    logs = np.log(slow) - np.log(fast)
    picked = np.random.default_rng(seed).integers(len(logs), size=(draws, len(logs)))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.median(logs[picked], axis=1), [tail, 1 - tail])
    return Speedup(
        value=math.exp(np.median(logs)), low=math.exp(float(low)), high=math.exp(float(high))
    )


def efficiency(speedup: float, mac_ratio: float) -> float:
    """The share of the saved arithmetic that became saved time.

    mac_ratio: multiply-accumulates of dense / of pruned. 1 where time falls as arithmetic does.
    """
    if not (speedup > 0 and mac_ratio > 0):
        raise ValueError(f"speed-up and ratio of MACs must be above 0, got {speedup}, {mac_ratio}")
    return speedup / mac_ratio


def _checked(seconds: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(seconds, dtype=np.float64)
    if values.ndim != 1 or not values.size or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("timings must be a list of numbers of seconds above 0")
    return values
