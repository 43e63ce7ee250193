"""Which level to deploy: limits, what keeps to them, what binds, what slack would buy. No torch.

A limit holds where the probability that it does (`level_draws`) is at least the wanted sureness.
Of the levels for which all limits hold, the one that does best by the goal is recommended.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from finegates_engine.analysis.level_draws import DropUnit, Measured
from finegates_engine.errors import UserError

LimitName = Literal["drop", "size_mb", "p95_ms", "speedup"]
Goal = Literal["removed", "speedup", "drop"]

SAME_SHARE = 0.01
"""Shares removed that differ by less than about this count as the same level of removal."""

CAUTION = 0.9
"""Levels that are equal otherwise are compared by the drop that they keep to this surely."""

_OFFERS = 2


@dataclass(frozen=True)
class LimitSpec:
    """How one limit is named and read."""

    label: str
    unit: str
    """Of its bound; that of the score drop is `Limits.drop_unit`."""
    at_most: bool
    lowest: float
    """Bounds are above this, or equal to it where that means something."""


LIMITS: dict[LimitName, LimitSpec] = {
    "drop": LimitSpec("Score drop", "points", True, -100.0),
    "size_mb": LimitSpec("Size on disk", "MB", True, 0.0),
    "p95_ms": LimitSpec("p95 latency", "ms", True, 0.0),
    "speedup": LimitSpec("Speed-up", "x", False, 0.0),
}

GOALS: dict[Goal, str] = {
    "removed": "Remove the most",
    "speedup": "Run the fastest",
    "drop": "Lose the least",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a level must keep to. None: no limit. Raises UserError for a bound that is none."""

    drop: float | None = None
    """Largest loss of score against the reference, in drop_unit."""
    drop_unit: DropUnit = "points"
    size_mb: float | None = None
    """Largest size of the weights, MB (1e6 bytes)."""
    p95_ms: float | None = None
    """Largest 95th percentile of one call, ms."""
    speedup: float | None = None
    """Least speed-up against the dense model, times."""
    sureness: float = 0.5
    """Least probability with which each limit must hold, in [0.5, 1). 0.5: as measured."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.sureness < 1:
            raise UserError(f"Sureness must be in [0.5, 1), got {self.sureness:g}.")
        for name, bound in self.active.items():
            spec = LIMITS[name]
            if not math.isfinite(bound) or bound < spec.lowest or (bound == 0 and name != "drop"):
                raise UserError(
                    f"{spec.label} must be a number above {spec.lowest:g}, got {bound:g}."
                )

    @property
    def active(self) -> dict[LimitName, float]:
        """Limit to its bound, of those that are set."""
        named: dict[LimitName, float | None] = {
            "drop": self.drop,
            "size_mb": self.size_mb,
            "p95_ms": self.p95_ms,
            "speedup": self.speedup,
        }
        return {name: bound for name, bound in named.items() if bound is not None}


@dataclass(frozen=True, eq=False)
class Candidate:
    """One level that could be deployed."""

    key: str
    """Names it; distinct."""
    run_id: str
    """The run to deploy."""
    removed: float
    """Share of the encoder's weights that leaves."""
    score: float
    """Mean over the seeds that its drop is counted over."""
    against: float
    """That of what its drop is counted from, over those seeds."""
    measured: Mapping[LimitName, Measured]
    """What is known of it; a limit on anything else cannot be said to hold."""


@dataclass(frozen=True)
class Verdict:
    """Whether one limit holds for a level."""

    name: LimitName
    bound: float
    probability: float | None
    """That it holds. None: it was not measured."""
    needed: float | None
    """The bound at which it would hold, just so."""
    holds: bool

    @property
    def miss(self) -> float:
        """By how much the bound would have to give, in its unit; 0 where it holds."""
        if self.holds:
            return 0.0
        return math.inf if self.needed is None else abs(self.needed - self.bound)


Verdicts = dict[LimitName, Verdict]


@dataclass(frozen=True, eq=False)
class Offer:
    """What giving way at one limit would buy."""

    name: LimitName
    slack: float
    """By how much, in the limit's unit."""
    bound: float
    """The limit's new bound."""
    candidate: Candidate


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The answer."""

    best: Candidate | None
    """None: no level keeps to all limits."""
    runner_up: Candidate | None
    nearest: Candidate | None
    """Where there is no best: the level that misses the limits by least, in proportion."""
    verdicts: Mapping[str, Verdicts]
    """Candidate's key to its verdicts."""
    binding: tuple[LimitName, ...]
    """Limits that keep a level from being recommended that does better by the goal."""
    offers: tuple[Offer, ...]
    """Smallest slack first, of each binding limit."""
    unmeasured: tuple[LimitName, ...]
    """Limits about which nothing was measured for some candidate."""
    passed: int
    """Levels that keep to all limits."""


def recommend(
    candidates: Sequence[Candidate], limits: Limits, *, goal: Goal = "removed"
) -> Recommendation:
    """The level that does best by the goal of those that keep to all limits.

    Of levels that are equal by the goal the one comes first whose drop, as surely as CAUTION says,
    is the least: the best score of many is often luck, and few seeds leave much open. For the goal
    "speedup", levels without a measured one come last.
    """
    verdicts = {one.key: judge(one, limits) for one in candidates}
    ranked = sorted(candidates, key=lambda one: _rank(one, goal), reverse=True)
    passing = [one for one in ranked if all(v.holds for v in verdicts[one.key].values())]
    best = passing[0] if passing else None
    wanted = [c for c in ranked if best is None or _gain(c, goal) > _gain(best, goal)]
    return Recommendation(
        best=best,
        runner_up=passing[1] if len(passing) > 1 else None,
        nearest=None if best else _nearest(ranked, verdicts),
        verdicts=verdicts,
        binding=_binding(wanted, verdicts),
        offers=tuple(_offers(wanted, verdicts, goal)),
        unmeasured=tuple(
            name
            for name in limits.active
            if any(v[name].probability is None for v in verdicts.values())
        ),
        passed=len(passing),
    )


def judge(candidate: Candidate, limits: Limits) -> Verdicts:
    """Whether each limit holds for a level."""
    verdicts: Verdicts = {}
    for name, bound in limits.active.items():
        known, at_most = candidate.measured.get(name), LIMITS[name].at_most
        if known is None:
            verdicts[name] = Verdict(name, bound, None, None, False)
            continue
        probability = known.probability(bound, at_most=at_most)
        needed = known.bound(limits.sureness, at_most=at_most)
        verdicts[name] = Verdict(name, bound, probability, needed, probability >= limits.sureness)
    return verdicts


def _gain(candidate: Candidate, goal: Goal) -> float:
    """What the goal is about; more is better."""
    if goal == "removed":
        return round(candidate.removed / SAME_SHARE)
    known = candidate.measured.get(goal)
    if known is None:
        return -math.inf
    return known.value if goal == "speedup" else -known.value


def _rank(candidate: Candidate, goal: Goal) -> tuple[float, ...]:
    drop = candidate.measured.get("drop")
    feared = math.inf if drop is None else drop.bound(CAUTION, at_most=True)
    return (_gain(candidate, goal), -feared, candidate.score, candidate.removed)


def _failed(verdicts: Verdicts) -> list[LimitName]:
    return [name for name, verdict in verdicts.items() if not verdict.holds]


def _binding(
    wanted: Iterable[Candidate], verdicts: Mapping[str, Verdicts]
) -> tuple[LimitName, ...]:
    """Limits that alone keep a wanted level out; where none does, all that the nearest fails."""
    failed = sorted((_failed(verdicts[one.key]) for one in wanted), key=lambda names: len(names))
    alone = {names[0] for names in failed if len(names) == 1}
    if not alone and failed:
        alone = set(failed[0])
    return tuple(name for name in LIMITS if name in alone)


def _offers(
    wanted: Sequence[Candidate], verdicts: Mapping[str, Verdicts], goal: Goal
) -> list[Offer]:
    """For each limit the levels that it alone keeps out: more slack must buy more."""
    offers = []
    for name in LIMITS:
        alone = [one for one in wanted if _failed(verdicts[one.key]) == [name]]
        known = [one for one in alone if verdicts[one.key][name].needed is not None]
        known.sort(key=lambda one: (verdicts[one.key][name].miss, -_gain(one, goal)))
        most, found = -math.inf, 0
        for one in known:
            verdict = verdicts[one.key][name]
            if _gain(one, goal) > most and found < _OFFERS and verdict.needed is not None:
                offers.append(Offer(name, verdict.miss, verdict.needed, one))
                most, found = _gain(one, goal), found + 1
    return offers


def _nearest(ranked: Sequence[Candidate], verdicts: Mapping[str, Verdicts]) -> Candidate | None:
    """The level whose misses, each as a share of its limit, add up to the least."""

    def distance(one: Candidate) -> float:
        # A drop limit of 0 has no share: a point stands for it.
        return sum(v.miss / max(abs(v.bound), 1.0) for v in verdicts[one.key].values())

    known = [one for one in ranked if math.isfinite(distance(one))]
    return min(known, key=distance) if known else None
