"""A result keeps its promises: strict JSON, parts that fit, masks from final gate values."""

import json

import numpy as np
import pandas as pd
import pytest
from run_examples import make_predictions, make_result

from finegates_engine.results import (
    RECORD,
    GateHistory,
    check_predictions,
    gate_masks,
    probability_columns,
)


def test_record_survives_the_trip_through_json():
    record = make_result().record({})
    text = json.dumps(RECORD.dump_python(record, mode="json"), allow_nan=False)
    assert RECORD.validate_json(text, strict=True) == record


def test_undefined_score_is_none_and_not_a_number_in_json():
    result = make_result(metrics={"validation": {"accuracy": float("nan"), "mcc": 0.5}})
    assert result.metrics == {"validation": {"accuracy": None, "mcc": 0.5}}
    assert result.score is None
    assert json.loads(RECORD.dump_json(result.record({})))["metrics"]["validation"] == {
        "accuracy": None,
        "mcc": 0.5,
    }


def test_infinite_score_is_refused():
    with pytest.raises(ValueError, match="finite"):
        make_result(metrics={"validation": {"accuracy": float("inf")}})


def test_headline_must_be_among_the_metrics():
    assert make_result().score == 0.75
    with pytest.raises(ValueError, match="metrics have no 'f1' for split 'validation'"):
        make_result(headline="f1")


def test_unknown_kind_of_trained_parameters_is_refused():
    from dataclasses import replace

    with pytest.raises(ValueError, match="trained_parameters"):
        replace(make_result().costs, trained_parameters={"everything": 1})


def test_masks_are_true_where_the_final_value_is_above_zero():
    masks = gate_masks(make_result().adapter)
    assert list(masks) == ["0/ffn"]
    assert masks["0/ffn"].tolist() == [False] * 4 + [True] * 6
    soft = gate_masks({"gate_values.a": np.array([0.0, 1e-6, 1.0], np.float32)})
    assert soft["a"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("adapter", "text"),
    [
        ({"weights.a": np.zeros(2)}, "'weights.a' must begin with one of gates., gate_values."),
        ({"gates.a": np.zeros(2)}, "'gates.a' has no final values"),
        ({"gates.a": np.zeros(2), "gate_values.a": np.zeros(3)}, "no final values of its shape"),
        ({"gate_values.a": np.array([0.5, 1.5])}, r"'gate_values.a' must be in \[0, 1\]"),
        ({"gate_values.a": np.array([np.nan])}, r"must be in \[0, 1\]"),
    ],
)
def test_adapter_with_wrong_parts_is_refused(adapter, text):
    with pytest.raises(ValueError, match=text):
        make_result(adapter=adapter)


def test_random_gates_need_no_learned_location():
    assert make_result(adapter={"gate_values.a": np.ones(2)}).adapter


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f.drop(columns="text_hash"), r"need the columns \['text_hash'\]"),
        (lambda f: f.drop(columns=["prob_0", "prob_1"]), "need prob_0.. or score"),
        (lambda f: f.rename(columns={"prob_1": "prob_2"}), "without a gap"),
        (lambda f: f.assign(label=[np.nan] * len(f)), "no missing values"),
        (lambda f: pd.concat([f, f]), "a row_id twice in one split"),
    ],
)
def test_predictions_of_a_wrong_form_are_refused(change, text):
    with pytest.raises(ValueError, match=text):
        check_predictions(change(make_predictions()))


def test_the_same_row_may_be_in_two_splits():
    check_predictions(pd.concat([make_predictions(split="a"), make_predictions(split="b")]))


def test_probabilities_come_in_the_order_of_the_classes():
    frame = pd.DataFrame({f"prob_{k}": [0.1] for k in [10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9]})
    assert probability_columns(frame)[-2:] == ["prob_9", "prob_10"]


def test_gate_history_has_at_most_32_frames_in_rising_order():
    frames = np.zeros((33, 2), np.uint8)
    assert len(GateHistory(np.arange(32), {"a": frames[:32]}).steps) == 32
    with pytest.raises(ValueError, match="steps must rise and be 1 to 32"):
        GateHistory(np.arange(33), {"a": frames})
    with pytest.raises(ValueError, match="steps must rise"):
        GateHistory(np.array([5, 5]), {"a": frames[:2]})
    with pytest.raises(ValueError, match=r"'a' must be uint8 of shape \(2, size\), got float64"):
        GateHistory(np.arange(2), {"a": np.zeros((2, 3))})
