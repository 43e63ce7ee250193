import math

import numpy as np
import pytest

from finegates_engine.analysis.level_draws import Measured
from finegates_engine.analysis.recommend import LIMITS, Candidate, Limits, judge, recommend
from finegates_engine.errors import UserError


def measured(value: float, spread: float = 0.0, kind: str = "rows") -> Measured:
    """Draws evenly around a value, or a value that does not vary."""
    draws = value + np.linspace(-spread, spread, 201) if spread else None
    return Measured(value, draws, kind)


def level(removed: float, drop: float, *, spread: float = 0.0, key: str = "", **known: float):
    own = {"drop": measured(drop, spread)} | {n: measured(v) for n, v in known.items()}
    return Candidate(key or f"{removed:g}", f"run-{removed:g}", removed, 0.9 - drop / 100, 0.9, own)


LEVELS = [level(0.3, 0.2), level(0.5, 0.8), level(0.6, 1.3), level(0.7, 4.0)]


def test_most_removed_within_the_limit_is_recommended():
    found = recommend(LEVELS, Limits(drop=1.0))
    assert found.best is LEVELS[1]
    assert found.runner_up is LEVELS[0]
    assert found.nearest is None
    assert found.passed == 2
    assert found.binding == ("drop",)


def test_slack_says_what_it_buys():
    offers = recommend(LEVELS, Limits(drop=1.0)).offers
    assert [(o.candidate.removed, pytest.approx(o.slack)) for o in offers] == [(0.6, 0.3), (0.7, 3)]
    assert offers[0].bound == pytest.approx(1.3)
    assert recommend(LEVELS, Limits(drop=offers[0].bound)).best is LEVELS[2]


def test_without_limits_nothing_binds():
    found = recommend(LEVELS, Limits())
    assert found.best is LEVELS[3]
    assert found.binding == ()
    assert found.offers == ()


def test_nothing_within_the_limits_names_the_nearest_miss():
    found = recommend(LEVELS, Limits(drop=0.1))
    assert found.best is None
    assert found.nearest is LEVELS[0]
    assert found.verdicts["0.3"]["drop"].miss == pytest.approx(0.1)
    assert found.offers[0].candidate is LEVELS[0]


def test_misses_are_weighed_as_shares_of_their_limits():
    small = level(0.6, 1.0, size_mb=100.0)
    accurate = level(0.2, 0.0, size_mb=120.0)
    found = recommend([small, accurate], Limits(drop=0.0, size_mb=50.0))
    # 1 point over a limit of 0 counts as 1, and 50 MB over 50 as 1; 70 over 50 alone as 1.4.
    assert found.best is None
    assert found.nearest is accurate
    assert found.binding == ("size_mb",)


def test_more_sureness_asks_for_more_room():
    vague = level(0.5, 0.8, spread=1.0)
    assert recommend([vague], Limits(drop=1.0)).best is vague
    strict = recommend([vague], Limits(drop=1.0, sureness=0.9))
    assert strict.best is None
    verdict = strict.verdicts["0.5"]["drop"]
    assert verdict.probability == pytest.approx(0.6, abs=0.01)
    assert verdict.needed == pytest.approx(1.6, abs=0.01)
    assert recommend([vague], Limits(drop=verdict.needed, sureness=0.9)).best is vague


def test_of_equal_removal_the_one_that_is_better_known_comes_first():
    lucky = level(0.5, 0.5, spread=6.0, key="lucky")
    steady = level(0.4998, 0.8, spread=0.4, key="steady")
    found = recommend([lucky, steady], Limits(drop=1.0))
    assert found.best is steady
    assert found.runner_up is lucky
    assert recommend([lucky, steady], Limits()).best is steady
    sharp = level(0.5, 0.7, spread=0.4, key="sharp")
    assert recommend([lucky, steady, sharp], Limits()).best is sharp


def test_what_was_not_measured_does_not_hold():
    timed = level(0.3, 0.2, p95_ms=12.0, speedup=1.4)
    untimed = level(0.5, 0.3)
    found = recommend([timed, untimed], Limits(drop=1.0, p95_ms=15.0))
    assert found.best is timed
    assert found.unmeasured == ("p95_ms",)
    verdict = found.verdicts["0.5"]["p95_ms"]
    assert (verdict.probability, verdict.needed, verdict.miss) == (None, None, math.inf)
    # Its latency keeps it out, but how much slack it needs is not known.
    assert found.binding == ("p95_ms",)
    assert found.offers == ()


def test_nothing_measured_has_no_nearest():
    found = recommend([level(0.5, 0.3)], Limits(speedup=2.0))
    assert (found.best, found.nearest, found.unmeasured) == (None, None, ("speedup",))


def test_speed_up_is_a_least():
    slow, fast = level(0.5, 0.1, speedup=1.2), level(0.3, 0.1, speedup=1.6)
    found = recommend([slow, fast], Limits(speedup=1.5))
    assert found.best is fast
    assert found.offers[0].slack == pytest.approx(0.3)


@pytest.mark.parametrize(("goal", "best"), [("removed", 0.7), ("drop", 0.3), ("speedup", 0.5)])
def test_goal_decides_between_levels_within_limits(goal, best):
    levels = [
        level(0.3, 0.1, speedup=1.1),
        level(0.5, 0.5, speedup=1.9),
        level(0.7, 0.6, speedup=1.5),
    ]
    found = recommend(levels, Limits(drop=1.0), goal=goal)
    assert found.best.removed == best
    assert found.binding == ()


def test_several_limits_that_bind_together():
    found = recommend(
        [level(0.3, 0.1, size_mb=80.0), level(0.6, 2.0, size_mb=95.0)],
        Limits(drop=1.0, size_mb=90.0),
    )
    assert found.best.removed == 0.3
    assert found.binding == ("drop", "size_mb")
    assert found.offers == ()


def test_every_limit_is_judged():
    known = level(0.5, 0.5, size_mb=70.0, p95_ms=12.0, speedup=1.5)
    limits = Limits(drop=1.0, size_mb=70.0, p95_ms=12.0, speedup=1.5)
    assert list(judge(known, limits)) == list(LIMITS)
    assert all(verdict.holds for verdict in judge(known, limits).values())


def test_no_candidates_is_an_answer():
    found = recommend([], Limits(drop=1.0))
    assert (found.best, found.nearest, found.binding, found.passed) == (None, None, (), 0)


@pytest.mark.parametrize(
    "wrong",
    [{"drop": math.nan}, {"size_mb": -1.0}, {"size_mb": 0.0}, {"sureness": 1.0}, {"sureness": 0.2}],
)
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(UserError, match="must be"):
        Limits(**wrong)


def test_more_slack_is_offered_only_for_more():
    levels = [level(0.3, 0.5), level(0.6, 1.2), level(0.6, 1.5, key="worse"), level(0.5, 1.4)]
    offers = recommend(levels, Limits(drop=1.0)).offers
    assert [o.candidate for o in offers] == [levels[1]]
