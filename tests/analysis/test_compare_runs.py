import numpy as np
import pandas as pd
import pytest
from run_examples import make_predictions

from finegates_engine.analysis.compare_runs import (
    BOTH_RIGHT,
    BOTH_WRONG,
    LOST,
    WON,
    compare_predictions,
    differing_settings,
    gate_differences,
    layer_agreement,
    mcnemar,
)
from finegates_engine.errors import UserError


def predictions(said, label) -> pd.DataFrame:
    """Two classes; `said` is the probability of class 1."""
    said = np.asarray(said, float)
    plain = make_predictions(len(said))
    return plain.assign(label=label, prob_0=1 - said, prob_1=said)


LABEL = [1, 1, 0, 0]
LARGER = predictions([0.9, 0.8, 0.7, 0.6], LABEL)
SMALLER = predictions([0.6, 0.3, 0.2, 0.9], LABEL)


def test_every_row_is_lost_won_or_the_same():
    found = compare_predictions("accuracy", LARGER, SMALLER)
    assert found.rows["change"].tolist() == [BOTH_RIGHT, LOST, WON, BOTH_WRONG]
    assert [found.count(change) for change in (LOST, WON, BOTH_WRONG, BOTH_RIGHT)] == [1, 1, 1, 1]
    assert found.rows["larger_sure"].tolist() == pytest.approx([0.9, 0.8, 0.3, 0.4])
    assert found.rows["smaller_sure"].tolist() == pytest.approx([0.6, 0.3, 0.8, 0.1])
    assert found.difference.mean == 0
    perfect = compare_predictions("accuracy", LARGER, predictions(LABEL, LABEL))
    assert perfect.difference.mean == pytest.approx(0.5)


def test_order_of_the_rows_does_not_matter():
    shuffled = SMALLER.sample(frac=1, random_state=1)
    rows = compare_predictions("accuracy", LARGER, shuffled).rows
    assert rows.equals(compare_predictions("accuracy", LARGER, SMALLER).rows)


def test_sides_exchanged_exchange_lost_and_won():
    there = compare_predictions("accuracy", LARGER, SMALLER.assign(prob_1=0.9, prob_0=0.1))
    back = compare_predictions("accuracy", SMALLER.assign(prob_1=0.9, prob_0=0.1), LARGER)
    assert (there.test.lost, there.test.won) == (back.test.won, back.test.lost)
    assert there.difference.mean == -back.difference.mean


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 2**5), (1, 9, 2 * (1 + 10) / 2**10), (9, 1, 22 / 2**10)],
)
def test_mcnemar_is_the_sign_test(lost, won, p):
    assert mcnemar(lost, won).p_value == pytest.approx(p)


def test_mcnemar_differs_below_five_percent():
    assert mcnemar(1, 9).differ
    assert not mcnemar(2, 8).differ
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar(-1, 2)


def test_mcnemar_is_valid_where_both_are_equally_good():
    generator = np.random.default_rng(0)
    lost = generator.binomial(40, 0.5, 2000)
    said = np.mean([mcnemar(int(n), 40 - int(n)).differ for n in lost])
    assert 0.01 < said <= 0.05


def test_values_are_compared_by_their_distance_from_the_label():
    plain = LARGER.drop(columns=["prob_0", "prob_1"]).assign(label=[0.0, 1.0, 2.0, 4.0])
    larger = plain.assign(score=[0.5, 1.0, 2.0, 3.0])
    smaller = plain.assign(score=[0.0, 3.0, 2.5, 4.5])
    found = compare_predictions("pearson", larger, smaller)
    assert not found.classes
    assert found.rows["worse"].tolist() == pytest.approx([-0.5, 2.0, 0.5, -0.5])
    assert found.rows["change"].isna().all()


def test_other_rows_and_other_metrics_are_refused():
    with pytest.raises(UserError, match="different evaluation rows"):
        compare_predictions("accuracy", LARGER, SMALLER.assign(label=1))
    with pytest.raises(UserError, match="needs values"):
        compare_predictions("pearson", LARGER, SMALLER)


def test_label_that_no_class_has_is_wrong_on_both_sides():
    odd = [LARGER.assign(label=[7, 1, 0, 0]), SMALLER.assign(label=[7, 1, 0, 0])]
    rows = compare_predictions("accuracy", *odd).rows
    assert rows["change"][0] == BOTH_WRONG
    assert rows["larger_sure"][0] == 0


A = {"0/ffn": np.array([1, 1, 0, 0], bool), "1/ffn": np.array([1, 1, 1, 0], bool)}
B = {"0/ffn": np.array([1, 0, 1, 0], bool), "1/ffn": np.array([1, 1, 1, 0], bool)}


def test_gates_differ_by_layer():
    table = gate_differences(A, B)
    assert table["layer"].tolist() == [1, 2]
    assert table["kept_both"].tolist() == [1, 3]
    assert table["jaccard"].tolist() == pytest.approx([1 / 3, 1.0])
    layers = layer_agreement(A, B)
    assert layers["jaccard"].tolist() == pytest.approx([1 / 3, 1.0])
    assert layers["chance"].tolist() == pytest.approx([1 / 3, 2.25 / 3.75])


def test_runs_without_gates_or_with_others_are_refused():
    with pytest.raises(UserError, match="both runs have gates"):
        gate_differences(A, {})
    with pytest.raises(UserError, match="same gates"):
        gate_differences(A, {"0/ffn": B["0/ffn"]})


def test_settings_that_differ_are_named_with_both_values():
    a = {"seed": 0, "gates": {"axes": "inner", "target": 0.3}, "same": 1}
    b = {"seed": 1, "gates": {"axes": "all", "target": 0.5}, "same": 1, "new": 2}
    found = differing_settings(a, b, ignore=["gates.target"])
    assert found == {"seed": (0, 1), "gates.axes": ("inner", "all"), "new": (None, 2)}
    assert differing_settings(a, a) == {}
