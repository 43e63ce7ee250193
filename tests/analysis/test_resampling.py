"""Scores of resamples are those of the same rows written out, computed by `metrics.score`."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegates_engine.analysis.resampling import resampled_counts, weighted_score
from finegates_engine.errors import UserError
from finegates_engine.metrics import METRICS, score


def make_case(metric, rows, seed):
    generator = np.random.default_rng(seed)
    if METRICS[metric].needs == "values":
        true = generator.integers(0, 6, rows) / 1.0  # ties, as in STS-B's labels
        return true + generator.standard_normal(rows).round(1), true
    classes = 3 if metric in ("accuracy", "mcc") and seed % 2 else 2
    return generator.integers(0, classes, rows), generator.integers(0, classes, rows)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(METRICS)), st.integers(2, 30), st.integers(0, 10_000))
def test_score_of_counted_rows_is_the_score_of_the_rows_written_out(metric, rows, seed):
    predicted, true = make_case(metric, rows, seed)
    counts = resampled_counts(np.random.default_rng(seed), 5, rows)
    (values,) = weighted_score(metric, predicted[None], true, counts)
    for value, count in zip(values, counts.astype(int), strict=True):
        drawn = np.repeat(np.arange(rows), count)
        assert value == pytest.approx(score(metric, predicted[drawn], true[drawn]), abs=1e-9)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_tables_are_scored_together_as_each_alone(metric):
    tables = [make_case(metric, 40, seed)[0] for seed in (0, 2, 4)]
    true = make_case(metric, 40, 0)[1]
    counts = resampled_counts(np.random.default_rng(0), 20, 40)
    together = weighted_score(metric, np.stack(tables), true, counts)
    for table, values in zip(tables, together, strict=True):
        alone = weighted_score(metric, table[None], true, counts)[0]
        np.testing.assert_allclose(values, alone, atol=1e-12)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_constant_predictions_score_as_the_metric_says(metric):
    true = np.array([0, 1, 1, 0, 1])
    for constant in (0, 1):
        predicted = np.full(5, constant)
        value = weighted_score(metric, predicted[None], true, np.ones((1, 5)))[0, 0]
        assert value == pytest.approx(score(metric, predicted, true), abs=1e-12)


def test_each_resample_has_as_many_rows_as_there_are_and_rows_are_drawn_alike():
    counts = resampled_counts(np.random.default_rng(0), 4000, 7)
    assert (counts.sum(axis=1) == 7).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(counts.var(axis=0), 6 / 7, atol=0.06)  # binomial(7, 1/7)


def test_unknown_metric_and_other_classes_for_f1_are_refused():
    ones = np.ones((1, 2))
    with pytest.raises(UserError, match=r"Unknown metric 'auc'. Choose from: accuracy, f1, mcc"):
        weighted_score("auc", np.zeros((1, 2)), np.zeros(2), ones)
    with pytest.raises(UserError, match="class 1 of two classes"):
        weighted_score("f1", np.array([[0, 2]]), np.array([0, 1]), ones)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_two_thousand_draws_of_cola_take_less_than_a_second(metric):
    predicted, true = make_case(metric, 1043, 0)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        counts = resampled_counts(np.random.default_rng(0), 2000, 1043)
        weighted_score(metric, predicted[None], true, counts)
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0
