import numpy as np
import pandas as pd
import pytest
from scipy import stats

from finegates_engine.analysis import level_draws as ld
from finegates_engine.analysis.answers import answers_of
from finegates_engine.analysis.intervals import bootstrap_interval, paired_difference
from finegates_engine.errors import UserError


def frame(right, *, first_row: int = 0) -> pd.DataFrame:
    """Predictions of two classes that are right on these rows."""
    right = np.asarray(right)
    rows = np.arange(first_row, first_row + len(right))
    label = rows % 2
    said = np.where(right, label, 1 - label)
    return pd.DataFrame(
        {
            "row_id": rows,
            "text_hash": [f"{row:08x}" for row in rows],
            "label": label,
            "split": "validation",
            "prob_0": 1.0 - said,
            "prob_1": said.astype(float),
        }
    )


def share_right(count: int, rows: int = 200) -> pd.DataFrame:
    return frame(np.arange(rows) < count)


def scored(**levels) -> dict:
    return scores_of("accuracy", levels)


def scores_of(metric, levels, **more) -> dict:
    answers = {key: [answers_of(one) for one in frames] for key, frames in levels.items()}
    return ld.level_scores(metric, answers, **more)


def test_known_value_is_within_a_bound_or_not():
    size = ld.certified_size_mb(70_000_000)
    assert size.value == 70
    assert size.probability(70, at_most=True) == 1
    assert size.probability(69.9, at_most=True) == 0
    assert size.bound(0.95, at_most=True) == 70
    assert size.interval == (70, 70)


def test_probability_and_bound_belong_together():
    known = ld.Measured(0.0, np.arange(100.0), "rows")
    assert known.probability(49, at_most=True) == 0.5
    assert known.probability(90, at_most=False) == 0.1
    for sure in (0.5, 0.8, 0.95):
        for at_most in (True, False):
            bound = known.bound(sure, at_most=at_most)
            assert known.probability(bound, at_most=at_most) == pytest.approx(sure)
            tighter = bound - 1 if at_most else bound + 1
            assert known.probability(tighter, at_most=at_most) < sure


def test_counted_size_is_what_is_left_in_fp32():
    size = ld.counted_size_mb(22_566_146, 10_616_832, 5_308_416)
    assert size.value == pytest.approx(4 * (22_566_146 - 5_308_416) / 1e6)
    assert size.kind == "counted"


def test_one_point_is_one_row_in_a_hundred():
    levels = scored(dense=[share_right(180)], small=[share_right(178)])
    drop = ld.score_drop("accuracy", levels["small"], levels["dense"])
    assert drop.value == pytest.approx(1.0)
    # Two rows are lost and none is won: a resample holds Poisson(2) of them, about.
    assert drop.probability(0, at_most=True) == pytest.approx(np.exp(-2), abs=0.03)
    assert drop.probability(1, at_most=True) == pytest.approx(stats.poisson.cdf(2, 2), abs=0.03)


def test_percent_is_of_the_reference():
    levels = scored(dense=[share_right(160)], small=[share_right(152)])
    drop = ld.score_drop("accuracy", levels["small"], levels["dense"], unit="percent")
    assert drop.value == pytest.approx(5.0)
    points = ld.score_drop("accuracy", levels["small"], levels["dense"])
    assert points.value == pytest.approx(4.0)


def test_with_one_seed_only_rows_count_and_it_is_said():
    one = scored(dense=[share_right(180)], small=[share_right(170)])
    assert ld.score_drop("accuracy", one["small"], one["dense"]).kind == "rows"
    several = scored(
        dense=[share_right(180)] * 2, small=[share_right(160), share_right(170), share_right(180)]
    )
    drop = ld.score_drop("accuracy", several["small"], several["dense"])
    assert drop.kind == "rows and seeds"
    mixed = ld.score_drop("accuracy", several["small"], one["dense"])
    assert mixed.kind == "rows"
    low, high = drop.interval
    assert high - low > 3 * (mixed.interval[1] - mixed.interval[0])


def test_interval_is_that_of_the_design():
    generator = np.random.default_rng(0)
    a = [frame(generator.random(500) < share) for share in (0.84, 0.86, 0.85)]
    b = [frame(generator.random(500) < share) for share in (0.90, 0.88, 0.91)]
    levels = scored(a=a, b=b)
    low, high = ld.score_drop("accuracy", levels["a"], levels["b"]).interval
    known = paired_difference("accuracy", b, a)
    # MOVER adds squares of distances, draws add draws: close, not equal.
    assert (low, high) == pytest.approx((100 * known.low, 100 * known.high), abs=0.6)


def test_probability_is_calibrated_over_rows():
    """The probability of the true drop as a limit is uniform over repetitions."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(300):
        dense = generator.random(300) < 0.85
        small = np.where(generator.random(300) < 0.15, generator.random(300) < 0.5, dense)
        true = 100 * 0.15 * (0.85 - 0.5)
        levels = scores_of("accuracy", {"a": [frame(small)], "b": [frame(dense)]}, draws=300)
        drop = ld.score_drop("accuracy", levels["a"], levels["b"])
        found.append(drop.probability(true, at_most=True))
    found = np.array(found)
    assert found.mean() == pytest.approx(0.5, abs=0.06)
    for sure in (0.1, 0.25, 0.75, 0.9):
        assert (found < sure).mean() == pytest.approx(sure, abs=0.07)


def test_probability_is_calibrated_over_seeds():
    """Where seeds are all that varies, Student's t is exact."""
    generator = np.random.default_rng(2)
    rows = "same"
    flat = np.zeros(4000)
    found = []
    for _ in range(1500):
        own, base = 0.80 + 0.02 * generator.standard_normal((2, 3))
        levels = [ld.LevelScores(s, flat + s.mean(), rows) for s in (own, base)]
        drop = ld.score_drop("accuracy", *levels)
        found.append(drop.probability(0.0, at_most=True))
    for sure in (0.05, 0.5, 0.95):
        # Welch's degrees of freedom are an approximation on the safe side.
        assert (np.array(found) < sure).mean() == pytest.approx(sure, abs=0.03)


def test_levels_of_two_calls_are_paired():
    a, b = share_right(180), share_right(170)
    together = scored(a=[a], b=[b])
    apart = scored(b=[b])
    assert (together["b"].drawn == apart["b"].drawn).all()
    assert together["a"].rows == apart["b"].rows


def test_order_of_rows_does_not_matter():
    a = share_right(150)
    shuffled = a.sample(frac=1, random_state=0)
    assert answers_of(a).rows == answers_of(shuffled).rows
    assert answers_of(a).rows != answers_of(a.assign(label=1 - a["label"])).rows


def test_other_rows_are_refused():
    levels = scored(a=[share_right(150)], b=[frame(np.ones(200), first_row=7)])
    with pytest.raises(UserError, match="other rows"):
        ld.score_drop("accuracy", levels["a"], levels["b"])
    mixed = scored(a=[share_right(150), frame(np.ones(200), first_row=7)])
    assert "different rows" in mixed["a"]


def test_level_that_does_not_fit_the_metric_spoils_no_other():
    values = share_right(150).drop(columns=["prob_0", "prob_1"]).assign(score=1.0)
    levels = scored(bad=[values], good=[share_right(150)])
    assert "needs classes" in levels["bad"]
    assert levels["good"].scores.tolist() == [0.75]
    assert list(levels) == ["bad", "good"]


def test_percent_of_nothing_is_refused():
    levels = scores_of(
        "mcc", {"a": [frame(np.arange(60) % 3 > 0)], "b": [frame(np.arange(60) % 4 > 1)]}
    )
    with pytest.raises(UserError, match="use points"):
        ld.score_drop("mcc", levels["a"], levels["b"], unit="percent")


def test_times_are_resampled_by_round():
    generator = np.random.default_rng(3)
    seconds = generator.lognormal(np.log(0.01), 0.1, 300)
    p95 = ld.p95_ms(seconds)
    assert p95.value == pytest.approx(1e3 * np.quantile(seconds, 0.95))
    assert p95.kind == "rounds"
    assert 0.3 < p95.probability(p95.value, at_most=True) < 0.7
    low, high = p95.interval
    assert low < 1e3 * 0.01 * np.exp(0.1 * stats.norm.ppf(0.95)) < high


def test_speed_up_is_the_median_of_ratios():
    dense = np.full(20, 0.02)
    pruned = np.where(np.arange(20) % 2, 0.01, 0.0125)
    found = ld.speed_up(dense, pruned)
    assert found.value == pytest.approx(np.exp(np.median(np.log(dense / pruned))))
    assert found.probability(1.0, at_most=False) == 1
    assert found.probability(2.1, at_most=False) == 0


def test_percent_varies_as_the_ratio_of_the_scores_does():
    generator = np.random.default_rng(4)
    dense = generator.random(400) < 0.6
    small = dense & (generator.random(400) < 0.7)
    levels = scored(dense=[frame(dense)], small=[frame(small)])
    found = ld.score_drop("accuracy", levels["small"], levels["dense"], unit="percent")
    # Of the rows that dense gets right, a share is lost: a binomial of its own.
    count, lost = int(dense.sum()), float(1 - small.sum() / dense.sum())
    assert found.value == pytest.approx(100 * lost)
    assert found.draws.std() == pytest.approx(100 * np.sqrt(lost * (1 - lost) / count), rel=0.1)


def test_percent_over_seeds_is_the_ratios_error():
    own, base = np.array([0.3, 0.4, 0.5]), np.array([0.70, 0.80, 0.90])
    flat = [np.full(4000, scores.mean()) for scores in (own, base)]
    levels = [ld.LevelScores(s, f, "same") for s, f in zip((own, base), flat, strict=True)]
    drop = ld.score_drop("accuracy", *levels, unit="percent")
    # Delta method: var(a / b) = var(a) / b^2 + a^2 var(b) / b^4, each of three seeds.
    error = 100 * np.sqrt(0.01 / 3 / 0.8**2 + 0.4**2 * 0.01 / 3 / 0.8**4)
    quartile = float(np.quantile(drop.draws, 0.75)) - drop.value
    assert quartile == pytest.approx(error * stats.t.ppf(0.75, 3), rel=0.08)


def test_intervals_of_levels_are_those_of_their_runs():
    generator = np.random.default_rng(4)
    a = [frame(generator.random(300) < share) for share in (0.8, 0.84, 0.86)]
    b = [frame(generator.random(300) < 0.9)]
    levels = scored(a=a, b=b)
    assert ld.level_interval("accuracy", levels["a"]) == bootstrap_interval("accuracy", a)
    assert ld.difference_interval(levels["a"], levels["b"]) == paired_difference("accuracy", a, b)
    other = scored(c=[frame(np.ones(300), first_row=1)])["c"]
    with pytest.raises(UserError, match="different rows"):
        ld.difference_interval(levels["a"], other)
