"""Intervals of scores, their differences, and agreement of gates. No torch.

An interval has two sources: which rows were evaluated (bootstrap, the same draws for all seeds
and both methods) and which seed trained (Student's t). They are put together by MOVER
(Zou and Donner 2008, Statistics in Medicine 27, 1693): distances to the mean add as squares.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finegates_engine.analysis.answers import Answers, answers_of, given_for
from finegates_engine.analysis.resampling import (
    BLOCK_CELLS,
    Floats,
    resampled_counts,
    weighted_score,
)
from finegates_engine.errors import UserError, unknown
from finegates_engine.metrics import METRICS

DRAWS = 2000
LEVEL = 0.95

Masks = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval, in units of the metric."""

    low: float
    mean: float
    high: float
    seeds: int
    """Runs behind it; of a difference, those of the method with fewer."""
    kind: Literal["rows and seeds", "rows"]
    """What was varied. "rows": there was one seed, so how seeds differ is unknown."""

    @property
    def excludes_zero(self) -> bool:
        """Of a difference: one is better than the other."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(
    metric: str, frames: Sequence[pd.DataFrame], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """The mean score of one configuration over its seeds, with its 95% interval.

    frames: one prediction table a seed, all of the same rows (`StoredRun.predictions`, one
    split). Raises UserError where the rows differ, or do not fit the metric.
    """
    answers = [answers_of(frame) for frame in frames]
    scores, drawn = resampled_scores(metric, [answers], draws=draws, seed=seed)
    return score_interval(metric, drawn[0].mean(axis=0), scores[0])


def paired_difference(
    metric: str,
    a_frames: Sequence[pd.DataFrame],
    b_frames: Sequence[pd.DataFrame],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Mean score of `a` less that of `b`, with its 95% interval; rows are paired.

    Seeds are not paired, since one seed means other draws in another method: their variances
    add, with Welch's degrees of freedom. Raises UserError as `bootstrap_interval` does.
    """
    groups = [[answers_of(frame) for frame in frames] for frames in (a_frames, b_frames)]
    scores, drawn = resampled_scores(metric, groups, draws=draws, seed=seed)
    mean = scores[0].mean() - scores[1].mean()
    return mover_interval(mean, drawn[0].mean(axis=0) - drawn[1].mean(axis=0), scores)


def gate_jaccard(a: Masks, b: Masks) -> float:
    """Gates kept in both, divided by gates kept in either. NaN where neither keeps any.

    Raises UserError where the gate vectors differ.
    """
    _check_masks(a, b)
    both = sum(int((a[name] & b[name]).sum()) for name in a)
    either = sum(int((a[name] | b[name]).sum()) for name in a)
    return both / either if either else float("nan")


def chance_jaccard(a: Masks, b: Masks) -> float:
    """About what `gate_jaccard` gives if each vector kept as many gates, but random ones."""
    _check_masks(a, b)
    both = either = 0.0
    for name in a:
        kept_a, kept_b = int(a[name].sum()), int(b[name].sum())
        shared = kept_a * kept_b / max(len(a[name]), 1)
        both += shared
        either += kept_a + kept_b - shared
    return both / either if either else float("nan")


def nested(low: Masks, high: Masks) -> bool:
    """Whether every gate closed at the low target is closed at the high one too."""
    _check_masks(low, high)
    return all(not (high[name] & ~low[name]).any() for name in low)


def _check_masks(a: Masks, b: Masks) -> None:
    shapes_a = {name: mask.shape for name, mask in a.items()}
    shapes_b = {name: mask.shape for name, mask in b.items()}
    if shapes_a != shapes_b:
        differing = sorted({name for name, _ in shapes_a.items() ^ shapes_b.items()})
        raise UserError(
            f"Only runs with the same gates can be compared; these differ in {differing[0]!r}"
            f"{' and others' if len(differing) > 1 else ''}."
        )


def score_interval(metric: str, drawn: Floats, scores: Floats) -> Interval:
    """`mover_interval` of scores by seed, cut to the values that the metric can have."""
    found = mover_interval(float(scores.mean()), drawn, [scores])
    low, high = max(found.low, METRICS[metric].lowest), min(found.high, 1.0)
    return dataclasses.replace(found, low=low, high=high)


def mover_interval(mean: float, drawn: Floats, groups: Sequence[Floats]) -> Interval:
    """Rows' percentiles and seeds' t as one interval around `mean`.

    drawn: (draws,), means over seeds on resampled rows. groups: scores by seed.
    """
    tail = (1 - LEVEL) / 2
    rows_low, rows_high = np.quantile(drawn, [tail, 1 - tail])
    seeds = min(len(scores) for scores in groups)
    spread = _seed_half_width(groups) if seeds > 1 else 0.0
    return Interval(
        low=float(mean - np.hypot(max(mean - rows_low, 0), spread)),
        mean=float(mean),
        high=float(mean + np.hypot(max(rows_high - mean, 0), spread)),
        seeds=seeds,
        kind="rows and seeds" if seeds > 1 else "rows",
    )


def _seed_half_width(groups: Sequence[Floats]) -> float:
    error, freedom = seed_error(groups)
    return student_t_quantile(1 - (1 - LEVEL) / 2, freedom) * error if error else 0.0


def seed_error(groups: Sequence[Floats]) -> tuple[float, float]:
    """(standard error over seeds of the groups' means together, Welch's degrees of freedom).

    groups: scores by seed, two or more in each.
    """
    variances = np.array([scores.var(ddof=1) / len(scores) for scores in groups])
    total = float(variances.sum())
    # Scores that are equal but for rounding have no variance, and no degrees of freedom.
    if total < np.finfo(np.float64).eps ** 2:
        return 0.0, 1.0
    freedom = total**2 / sum(v**2 / (len(s) - 1) for v, s in zip(variances, groups, strict=True))
    return float(np.sqrt(total)), float(freedom)


def student_t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t, for a probability in [0.5, 1) and a freedom of 1 or more.

    With t = sqrt(freedom) tan(a) the density is cos(a)^(freedom - 1): a smooth integral.
    """
    angle = np.linspace(0, np.pi / 2, 20_001)
    density = np.cos(angle).clip(0) ** (freedom - 1)
    area = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    where = np.interp((2 * probability - 1) * area[-1], area, angle)
    return float(np.sqrt(freedom) * np.tan(where))


def resampled_scores(
    metric: str,
    groups: Sequence[Sequence[Answers]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[list[Floats], list[Floats]]:
    """For each group of answers: scores (seeds,), and scores on resampled rows (seeds, draws).

    Equal seeds draw the same rows, so that groups of two calls over the same rows are paired too.
    Raises UserError as `bootstrap_interval` does.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if draws < 1 or not all(groups):
        raise UserError("An interval needs at least one draw, and one run on each side.")
    answers = [one for group in groups for one in group]
    if len({one.rows for one in answers}) > 1:
        raise UserError(
            "Runs on different evaluation rows cannot be compared: their row_id, text_hash "
            "or label differ. Evaluate them on the same data."
        )
    true, tables = answers[0].true, np.stack([given_for(metric, one) for one in answers])
    scores = weighted_score(metric, tables, true, np.ones((1, len(true))))[:, 0]
    drawn = np.empty((len(tables), draws))
    generator = np.random.default_rng(seed)
    step = max(BLOCK_CELLS // len(true), 1)
    for start in range(0, draws, step):
        counts = resampled_counts(generator, min(step, draws - start), len(true))
        for first in range(0, len(tables), step):
            block = slice(first, first + step), slice(start, start + step)
            drawn[block] = weighted_score(metric, tables[block[0]], true, counts)
    ends = np.cumsum([len(group) for group in groups])[:-1]
    return np.split(scores, ends), np.split(drawn, ends)
