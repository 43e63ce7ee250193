"""Scores of a task: their names, direction and arithmetic. No torch.

The arithmetic is scikit-learn's and SciPy's, imported when a score is computed. The same scores
are `evaluate.Metric` objects (`evaluate_metric`) for code that speaks to `evaluate`, whose import
costs seconds and which is not needed for training.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from finegates_engine.errors import UserError, unknown

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """How a metric is named and read; tables, axes and the Pareto direction come from it."""

    label: str
    """Name on axes and in tables."""

    unit: str
    """Range or unit of the value, for axis titles."""

    better: Literal["higher", "lower"] = "higher"
    """Direction of improvement."""

    lowest: float
    """The least value that it can have; the largest of all is 1."""

    point: float = 0.01
    """One point of this metric, the unit in which losses of score are told."""

    needs: Literal["classes", "values"]
    """What is compared: class indices, or real values."""


METRICS: dict[str, MetricSpec] = {
    "accuracy": MetricSpec(
        label="Accuracy", unit="share of rows, 0 to 1", lowest=0, needs="classes"
    ),
    "f1": MetricSpec(label="F1", unit="0 to 1", lowest=0, needs="classes"),
    "mcc": MetricSpec(label="Matthews corr.", unit="-1 to 1", lowest=-1, needs="classes"),
    "pearson": MetricSpec(label="Pearson corr.", unit="-1 to 1", lowest=-1, needs="values"),
    "spearman": MetricSpec(label="Spearman corr.", unit="-1 to 1", lowest=-1, needs="values"),
}


def score(name: str, predictions: npt.ArrayLike, references: npt.ArrayLike) -> float:
    """The value of one metric.

    predictions, references: (rows,), class indices or real values as the metric needs.

    F1 is that of class 1 of two classes. Where a formula divides by zero the score is 0.0, the
    convention of scikit-learn for Matthews correlation, kept here for all of them: F1 without
    any positive, and the three correlations of predictions (or references) that are all equal.
    A model that says the same of every row thus scores 0, by whichever correlation.

    Raises UserError for an unknown metric, no rows, unequal lengths, a value that is not finite,
    or F1 of more than two classes.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    predicted, true = np.asarray(predictions), np.asarray(references)
    _check_rows(name, predicted, true)
    return _FORMULAS[name](predicted, true)


def compute_metrics(
    names: Iterable[str], outputs: npt.ArrayLike, labels: npt.ArrayLike
) -> dict[str, float]:
    """Several metrics of one set of model outputs, by name.

    outputs: (rows, classes) probabilities or logits, of which the largest is the prediction (the
    first of equals), or (rows,) or (rows, 1) real values for regression. labels: (rows,).
    Raises UserError as `score` does, and where metric and outputs do not fit each other.
    """
    values, true = np.asarray(outputs), np.asarray(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    _check_finite("outputs", values)
    results = {}
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
        wanted = 2 if METRICS[name].needs == "classes" else 1
        if values.ndim != wanted:
            raise UserError(
                f"Metric {name!r} needs outputs of shape "
                f"{'(rows, classes)' if wanted == 2 else '(rows,)'}, got {values.shape}. "
                f"Choose a metric of {_fitting(values.ndim)}."
            )
        results[name] = score(name, values.argmax(axis=1) if wanted == 2 else values, true)
    return results


def evaluate_metric(name: str) -> Any:
    """The metric as an `evaluate.Metric` object; `compute(predictions=, references=)` gives
    `{name: value}`. Needs no network. Raises UserError for an unknown metric."""
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    import datasets
    import evaluate

    spec = METRICS[name]
    value = datasets.Value("int64" if spec.needs == "classes" else "float64")

    class TaskMetric(evaluate.Metric):  # type: ignore[misc]
        """One row of METRICS, spoken to as `evaluate` does."""

        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description=f"{spec.label} ({spec.unit}), {spec.better} is better.",
                citation="",
                inputs_description="predictions and references, one of each a row",
                features=datasets.Features({"predictions": value, "references": value}),
            )

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            return {name: score(name, predictions, references)}

    return TaskMetric(keep_in_memory=True)


def _fitting(dimensions: int) -> str:
    kind = "classes" if dimensions == 2 else "values"
    return ", ".join(name for name, spec in METRICS.items() if spec.needs == kind)


def _check_rows(name: str, predicted: Array, true: Array) -> None:
    if predicted.ndim != 1 or predicted.shape != true.shape or not predicted.size:
        raise UserError(
            f"Metric {name!r} compares two lists of one length, at least 1: got shapes "
            f"{predicted.shape} and {true.shape}. Pass one prediction and one label a row."
        )
    _check_finite("predictions", predicted)
    _check_finite("labels", true)


def _check_finite(what: str, values: Array) -> None:
    if bad := int((~np.isfinite(values)).sum()):
        raise UserError(
            f"{bad} of {values.size} {what} are not finite numbers, so there is no score. "
            "If training has diverged, lower its learning rates."
        )


def _accuracy(predicted: Array, true: Array) -> float:
    return float(np.mean(predicted == true))


def _f1(predicted: Array, true: Array) -> float:
    from sklearn.metrics import f1_score

    if not set(np.union1d(predicted, true).tolist()) <= {0, 1}:
        raise UserError(
            "Metric 'f1' is that of class 1 of two classes, got "
            f"the classes {np.union1d(predicted, true).tolist()}. Use accuracy or mcc."
        )
    return float(f1_score(true, predicted, pos_label=1, zero_division=0.0))


def _mcc(predicted: Array, true: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    if _constant(predicted) or _constant(true):
        return 0.0
    return float(matthews_corrcoef(true, predicted))


def _pearson(predicted: Array, true: Array) -> float:
    from scipy.stats import pearsonr

    if _constant(predicted) or _constant(true):
        return 0.0
    # In fp64: SciPy computes in the dtype it is given, and fp32 outputs lose digits.
    return float(pearsonr(predicted.astype(np.float64), true.astype(np.float64)).statistic)


def _spearman(predicted: Array, true: Array) -> float:
    from scipy.stats import spearmanr

    if _constant(predicted) or _constant(true):
        return 0.0
    return float(spearmanr(predicted, true).statistic)


def _constant(values: Array) -> bool:
    return bool((values == values[0]).all())


_FORMULAS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
}
