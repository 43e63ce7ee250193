"""Levels, the Pareto front, and names of what is missing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_examples import make_config, make_result

from finegates_engine.analysis.tradeoff import (
    curve_levels,
    is_baseline,
    largest_share,
    missing_levels,
    on_shared_seeds,
    pareto_front,
    quantities,
    quantity,
    representative,
    share_words,
)
from finegates_engine.analysis.variants import curve_rows
from finegates_engine.config import RunConfig, TaskConfig
from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25)


@pytest.fixture
def rows(tmp_path):
    store = RunStore(tmp_path)
    for seed in (0, 1):
        for target in (0.1, 0.4):
            store.save(make_result(make_config(target=target, seed=seed)))
    store.save(make_result(RunConfig(task=TaskConfig(name="agreement"), method="full")))
    return curve_rows(store.frame())


def test_front_of_four_points_by_hand():
    x, y = [0.0, 0.5, 0.5, 0.7], [0.9, 0.9, 0.8, 0.85]
    front = pareto_front(x, y, x_better="higher", y_better="higher")
    assert front.tolist() == [False, True, False, True]
    cheap = pareto_front(x, y, x_better="lower", y_better="higher")
    assert cheap.tolist() == [True, False, False, False]


@given(points=POINTS)
def test_front_is_what_no_other_point_dominates(points):
    x, y = np.array(points, dtype=float).T
    front = pareto_front(x, y, x_better="higher", y_better="lower")
    for i in range(len(x)):
        better = (x >= x[i]) & (y <= y[i]) & ((x > x[i]) | (y < y[i]))
        assert front[i] == (not better.any())


def test_missing_value_is_not_on_the_front_and_hides_nothing():
    front = pareto_front([0.5, 0.4], [np.nan, 0.8], x_better="higher", y_better="higher")
    assert front.tolist() == [False, True]


def test_level_is_the_mean_over_its_seeds(rows):
    levels = curve_levels(rows.assign(**{"metrics.validation.accuracy": np.arange(len(rows))}))
    gated = levels[levels["method"] == "finegates"]
    assert gated["seeds"].tolist() == [2, 2]
    for _, level in gated.iterrows():
        runs = rows[rows["run_id"].isin(level["run_ids"])]
        assert level["metrics.validation.accuracy"] == runs.index.to_numpy().mean()
        assert runs["seed"].tolist() == [0, 1]


def test_method_that_removes_nothing_is_a_baseline(rows):
    levels = curve_levels(
        rows.assign(folded_encoder_fraction=np.where(rows["method"] == "full", 0.0, 0.4))
    )
    assert is_baseline(levels).tolist() == (levels["method"] == "full").tolist()


def test_finegates_with_nothing_removed_is_no_baseline(rows):
    levels = curve_levels(rows.assign(folded_encoder_fraction=0.0))
    assert is_baseline(levels).tolist() == (levels["method"] == "full").tolist()


def levels_frame(**columns):
    plain = {"target_unit": "encoder_weights", "gated_weights": 90, "encoder_weights": 90}
    return pd.DataFrame(plain | columns)


def test_gaps_are_named():
    levels = levels_frame(
        curve=[0, 0, 1, 1],
        target=[0.3, 0.5, 0.3, 0.4],
        folded_encoder_fraction=[0.3, 0.5, 0.3, 0.33],
        gated_weights=[90, 90, 30, 30],
    )
    gaps = missing_levels(levels)
    assert gaps[0] == {0.4: "not trained"}
    assert gaps[1] == {0.4: "asked 40%, reached 33%", 0.5: "out of reach, at most 33%"}
    assert largest_share(levels.iloc[2]) == pytest.approx(1 / 3)


def test_targets_in_gates_are_not_compared_with_those_in_weights():
    levels = levels_frame(
        curve=[0, 1],
        target=[0.3, 0.5],
        folded_encoder_fraction=[0.3, 0.7],
        target_unit=["encoder_weights", "gates"],
    )
    assert missing_levels(levels) == {}


def test_quantities_are_those_with_a_value(rows):
    assert quantities(rows, kind="rungs")[:2] == ["target", "gate_sparsity"]
    assert "latency_ms" not in quantities(rows, kind="rungs")
    assert quantities(rows, kind="scores") == [
        "metrics.validation.accuracy",
        "metrics.validation.mcc",
    ]
    assert "peak_memory_bytes" not in quantities(rows, kind="costs")


@pytest.mark.parametrize(
    ("column", "title", "better"),
    [
        ("latency_ms", "Latency of one call (ms)", "lower"),
        ("metrics.validation.mcc", "Matthews corr. (-1 to 1)", "higher"),
        ("metrics.validation_matched.accuracy", "Accuracy on matched (", "higher"),
        ("seconds_total", "Training time (s)", "lower"),
    ],
)
def test_axis_of_a_quantity_has_its_unit(column, title, better):
    assert quantity(column).axis_title.startswith(title)
    assert quantity(column).better == better


def test_unknown_quantity_is_a_users_error():
    with pytest.raises(UserError, match="'commit' is not something"):
        quantity("commit")


def test_representative_run_is_nearest_to_the_mean():
    assert representative(["a", "b", "c"], [0.1, 0.5, 0.6]) == "b"


@pytest.mark.parametrize(
    ("share", "words"), [(0.503, "Half"), (0.332, "A third"), (0.47, "47%"), (0.0, "0%")]
)
def test_shares_as_people_say_them(share, words):
    assert share_words(share) == words


def test_levels_are_compared_on_the_seeds_that_both_have():
    seeds = {"a0": 0, "a1": 1, "a2": 2, "b1": 1, "b0": 0, "c5": 5}
    assert on_shared_seeds(["a0", "a1", "a2"], ["b1"], seeds) == (("a1",), ("b1",))
    assert on_shared_seeds(["a0", "a2"], ["b1", "b0"], seeds) == (("a0",), ("b0",))
    assert on_shared_seeds(["a0", "a1"], ["c5"], seeds) == (("a0", "a1"), ("c5",))
