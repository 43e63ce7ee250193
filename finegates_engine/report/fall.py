"""Where a curve has lost one point of its metric, and how surely that is known. No torch."""

from dataclasses import dataclass

import numpy as np

from finegates_engine.analysis.intervals import LEVEL
from finegates_engine.analysis.resampling import Floats
from finegates_engine.analysis.tradeoff import ZERO
from finegates_engine.metrics import METRICS
from finegates_engine.report.levels import Curve


@dataclass(frozen=True)
class Fall:
    """Where a curve has lost one point against its own level with nothing removed.

    Shares are of the encoder's weights, on the line between two levels. None: beyond `last`.
    """

    share: float | None
    """Of the mean scores."""

    low: float | None
    high: float | None
    """The 95% interval: rows resampled, the same for all levels, and seeds by Student's t."""

    last: float
    """The largest share measured."""


def fall_of_one_point(curve: Curve, metric: str) -> Fall | None:
    """Where the mean score is first a point below that with nothing removed; None without one."""
    if curve.levels[0].removed > ZERO or len(curve.levels) < 2:
        return None
    removed = np.array([level.removed for level in curve.levels])
    means = np.array([level.interval.mean for level in curve.levels])
    tail = (1 - LEVEL) / 2
    drawn = _crossings(removed, _drawn(curve), metric)
    return Fall(
        share=_measured(_crossings(removed, means[None], metric)[0]),
        low=_measured(np.quantile(drawn, tail, method="lower")),
        high=_measured(np.quantile(drawn, 1 - tail, method="higher")),
        last=float(removed[-1]),
    )


def seed_noise(scores: Floats, draws: int) -> Floats:
    """How far levels' means may be off, since other seeds would have trained: (draws, levels).

    scores: (seeds, levels), two seeds or more. Multivariate Student's t: each level's noise has
    the spread of `seed_error`, and levels of one seed stay together.
    """
    seeds = len(scores)
    generator = np.random.default_rng(0)
    normal = generator.standard_normal((draws, seeds)) / np.sqrt(seeds * (seeds - 1))
    scale = np.sqrt(generator.chisquare(seeds - 1, size=(draws, 1)) / (seeds - 1))
    noise: Floats = normal @ (scores - scores.mean(axis=0)) / scale
    return noise


def _drawn(curve: Curve) -> Floats:
    """Mean scores as they may be, (draws, levels). Seeds vary where all levels share two."""
    by_rows = [
        np.mean([one.drawn for one in level.by_seed.values()], axis=0) for level in curve.levels
    ]
    drawn: Floats = np.stack(by_rows, axis=1)
    seeds = sorted(set.intersection(*(set(level.by_seed) for level in curve.levels)))
    if len(seeds) < 2:
        return drawn
    scores = [[level.by_seed[seed].scores.mean() for level in curve.levels] for seed in seeds]
    return drawn + seed_noise(np.array(scores), len(drawn))


def _crossings(removed: Floats, scores: Floats, metric: str) -> Floats:
    """Where each row of scores, (rows, levels), is first a point down: (rows,), or infinity."""
    spec = METRICS[metric]
    sign = 1.0 if spec.better == "higher" else -1.0
    drops = sign * (scores[:, :1] - scores)
    over = drops >= spec.point
    rows, after = np.arange(len(scores)), np.maximum(over.argmax(axis=1), 1)
    begin, end = drops[rows, after - 1], drops[rows, after]
    fallen = over.any(axis=1)
    part = (spec.point - begin) / np.where(fallen, end - begin, 1.0)
    where: Floats = removed[after - 1] + part * (removed[after] - removed[after - 1])
    return np.where(fallen, where, np.inf)


def _measured(share: float) -> float | None:
    return float(share) if np.isfinite(share) else None
