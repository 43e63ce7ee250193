"""Intervals against closed forms and simulated coverage; agreement of gates by hand."""

import numpy as np
import pandas as pd
import pytest

from finegates_engine.analysis.intervals import (
    bootstrap_interval,
    chance_jaccard,
    gate_jaccard,
    nested,
    paired_difference,
    student_t_quantile,
)
from finegates_engine.errors import UserError
from finegates_engine.metrics import METRICS, score


def make_frame(hits):
    """Predictions of two classes that are right where `hits` is True; labels alternate."""
    label = np.arange(len(hits)) % 2
    predicted = np.where(hits, label, 1 - label)
    return pd.DataFrame(
        {
            "row_id": np.arange(len(hits)),
            "text_hash": [f"{row:x}" for row in range(len(hits))],
            "label": label,
            "split": "validation",
            "prob_0": 1.0 - predicted,
            "prob_1": predicted * 1.0,
        }
    )


def make_values(values, label):
    frame = make_frame(np.ones(len(values), bool)).drop(columns=["prob_0", "prob_1"])
    return frame.assign(score=values, label=label)


def hits(rows, share, seed=0):
    return np.random.default_rng(seed).random(rows) < share


def test_interval_of_one_seed_is_the_binomial_one_and_labelled_so():
    right = np.arange(1000) < 800
    interval = bootstrap_interval("accuracy", [make_frame(right)])
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert interval.mean == pytest.approx(0.8)
    assert interval.low == pytest.approx(0.8 - half, abs=0.003)
    assert interval.high == pytest.approx(0.8 + half, abs=0.003)
    assert (interval.seeds, interval.kind) == (1, "rows")


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_mean_is_the_mean_of_the_scores_over_seeds(metric):
    generator = np.random.default_rng(0)
    if METRICS[metric].needs == "values":
        label = generator.random(50)
        frames = [make_values(label + generator.standard_normal(50), label) for _ in range(3)]
        scores = [score(metric, frame["score"], frame["label"]) for frame in frames]
    else:
        frames = [make_frame(hits(50, 0.7, seed)) for seed in range(3)]
        scores = [score(metric, frame["prob_1"].astype(int), frame["label"]) for frame in frames]
    interval = bootstrap_interval(metric, frames)
    assert interval.mean == pytest.approx(np.mean(scores))
    assert interval.low < interval.mean < interval.high
    assert (interval.seeds, interval.kind) == (3, "rows and seeds")


def test_seeds_widen_the_interval_by_students_t():
    # Perfect on all rows or wrong on 20 of them: 0.9 and 1.0; t(1 degree of freedom) = 12.706.
    frames = [make_frame(np.arange(200) >= 20), make_frame(np.ones(200, bool))]
    interval = bootstrap_interval("accuracy", frames)
    seeds = 12.7062 * np.std([0.9, 1.0], ddof=1) / np.sqrt(2)
    rows = 1.96 * np.sqrt(0.1 * 0.9 / 200) / 2  # the mean of a perfect seed and this one
    assert interval.mean - interval.low == pytest.approx(np.hypot(seeds, rows), rel=0.01)


def test_equal_seeds_add_nothing_to_the_rows():
    frame = make_frame(hits(300, 0.8))
    one, three = (bootstrap_interval("accuracy", [frame] * n) for n in (1, 3))
    assert (three.low, three.high) == pytest.approx((one.low, one.high))


def test_difference_of_a_method_to_itself_is_zero_without_width():
    frames = [make_frame(hits(200, 0.8))]
    interval = paired_difference("mcc", frames, frames)
    assert (interval.low, interval.mean, interval.high) == (0, 0, 0)
    assert not interval.excludes_zero


def test_pairing_of_rows_finds_a_difference_that_two_intervals_hide():
    a, b = np.arange(1000) < 800, np.arange(1000) < 785
    one, other = (bootstrap_interval("accuracy", [make_frame(x)]) for x in (a, b))
    assert one.low < other.high
    interval = paired_difference("accuracy", [make_frame(a)], [make_frame(b)])
    assert interval.mean == pytest.approx(0.015)
    assert interval.excludes_zero
    assert interval.low > 0
    assert interval.high - interval.mean == pytest.approx(
        1.96 * np.sqrt(0.015 * 0.985 / 1000), abs=0.002
    )
    back = paired_difference("accuracy", [make_frame(b)], [make_frame(a)])
    assert back.excludes_zero
    assert back.high < 0


def test_difference_with_one_seed_on_one_side_is_of_rows_only():
    frames = [make_frame(hits(100, 0.8, seed)) for seed in range(3)]
    interval = paired_difference("accuracy", frames, frames[:1])
    assert (interval.seeds, interval.kind) == (1, "rows")
    assert paired_difference("accuracy", frames, frames[:2]).kind == "rows and seeds"


@pytest.mark.slow
def test_interval_holds_the_true_score_about_as_often_as_it_says():
    """Seeds differ (sd 0.03) and rows are few: 95% within Monte Carlo error, never far below."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        difficulty = generator.uniform(-0.3, 0.3, 200)
        frames = []
        for _ in range(4):
            share = np.clip(0.7 + difficulty + generator.normal(0, 0.03), 0, 1)
            frames.append(make_frame(generator.random(200) < share))
        interval = bootstrap_interval("accuracy", frames, draws=400)
        held += interval.low <= 0.7 <= interval.high
    assert 0.93 <= held / 300 <= 1.0


def test_same_call_gives_the_same_interval():
    frames = [make_frame(hits(100, 0.8, seed)) for seed in range(2)]
    assert bootstrap_interval("f1", frames) == bootstrap_interval("f1", frames)


def test_order_of_rows_does_not_matter():
    frame = make_frame(hits(100, 0.8))
    shuffled = frame.sample(frac=1, random_state=0)
    difference = paired_difference("accuracy", [frame], [shuffled])
    assert (difference.low, difference.high) == (0, 0)


def test_draws_of_many_rows_are_made_in_blocks_of_any_size(monkeypatch):
    from finegates_engine.analysis import intervals as analysis

    frames = [make_frame(hits(60, 0.8))]
    whole = bootstrap_interval("accuracy", frames)
    monkeypatch.setattr(analysis, "BLOCK_CELLS", 60 * 7)
    blocks = bootstrap_interval("accuracy", frames)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=0.02)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda f: bootstrap_interval("auc", [f]), "Unknown metric 'auc'"),
        (lambda f: bootstrap_interval("accuracy", []), "at least one draw, and one run on each"),
        (lambda f: bootstrap_interval("pearson", [f]), "'pearson' needs values, these predictio"),
        (lambda f: bootstrap_interval("accuracy", [f, f.iloc[1:]]), "different evaluation rows"),
        (
            lambda f: paired_difference("accuracy", [f], [f.assign(text_hash="x")]),
            "different evaluation rows",
        ),
        (
            lambda f: bootstrap_interval("accuracy", [f.assign(split=["a", "b"] * (len(f) // 2))]),
            "of one validation split",
        ),
    ],
)
def test_predictions_that_cannot_be_compared_are_refused(call, text):
    with pytest.raises(UserError, match=text):
        call(make_frame(hits(20, 0.8)))


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 4, 9, 30, 500])
@pytest.mark.parametrize("probability", [0.5, 0.75, 0.9, 0.975, 0.995])
def test_quantile_is_that_of_students_t(freedom, probability):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.t.ppf(probability, freedom)
    assert student_t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def masks(*kept):
    return {f"gate{k}": np.array(values, bool) for k, values in enumerate(kept)}


def test_jaccard_is_kept_in_both_over_kept_in_either():
    a, b = masks([1, 1, 0, 0], [1, 0]), masks([1, 0, 1, 0], [1, 0])
    assert gate_jaccard(a, b) == 2 / 4
    assert gate_jaccard(a, a) == 1
    assert np.isnan(gate_jaccard(masks([0, 0]), masks([0, 0])))


def test_chance_is_what_random_gates_reach():
    generator = np.random.default_rng(0)

    def random():
        return {"a": generator.permutation(np.arange(400) < 240), "b": np.ones(50, bool)}

    found = np.mean([gate_jaccard(random(), random()) for _ in range(200)])
    assert chance_jaccard(random(), random()) == pytest.approx(found, abs=0.005)


def test_nested_means_that_closed_stays_closed():
    low, high = masks([1, 1, 0]), masks([1, 0, 0])
    assert nested(low, high)
    assert nested(low, low)
    assert not nested(high, low)


def test_runs_with_other_gates_are_not_compared():
    for function in (gate_jaccard, chance_jaccard, nested):
        with pytest.raises(UserError, match="same gates can be compared; these differ in 'gate1'"):
            function(masks([1, 0], [1]), masks([1, 0]))


def test_no_interval_of_a_score_leaves_what_the_metric_can_be() -> None:
    frames = [make_frame(np.arange(40) >= wrong) for wrong in (0, 0, 12)]
    found = bootstrap_interval("accuracy", frames)
    assert 0 < found.low < found.mean < found.high == 1.0
