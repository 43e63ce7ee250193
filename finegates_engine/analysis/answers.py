"""What a run answered on the rows of one split: arrays in one order, and whose rows they are."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from finegates_engine.errors import UserError
from finegates_engine.metrics import METRICS
from finegates_engine.results import check_predictions, probability_columns


@dataclass(frozen=True, eq=False)
class Answers:
    """One prediction table of one split, rows by row_id."""

    rows: str
    """Which evaluation rows: hash of their ids, texts and labels."""

    true: NDArray[Any]
    """(rows,): class indices or values."""

    given: NDArray[Any]
    """(rows,): the likeliest class, or the value."""

    kind: Literal["classes", "values"]
    """What was predicted."""


def answers_of(frame: pd.DataFrame) -> Answers:
    """The answers of a prediction table (`StoredRun.predictions`, one split).

    Raises UserError for several splits or none, and for a table that is none of predictions.
    """
    try:
        check_predictions(frame)
        return _answers(frame)
    except (ValueError, TypeError) as error:
        raise UserError(f"The table is none of predictions: {error}.") from error


def _answers(frame: pd.DataFrame) -> Answers:
    if frame["split"].nunique() != 1:
        raise UserError("An interval is of the rows of one validation split, and not of none.")
    if not frame["row_id"].is_monotonic_increasing:
        frame = frame.sort_values("row_id", ignore_index=True)
    columns = probability_columns(frame)
    if columns:
        given: NDArray[Any] = frame[columns].to_numpy().argmax(axis=1).astype(np.int32)
    else:
        given = frame["score"].to_numpy(dtype=np.float64)
    return Answers(
        rows_hash(frame), frame["label"].to_numpy(), given, "classes" if columns else "values"
    )


def rows_hash(frame: pd.DataFrame) -> str:
    """Which rows a prediction table of one split is of, in the order of the table."""
    digest = hashlib.sha256(frame["row_id"].to_numpy(np.int64).tobytes())
    digest.update(frame["label"].to_numpy(np.float64).tobytes())
    # By way of Arrow: pandas makes a Python string of each row, one at a time.
    digest.update("\n".join(pa.array(frame["text_hash"]).to_pylist()).encode())
    return digest.hexdigest()[:16]


def given_for(metric: str, answers: Answers) -> NDArray[Any]:
    """What a metric scores. Raises UserError where it needs the other kind."""
    if METRICS[metric].needs != answers.kind:
        raise UserError(
            f"Metric {metric!r} needs {METRICS[metric].needs}, these predictions have "
            f"{answers.kind}."
        )
    return answers.given
