"""Scores on many resamples of the rows at once: metrics of weighted rows. No torch.

A resample is a row of `weights`: how often each evaluation row was drawn. With weights of 1 each
statistic is the score of `metrics.score`, its conventions for undefined scores included.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from finegates_engine.errors import UserError, unknown

Floats = NDArray[np.float64]
Values = NDArray[np.generic]

BLOCK_CELLS = 1_000_000
"""Draws x rows held at once, so that memory does not grow with the number of rows."""

_FLAT = 1e-12
"""A resample keeps at least this share of the variance of all rows, or counts as constant."""


def resampled_counts(generator: np.random.Generator, draws: int, rows: int) -> Floats:
    """(draws, rows): how often each row is drawn when as many as there are come with return."""
    picked = generator.integers(rows, size=(draws, rows))
    picked += np.arange(draws)[:, None] * rows
    counts = np.bincount(picked.ravel(), minlength=draws * rows)
    return counts.reshape(draws, rows).astype(np.float64)


def weighted_score(metric: str, predicted: Values, true: Values, weights: Floats) -> Floats:
    """The metric of each table on each resample: (tables, draws).

    predicted: (tables, rows) and true: (rows,), class indices or real values as the metric needs.
    weights: (draws, rows), whole numbers. Raises UserError for an unknown metric, or F1 of other
    classes than 0 and 1.
    """
    if metric not in _STATISTICS:
        raise unknown("metric", metric, _STATISTICS)
    return _STATISTICS[metric](predicted, true, weights)


def _accuracy(predicted: Values, true: Values, weights: Floats) -> Floats:
    hits: Floats = (predicted == true).astype(np.float64) @ weights.T / weights.sum(axis=1)
    return hits


def _f1(predicted: Values, true: Values, weights: Floats) -> Floats:
    if not (np.isin(predicted, [0, 1]).all() and np.isin(true, [0, 1]).all()):
        raise UserError("Metric 'f1' is that of class 1 of two classes. Use accuracy or mcc.")
    said, positive = predicted.astype(np.float64), true.astype(np.float64)
    both: Floats = (said * positive) @ weights.T
    either: Floats = (said + positive) @ weights.T
    return _ratio(2 * both, either)


def _mcc(predicted: Values, true: Values, weights: Floats) -> Floats:
    total = weights.sum(axis=1)
    hits = (predicted == true).astype(np.float64) @ weights.T
    shared, said_squares = np.zeros_like(hits), np.zeros_like(hits)
    held_squares = np.zeros_like(total)
    for one in np.unique(np.concatenate([np.unique(true), np.unique(predicted)])):
        held = weights @ (true == one).astype(np.float64)
        said = (predicted == one).astype(np.float64) @ weights.T
        shared += held * said
        said_squares += said**2
        held_squares += held**2
    spread = (total**2 - held_squares) * (total**2 - said_squares)
    return _ratio(hits * total - shared, np.sqrt(spread))


def _pearson(predicted: Values, true: Values, weights: Floats) -> Floats:
    x, y = np.stack([_centred(table) for table in predicted]), _centred(true)
    total = weights.sum(axis=1)
    mean_x, mean_y = x @ weights.T / total, weights @ y / total
    shared = (x * y) @ weights.T / total - mean_x * mean_y
    own_x = x**2 @ weights.T / total - mean_x**2
    own_y = weights @ y**2 / total - mean_y**2
    flat = own_x <= _FLAT * np.mean(x**2, axis=1, keepdims=True)
    flat |= own_y <= _FLAT * np.mean(y**2)
    return _ratio(shared, np.where(flat, 0.0, np.sqrt(np.clip(own_x * own_y, 0, None))))


def _spearman(predicted: Values, true: Values, weights: Floats) -> Floats:
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2
    y = _ranks(true, weights) - middle
    own_y = np.einsum("ij,ij,ij->i", weights, y, y)
    weighted = weights * y
    scores = []
    for table in predicted:
        x = _ranks(table, weights) - middle
        own_x = np.einsum("ij,ij,ij->i", weights, x, x)
        scores.append(_ratio(np.einsum("ij,ij->i", weighted, x), np.sqrt(own_x * own_y)))
    return np.stack(scores)


def _ranks(values: Values, weights: Floats) -> Floats:
    """(draws, rows): mean rank of each row's value among the drawn rows, from 1."""
    order = np.argsort(values, kind="stable")
    _, starts, group = np.unique(values[order], return_index=True, return_inverse=True)
    size = np.add.reduceat(weights[:, order], starts, axis=1)
    rank = np.cumsum(size, axis=1) - (size - 1) / 2
    back = np.empty_like(group)
    back[order] = group
    ranks: Floats = rank[:, back]
    return ranks


def _centred(values: Values) -> Floats:
    """Less their mean, exactly 0 where all are equal."""
    real = values.astype(np.float64)
    return np.zeros_like(real) if (real == real[0]).all() else real - real.mean()


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Their quotient, 0 where the denominator is 0."""
    result = np.zeros_like(numerator)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


_STATISTICS: dict[str, Callable[[Values, Values, Floats], Floats]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
}
