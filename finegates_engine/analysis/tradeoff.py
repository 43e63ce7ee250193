"""Score against what was removed: levels of a curve, the Pareto front, gaps. No torch.

The rows come from `variants.curve_rows`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.typing import NDArray

from finegates_engine.errors import UserError
from finegates_engine.ladder import RUNGS
from finegates_engine.method_table import METHODS
from finegates_engine.metrics import METRICS

Direction = Literal["higher", "lower"]

ZERO = 1e-9
"""A share removed up to this is nothing removed."""

REACHED = 0.005
"""A target in encoder weights is reached within half a point (design, section 3)."""

IDENTITY = ("task", "backbone", "method", "variant", "strategy", "target_unit", "metric", "split")


@dataclass(frozen=True)
class Quantity:
    """Something that a level can be plotted by."""

    label: str
    axis_title: str
    better: Direction
    unit: str
    """share, points of a metric, MACs, bytes, ms, s or count."""


def quantity(name: str) -> Quantity:
    """What a column of `curve_rows` is: a rung, a `metrics.<split>.<name>`, or a cost.

    Raises UserError for another column.
    """
    if name in RUNGS:
        rung = RUNGS[name]
        return Quantity(rung.label, rung.axis_title, rung.better, rung.unit)
    if name.startswith("metrics."):
        _, split, metric = name.split(".", 2)
        if metric in METRICS:
            spec = METRICS[metric]
            where = "" if split == "validation" else f" on {split.removeprefix('validation_')}"
            return Quantity(
                spec.label + where, f"{spec.label}{where} ({spec.unit})", spec.better, "score"
            )
        return Quantity(metric, f"{metric} (score)", "higher", "score")
    if name in _COSTS:
        return _COSTS[name]
    raise UserError(f"{name!r} is not something that levels can be plotted by.")


_COSTS = {
    "trained_parameters": Quantity(
        "Trained parameters", "Trained parameters (count)", "lower", "count"
    ),
    "seconds_total": Quantity("Training time", "Training time (s)", "lower", "s"),
    "seconds_per_step": Quantity("Time a step", "Training time a step (s)", "lower", "s"),
    "peak_memory_bytes": Quantity(
        "Peak memory", "Peak memory of training (bytes)", "lower", "bytes"
    ),
}


def quantities(rows: pd.DataFrame, *, kind: Literal["rungs", "scores", "costs"]) -> list[str]:
    """Columns of a kind that have a value in some row, in the order of their tables."""
    if kind == "rungs":
        names = list(RUNGS)
    elif kind == "costs":
        names = list(_COSTS)
    else:
        names = [str(name) for name in rows.columns if str(name).startswith("metrics.")]
    return [name for name in names if name in rows.columns and rows[name].notna().any()]


def curve_levels(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a level: means over its seeds of every numeric column that can be plotted.

    Columns: curve, IDENTITY, target, seeds, run_ids (tuple, by seed), and the means. Order: curve,
    then encoder weights removed.
    """
    plotted = [
        *quantities(rows, kind="rungs"),
        *quantities(rows, kind="scores"),
        *quantities(rows, kind="costs"),
        "folded_encoder_fraction",
        "gated_weights",
        "encoder_weights",
        "score",
    ]
    plotted = [name for name in dict.fromkeys(plotted) if name != "target"]
    keys = ["curve", "target"]
    grouped = rows.groupby(keys, dropna=False, sort=False)
    levels = grouped[plotted].mean()
    levels[list(IDENTITY)] = grouped[list(IDENTITY)].first()
    levels["seeds"] = grouped.size()
    levels["run_ids"] = grouped["run_id"].agg(tuple)
    levels = levels.reset_index()
    order = ["curve", "folded_encoder_fraction", "target"]
    return levels.sort_values(order, na_position="first", ignore_index=True)


def on_shared_seeds(
    a: Sequence[str], b: Sequence[str], seeds: Mapping[str, int]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Runs of two levels with the seeds that both have; all of both where they share none.

    Other seeds would add what seeds differ by to what the levels differ by. seeds: run -> seed.
    """
    shared = {seeds[run] for run in a} & {seeds[run] for run in b}
    if not shared:
        return tuple(a), tuple(b)
    return (
        tuple(run for run in a if seeds[run] in shared),
        tuple(run for run in b if seeds[run] in shared),
    )


def pareto_front(
    x: npt.ArrayLike, y: npt.ArrayLike, *, x_better: Direction, y_better: Direction
) -> NDArray[np.bool_]:
    """(points,) bool: no other point is at least as good on both axes and better on one.

    Equal points are all on the front; a point with NaN is not, and hides no other.
    """
    gain_x = np.asarray(x, dtype=np.float64) * (1 if x_better == "higher" else -1)
    gain_y = np.asarray(y, dtype=np.float64) * (1 if y_better == "higher" else -1)
    front = np.zeros(gain_x.shape, dtype=np.bool_)
    known = np.flatnonzero(~(np.isnan(gain_x) | np.isnan(gain_y)))
    best = -np.inf
    # From the best x on: a point is on the front when it beats every y seen at a better x.
    for value in np.unique(gain_x[known])[::-1]:
        tied = known[gain_x[known] == value]
        top = gain_y[tied].max()
        if top > best:
            front[tied[gain_y[tied] == top]] = True
            best = top
    return front


def is_baseline(levels: pd.DataFrame) -> "pd.Series[bool]":
    """(levels,) bool: of a method that removes nothing, such as full finetuning.

    The level of a pruning method at nothing removed is the start of its curve, and none of these.
    """
    largest = levels.groupby("curve")["folded_encoder_fraction"].transform("max")
    plain = [name not in METHODS or METHODS[name].removes == "nothing" for name in levels["method"]]
    return (largest <= ZERO) & pd.Series(plain, index=levels.index)


def largest_share(level: "pd.Series[Any] | dict[Any, Any]") -> float:
    """The share of the encoder's weights that a curve's gates can remove at most."""
    total = level["encoder_weights"]
    return float(level["gated_weights"] / total) if total else float("nan")


def missing_levels(levels: pd.DataFrame) -> dict[int, dict[float, str]]:
    """Curve -> target -> why that level is a gap, for targets that another curve has.

    Only targets in encoder weights are compared, and only curves with gates.
    """
    counted = levels[(levels["target_unit"] == "encoder_weights") & (levels["gated_weights"] > 0)]
    by_curve: dict[int, list[dict[Any, Any]]] = {}
    for level in counted[[*_COUNTED]].sort_values("curve", kind="stable").to_dict("records"):
        by_curve.setdefault(int(level["curve"]), []).append(level)
    asked = sorted({round(float(target), 4) for target in counted["target"].dropna()})
    gaps: dict[int, dict[float, str]] = {}
    for curve, found_levels in by_curve.items():
        at_most = largest_share(found_levels[0])
        reached = {round(level["target"], 4) for level in found_levels}
        found = {target: "not trained" for target in asked if target not in reached}
        found |= {t: f"out of reach, at most {at_most:.0%}" for t in asked if t > at_most + REACHED}
        for level in found_levels:
            target, got = level["target"], level["folded_encoder_fraction"]
            if got < target - REACHED:
                found[round(target, 4)] = f"asked {target:.0%}, reached {got:.0%}"
        if found:
            gaps[curve] = dict(sorted(found.items()))
    return gaps


_COUNTED = ("curve", "target", "folded_encoder_fraction", "gated_weights", "encoder_weights")


def representative(run_ids: Sequence[str], scores: Sequence[float]) -> str:
    """The run of a level whose score is nearest to the level's mean; the first of equals."""
    distance = np.abs(np.asarray(scores) - np.mean(scores))
    return run_ids[int(np.argmin(np.where(np.isnan(distance), np.inf, distance)))]


def share_words(share: float) -> str:
    """A share as a sentence begins with it: Half, A third, 37%."""
    for value, word in _FRACTIONS.items():
        if abs(share - value) < _NEAR:
            return word
    return f"{share:.0%}"


_NEAR = 0.01
"""A share this near to a half is called one."""

_FRACTIONS = {1 / 4: "A quarter", 1 / 3: "A third", 1 / 2: "Half", 2 / 3: "Two thirds"}
