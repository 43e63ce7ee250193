"""Two runs over the same rows: what changed, whether it is more than chance, which gates. No torch.

`larger` and `smaller` are names of the two sides; what they remove is up to who compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finegates_engine.analysis.gate_vectors import Masks
from finegates_engine.analysis.intervals import (
    Interval,
    chance_jaccard,
    gate_jaccard,
    paired_difference,
)
from finegates_engine.errors import UserError
from finegates_engine.metrics import METRICS
from finegates_engine.results import probability_columns

LOST, WON, BOTH_RIGHT, BOTH_WRONG = "lost", "won", "both right", "both wrong"
CHANGES = (LOST, WON, BOTH_WRONG, BOTH_RIGHT)
"""Of a row of a classification: right and then wrong, wrong and then right, and no change."""

LEVEL = 0.05
"""A McNemar test below this says that the two differ."""


@dataclass(frozen=True)
class McNemar:
    """Rows that one of two classifiers alone gets right, and how surprising their split is."""

    lost: int
    """Right before, wrong after."""
    won: int
    """Wrong before, right after."""
    p_value: float
    """Exact, two-sided: the probability of a split this uneven if both were equally good."""

    @property
    def differ(self) -> bool:
        """Whether the split is more than chance, at 5%."""
        return self.p_value < LEVEL


def mcnemar(lost: int, won: int) -> McNemar:
    """McNemar's exact test: lost and won rows as tosses of a fair coin. No rows: p is 1."""
    if lost < 0 or won < 0:
        raise ValueError(f"counts of rows must be 0 or more, got {lost} and {won}")
    if lost + won == 0:
        return McNemar(lost, won, 1.0)
    from scipy.stats import binomtest

    return McNemar(lost, won, float(binomtest(min(lost, won), lost + won, 0.5).pvalue))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Predictions of two runs over the same rows of one split."""

    metric: str
    rows: pd.DataFrame
    """A row a row, in order of row_id: row_id, text_hash, label, change, and for classes larger,
    smaller (class index), larger_sure, smaller_sure (probability of the true class); for values
    larger, smaller (score), larger_error, smaller_error (distance from the label) and worse
    (smaller_error - larger_error). `change` is missing for values."""
    test: McNemar | None
    """Of rows that are right; None for values."""
    difference: Interval
    """Score of the smaller less that of the larger, rows resampled in pairs."""

    @property
    def classes(self) -> bool:
        """Whether classes are predicted, not values."""
        return self.test is not None

    def count(self, change: str) -> int:
        """Rows of one of CHANGES."""
        return int((self.rows["change"] == change).sum())


def compare_predictions(metric: str, larger: pd.DataFrame, smaller: pd.DataFrame) -> Comparison:
    """What changes from the larger to the smaller run.

    larger, smaller: prediction tables of one split (`StoredRun.predictions`). Raises UserError
    where their rows differ or do not fit the metric.
    """
    difference = paired_difference(metric, [smaller], [larger])
    larger, smaller = (f.sort_values("row_id", ignore_index=True) for f in (larger, smaller))
    rows = larger[["row_id", "text_hash", "label"]].copy()
    if METRICS[metric].needs == "values":
        return Comparison(metric, _values(rows, larger, smaller), None, difference)
    rows = _classes(rows, larger, smaller)
    counts = rows["change"].value_counts()
    test = mcnemar(int(counts.get(LOST, 0)), int(counts.get(WON, 0)))
    return Comparison(metric, rows, test, difference)


def _classes(rows: pd.DataFrame, larger: pd.DataFrame, smaller: pd.DataFrame) -> pd.DataFrame:
    true = rows["label"].to_numpy(np.int64)
    right = []
    for name, frame in (("larger", larger), ("smaller", smaller)):
        likely = frame[probability_columns(frame)].to_numpy(np.float64)
        rows[name] = likely.argmax(axis=1)
        known = (true >= 0) & (true < likely.shape[1])
        place = np.where(known, true, 0)
        rows[f"{name}_sure"] = np.where(known, likely[np.arange(len(true)), place], 0.0)
        right.append(rows[name].to_numpy() == true)
    before, after = right
    names = np.where(before, np.where(after, BOTH_RIGHT, LOST), np.where(after, WON, BOTH_WRONG))
    rows["change"] = pd.array(names, dtype="str")
    return rows


def _values(rows: pd.DataFrame, larger: pd.DataFrame, smaller: pd.DataFrame) -> pd.DataFrame:
    true = rows["label"].to_numpy(np.float64)
    for name, frame in (("larger", larger), ("smaller", smaller)):
        rows[name] = frame["score"].to_numpy(np.float64)
        rows[f"{name}_error"] = np.abs(rows[name] - true)
    rows["worse"] = rows["smaller_error"] - rows["larger_error"]
    rows["change"] = pd.array([None] * len(rows), dtype="str")
    return rows


def gate_differences(larger: Masks, smaller: Masks) -> pd.DataFrame:
    """A row a layer and gate vector: layer (from 1), vector, size, kept_larger, kept_smaller,
    kept_both, jaccard and the jaccard that chance gives.

    Raises UserError where the gate vectors differ, or there are none.
    """
    if not larger or not smaller:
        raise UserError("Gates can be compared only where both runs have gates.")
    gate_jaccard(larger, smaller)  # raises where the vectors are not the same
    rows = []
    for name, a in larger.items():
        layer, _, vector = name.partition("/")
        b = smaller[name]
        rows.append(
            {
                "layer": int(layer) + 1,
                "vector": vector,
                "size": len(a),
                "kept_larger": int(a.sum()),
                "kept_smaller": int(b.sum()),
                "kept_both": int((a & b).sum()),
                "jaccard": gate_jaccard({name: a}, {name: b}),
                "chance": chance_jaccard({name: a}, {name: b}),
            }
        )
    return pd.DataFrame(rows).sort_values(["layer", "vector"], ignore_index=True)


def layer_agreement(larger: Masks, smaller: Masks) -> pd.DataFrame:
    """A row a layer: layer (from 1), jaccard, chance, over all its gate vectors."""
    layers: dict[int, list[str]] = {}
    for name in larger:
        layers.setdefault(int(name.partition("/")[0]), []).append(name)
    rows = []
    for layer, names in sorted(layers.items()):
        a, b = ({name: side[name] for name in names} for side in (larger, smaller))
        rows.append(
            {"layer": layer + 1, "jaccard": gate_jaccard(a, b), "chance": chance_jaccard(a, b)}
        )
    return pd.DataFrame(rows, columns=["layer", "jaccard", "chance"])


def differing_settings(
    larger: Mapping[str, object], smaller: Mapping[str, object], *, ignore: Sequence[str] = ()
) -> dict[str, tuple[object, object]]:
    """Setting to its two values, for those that differ. Nested settings are named `gates.axes`."""
    a, b = _flat(larger), _flat(smaller)
    names = [*a, *(name for name in b if name not in a)]
    return {
        name: (a.get(name), b.get(name))
        for name in names
        if a.get(name) != b.get(name) and not name.startswith(tuple(ignore) or ("\0",))
    }


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
