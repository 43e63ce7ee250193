"""Time several callables against each other: interleaved rounds in random order."""

import contextlib
import gc
import math
import random
import time
import timeit
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch.utils import benchmark

from finegates_engine.errors import UserError
from finegates_engine.timing.latency import LEAST_ROUNDS, speedup

WARM_UP_CALLS = 3
"""Of each variant before anything is timed; the first may compile, allocate or tune."""

SHORT_SECONDS = 0.01
"""A longer call takes as long after another model's call as after its own (measured, MiniLM: 9 to
140 ms, within 1%), so only shorter ones are preceded by one that is not counted."""

_CHECK_EVERY = 5  # rounds between two looks at the intervals
_CHECK_DRAWS = 400

Ended = Literal["narrow", "budget", "rounds", "stopped"]


@dataclass(frozen=True, kw_only=True)
class RaceLimits:
    """When a race ends."""

    min_rounds: int = 15
    """Rounds that are always made, whatever the budget."""

    max_rounds: int = 300
    budget_seconds: float = 20.0
    """No round begins after this time; warm-up counts."""

    interval_width: float = 0.02
    """End when the 95% interval of each speed-up is narrower than this share of it."""

    block_seconds: float = 0.002
    """A value is the mean over as many calls as take at least this long: clocks and loops cost."""

    def __post_init__(self) -> None:
        if not LEAST_ROUNDS <= self.min_rounds <= self.max_rounds:
            raise UserError(
                f"Rounds must be at least {LEAST_ROUNDS} and at most max_rounds, got "
                f"{self.min_rounds} to {self.max_rounds}."
            )
        sizes = (self.budget_seconds, self.interval_width, self.block_seconds)
        if not all(math.isfinite(size) and size >= 0 for size in sizes):
            raise UserError(f"Limits of a race must be finite and at least 0, got {self}.")


@dataclass(frozen=True)
class RaceProgress:
    """Where a race is."""

    rounds: int
    """Rounds done."""

    seconds_left: float
    """At most, as long as rounds take what they took so far."""


@dataclass(frozen=True)
class Race:
    """Raw values of a race."""

    seconds: dict[str, list[float]]
    """Variant to seconds of one call, (rounds,); equal places are of the same round."""

    calls: dict[str, int]
    """Variant to the number of calls whose mean one value is."""

    ended: Ended
    """Intervals narrow, budget used, max_rounds made, or stopped by the caller."""

    @property
    def rounds(self) -> int:
        """Complete rounds; fewer than `RaceLimits.min_rounds` only where it was stopped."""
        return len(next(iter(self.seconds.values())))


def race(
    variants: Mapping[str, Callable[[], object]],
    *,
    baseline: str,
    device: str = "cpu",
    threads: int = 1,
    limits: RaceLimits | None = None,
    seed: int = 0,
    clock: Callable[[], float] = benchmark.timer,
    on_progress: Callable[[RaceProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Race:
    """Time variants in rounds: in each, every variant once, in random order.

    Values are those of a warm steady state: before each value of a short call comes one call that
    is not counted. On CUDA each call ends with a synchronisation, as the caller of a model sees
    it; without it, the next call would begin before this one has ended. The clock is that of
    `torch.utils.benchmark`; its `Timer.timeit` would make two more calls for each value, which
    triples the time of long ones. `time.thread_time` suits one thread on a machine that others
    use: waiting for a core does not count then.

    Runs in inference mode, without the garbage collector, with `threads` threads inside an
    operation; all are as before when it returns. stop: asked between calls; True ends the race and
    drops the round that is not complete. An error of a variant is passed on.
    """
    if baseline not in variants:
        raise ValueError(f"baseline {baseline!r} is none of the variants {list(variants)}")
    limits = limits or RaceLimits()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    blocks: dict[str, _Block] = {}
    ended: Ended | None = None
    with measuring(threads), contextlib.suppress(_Stopped):
        begun = time.monotonic()
        for name, call in variants.items():
            blocks[name] = _Block(_whole(call, device), limits.block_seconds, clock, stop)
        order = random.Random(f"race {seed}")  # noqa: S311, no secret
        while ended is None:
            names = order.sample(list(blocks), len(blocks))
            values = {name: blocks[name].measure() for name in names}
            for name, value in values.items():
                seconds[name].append(value)
            spent = time.monotonic() - begun
            ended = _ended(seconds, baseline, limits, spent)
            if on_progress is not None:
                on_progress(_progress(len(seconds[baseline]), limits, spent, ended))
    return Race(seconds, {name: block.calls for name, block in blocks.items()}, ended or "stopped")


class _Stopped(Exception):  # noqa: N818  (a way out, not an error)
    """The caller wants no more."""


class _Block:
    """Makes the values of one variant."""

    def __init__(
        self,
        call: Callable[[], object],
        least: float,
        clock: Callable[[], float],
        stop: Callable[[], bool] | None,
    ) -> None:
        self._call, self._stop = call, stop
        self._timer = timeit.Timer(call, timer=clock)
        self.calls, self._short = 1, False
        once = min(self.measure() for _ in range(WARM_UP_CALLS))
        self.calls, self._short = max(1, math.ceil(least / once)), once < SHORT_SECONDS

    def measure(self) -> float:
        """Seconds of one call."""
        if self._stop is not None and self._stop():
            raise _Stopped
        if self._short:
            self._call()
        # A clock may not see the shortest of calls; a ratio needs times above 0.
        return max(self._timer.timeit(self.calls), 1e-9) / self.calls


def _whole(call: Callable[[], object], device: str) -> Callable[[], object]:
    """The call with its end: on CUDA it only begins the work."""
    if torch.device(device).type != "cuda":
        return call

    def finished() -> None:
        call()
        torch.cuda.synchronize(device)

    return finished


@contextlib.contextmanager
def measuring(threads: int) -> Iterator[None]:
    """The conditions of a race: `threads`, inference mode, no garbage collector.

    As before afterwards.
    """
    threads_before, collected = torch.get_num_threads(), gc.isenabled()
    gc.disable()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads_before)
        if collected:
            gc.enable()


def _ended(
    seconds: Mapping[str, list[float]], baseline: str, limits: RaceLimits, spent: float
) -> Ended | None:
    """Why no further round is needed. None: one is."""
    rounds = len(seconds[baseline])
    if rounds < limits.min_rounds:
        return None
    if rounds >= limits.max_rounds:
        return "rounds"
    if spent >= limits.budget_seconds:
        return "budget"
    if rounds % _CHECK_EVERY:
        return None
    intervals = [
        speedup(seconds[baseline], values, draws=_CHECK_DRAWS)
        for name, values in seconds.items()
        if name != baseline
    ]
    # By width alone: a race that ended once a difference was seen would see too many.
    narrow = all(i.high - i.low <= limits.interval_width * i.value for i in intervals)
    return "narrow" if narrow and intervals else None


def _progress(rounds: int, limits: RaceLimits, spent: float, ended: Ended | None) -> RaceProgress:
    a_round = spent / rounds
    least = max(0, limits.min_rounds - rounds) * a_round
    most = max(0, limits.max_rounds - rounds) * a_round
    left = max(least, min(most, limits.budget_seconds - spent))
    return RaceProgress(rounds, 0.0 if ended else left)
