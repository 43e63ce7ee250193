"""Scores against closed forms, degenerate cases, and the texts of errors."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegates_engine.errors import UserError
from finegates_engine.metrics import METRICS, compute_metrics, evaluate_metric, score

# 4 true positives, 1 false positive, 2 false negatives, 3 true negatives
TRUE = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
SAID = [1, 1, 1, 1, 0, 0, 1, 0, 0, 0]


def test_scores_of_a_confusion_table_equal_their_formulas():
    tp, fp, fn, tn = 4, 1, 2, 3
    mcc = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert score("accuracy", SAID, TRUE) == pytest.approx(0.7)
    assert score("f1", SAID, TRUE) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert score("mcc", SAID, TRUE) == pytest.approx(mcc)


def test_correlations_equal_their_formulas():
    a, b = np.array([1.0, 2.0, 3.0, 10.0]), np.array([2.0, 1.0, 3.0, 4.0])
    centred = (a - a.mean(), b - b.mean())
    pearson = centred[0] @ centred[1] / np.linalg.norm(centred[0]) / np.linalg.norm(centred[1])
    assert score("pearson", a, b) == pytest.approx(pearson)
    # ranks 1 2 3 4 and 2 1 3 4: 1 - 6 * (1 + 1) / (4 * 15)
    assert score("spearman", a, b) == pytest.approx(0.8)


def test_ties_share_their_mean_rank_in_spearman():
    # ranks 1.5 1.5 3 against 1 2 3
    assert score("spearman", [5, 5, 9], [1, 2, 3]) == pytest.approx(np.sqrt(0.75))


def test_f1_is_that_of_class_one_and_not_of_class_zero():
    flipped = score("f1", [1 - x for x in SAID], [1 - x for x in TRUE])
    assert flipped == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert flipped != pytest.approx(score("f1", SAID, TRUE))


@pytest.mark.parametrize("name", ["mcc", "pearson", "spearman"])
@pytest.mark.parametrize(("said", "true"), [([1, 1, 1], [0, 1, 0]), ([0, 1, 0], [1, 1, 1])])
def test_a_constant_has_correlation_zero(name, said, true):
    assert score(name, said, true) == 0.0


def test_f1_without_any_positive_is_zero():
    assert score("f1", [0, 0], [0, 0]) == 0.0


def test_largest_output_is_the_prediction():
    outputs = [[0.1, 0.7, 0.2], [5.0, -1.0, 4.0], [0.0, 0.0, 1.0]]
    assert compute_metrics(["accuracy"], outputs, [1, 0, 1]) == {"accuracy": pytest.approx(2 / 3)}


def test_regression_takes_one_column_or_none():
    labels = [0.0, 1.0, 3.0]
    flat = compute_metrics(["pearson", "spearman"], [1.0, 2.0, 3.0], labels)
    assert flat == compute_metrics(["pearson", "spearman"], [[1.0], [2.0], [3.0]], labels)
    assert list(flat) == ["pearson", "spearman"]
    assert flat["spearman"] == pytest.approx(1.0)


def test_pearson_of_nearly_constant_fp32_outputs_keeps_its_digits():
    generator = np.random.default_rng(0)
    outputs = (1000 + 1e-3 * generator.normal(size=500)).astype(np.float32)
    labels = generator.normal(size=500).astype(np.float32)
    truth = np.corrcoef(outputs.astype(np.float64), labels.astype(np.float64))[0, 1]
    # 0.0061805; in fp32 SciPy gives 0.0061785
    assert score("pearson", outputs, labels) == pytest.approx(truth, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_binary_scores_stay_in_their_range_and_mcc_is_the_correlation(rows):
    said, true = np.array(rows).T
    assert 0 <= score("accuracy", said, true) <= 1
    assert 0 <= score("f1", said, true) <= 1
    assert score("mcc", said, true) == pytest.approx(score("pearson", said, true), abs=1e-9)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_says_how_it_is_read(name):
    spec = METRICS[name]
    assert spec.label
    assert spec.unit
    assert (spec.better, spec.point) == ("higher", 0.01)
    perfect = [0, 1, 1, 0]
    assert score(name, perfect, perfect) == pytest.approx(1.0)


def test_unknown_metric_is_named_with_the_known_ones():
    with pytest.raises(UserError, match=r"Unknown metric 'acuracy'. Choose from: accuracy, f1,"):
        score("acuracy", [1], [1])
    with pytest.raises(UserError, match="Unknown metric 'rouge'"):
        compute_metrics(["rouge"], [[0.0, 1.0]], [1])
    with pytest.raises(UserError, match="Unknown metric 'rouge'"):
        evaluate_metric("rouge")


def test_unequal_lengths_and_no_rows_are_refused():
    with pytest.raises(UserError, match=r"got shapes \(2,\) and \(3,\)"):
        score("accuracy", [1, 0], [1, 0, 1])
    with pytest.raises(UserError, match=r"at least 1: got shapes \(0,\)"):
        score("accuracy", [], [])


def test_outputs_that_are_not_finite_give_no_score():
    with pytest.raises(UserError, match=r"1 of 4 outputs are not finite.*lower its learning"):
        compute_metrics(["accuracy"], [[0.0, np.nan], [1.0, 0.0]], [0, 0])
    with pytest.raises(UserError, match="1 of 2 predictions are not finite"):
        score("pearson", [np.inf, 1.0], [1.0, 2.0])


def test_metric_that_does_not_fit_the_outputs_is_refused():
    with pytest.raises(UserError, match=r"'accuracy' needs.*\(rows, classes\).*pearson, spearman"):
        compute_metrics(["accuracy"], [0.5, 0.1], [1.0, 2.0])
    with pytest.raises(UserError, match=r"'pearson' needs outputs of shape \(rows,\)"):
        compute_metrics(["pearson"], [[0.5, 0.1], [0.1, 0.5]], [1, 2])


def test_f1_of_three_classes_is_refused():
    with pytest.raises(UserError, match=r"classes \[0, 1, 2\]. Use accuracy or mcc"):
        score("f1", [0, 1, 2], [0, 1, 2])


def test_evaluate_objects_give_the_same_scores_without_a_network():
    for name, said, true in [
        ("mcc", SAID, TRUE),
        ("pearson", [0.5, 1.5, 4.0], [1.0, 2.0, 3.0]),
    ]:
        metric = evaluate_metric(name)
        assert metric.compute(predictions=said, references=true) == {name: score(name, said, true)}
        metric.add_batch(predictions=said[:2], references=true[:2])
        metric.add_batch(predictions=said[2:], references=true[2:])
        assert metric.compute() == {name: pytest.approx(score(name, said, true))}


def test_scores_import_neither_torch_nor_evaluate():
    code = (
        "import sys; import finegates_engine.metrics as m; light = set(sys.modules); "
        "m.score('mcc', [0, 1], [0, 1]); m.score('pearson', [0, 1], [0, 1]); "
        "assert not {'sklearn', 'scipy'} & light; "
        "assert not {'torch', 'evaluate', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
