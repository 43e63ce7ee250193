"""Answers are those of the table, whatever its order."""

import numpy as np
import pandas as pd
import pytest

from finegates_engine.analysis.answers import answers_of, given_for
from finegates_engine.errors import UserError


def table(**changes) -> pd.DataFrame:
    plain = {
        "row_id": [0, 1, 2],
        "text_hash": ["a", "b", "c"],
        "label": [0, 1, 1],
        "split": "validation",
        "prob_0": [0.9, 0.2, 0.6],
        "prob_1": [0.1, 0.8, 0.4],
    }
    return pd.DataFrame(plain | changes)


def test_likeliest_class_is_what_was_answered_in_order_of_rows():
    answers = answers_of(table().iloc[::-1])
    assert answers.given.tolist() == [0, 1, 0]
    assert answers.true.tolist() == [0, 1, 1]
    assert answers.kind == "classes"


def test_values_are_answered_as_they_are():
    values = table(score=[0.5, 1.5, 2.5]).drop(columns=["prob_0", "prob_1"])
    answers = answers_of(values)
    np.testing.assert_array_equal(given_for("pearson", answers), [0.5, 1.5, 2.5])
    with pytest.raises(UserError, match="'accuracy' needs classes, these predictions have values"):
        given_for("accuracy", answers)


@pytest.mark.parametrize("changes", [{"row_id": [0, 1, 3]}, {"text_hash": list("abd")}])
def test_other_rows_have_another_hash(changes):
    assert answers_of(table()).rows == answers_of(table(prob_0=[0.0, 0.0, 0.0])).rows
    assert answers_of(table()).rows != answers_of(table(**changes)).rows


@pytest.mark.parametrize(
    "broken",
    [
        table().drop(columns="label"),
        table(label=["x", "y", "z"]),
        table(row_id=[0, 0, 1]),
        table(text_hash=[1, 2, 3]),
    ],
)
def test_table_that_is_none_of_predictions_is_said(broken):
    with pytest.raises(UserError, match="none of predictions"):
        answers_of(broken)
