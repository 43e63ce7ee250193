"""What a level costs, as draws of what it may really be: score drop, p95, speed-up. No torch.

Draws vary what the intervals of the design vary: evaluation rows, resampled and paired, and seeds,
by Student's t; for timings, the rounds. The share of draws within a limit is the probability that
the limit holds.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from finegates_engine.analysis.answers import Answers
from finegates_engine.analysis.intervals import (
    DRAWS,
    LEVEL,
    Interval,
    mover_interval,
    resampled_scores,
    score_interval,
    seed_error,
)
from finegates_engine.analysis.resampling import Floats
from finegates_engine.errors import UserError
from finegates_engine.metrics import METRICS

Kind = Literal["rows and seeds", "rows", "rounds", "exact", "counted"]
"""What was varied; or that nothing was, for a size read from a certificate or counted."""

DropUnit = Literal["points", "percent"]

MEGABYTE = 1e6
BYTES_A_PARAMETER = 4
"""Bundles hold fp32 weights."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Measured:
    """One quantity of a level: its value, and draws of what it may be."""

    value: float
    draws: Floats | None
    """(draws,). None: it is known, and does not vary."""
    kind: Kind

    def probability(self, bound: float, *, at_most: bool) -> float:
        """How probably it is within a bound: the share of draws that are."""
        values = np.array([self.value]) if self.draws is None else self.draws
        # Shares of rows are not exact in binary: 1 point is 1 point.
        slack = 1e-9 * max(1.0, abs(bound))
        inside = values <= bound + slack if at_most else values >= bound - slack
        return float(np.mean(inside))

    def bound(self, sureness: float, *, at_most: bool) -> float:
        """The tightest bound within which it is with this probability."""
        if self.draws is None:
            return self.value
        values = np.sort(self.draws if at_most else -self.draws)
        place = min(max(int(np.ceil(sureness * len(values))) - 1, 0), len(values) - 1)
        return float(values[place] if at_most else -values[place])

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95% interval; both ends the value where it does not vary."""
        if self.draws is None:
            return self.value, self.value
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(self.draws, [tail, 1 - tail])
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class LevelScores:
    """Scores of one level."""

    scores: Floats
    """(seeds,)"""
    drawn: Floats
    """(draws,): mean over seeds on resampled rows, the same draws for all levels of `rows`."""
    rows: str
    """Which evaluation rows: hash of their ids, texts and labels."""


def level_scores(
    metric: str,
    levels: Mapping[Key, Sequence[Answers]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[Key, LevelScores | str]:
    """Scores of many levels, or why a level has none.

    levels: answers on one split, one a seed. Levels of the same rows, seed and draws are paired,
    also over several calls.
    """
    found: dict[Key, LevelScores | str] = {}
    by_rows: dict[str, list[Key]] = {}
    for key, answers in levels.items():
        rows = {one.rows for one in answers}
        if len(rows) == 1:
            by_rows.setdefault(rows.pop(), []).append(key)
        else:
            found[key] = "its seeds were evaluated on different rows" if rows else "it has no runs"
    for rows_of, keys in by_rows.items():
        found |= _same_rows(metric, {key: levels[key] for key in keys}, rows_of, draws, seed)
    return {key: found[key] for key in levels}


def _same_rows(
    metric: str, levels: Mapping[Key, Sequence[Answers]], rows: str, draws: int, seed: int
) -> dict[Key, LevelScores | str]:
    try:
        scores, drawn = resampled_scores(metric, list(levels.values()), draws=draws, seed=seed)
    except UserError as error:
        if len(levels) == 1:
            return dict.fromkeys(levels, str(error))
        alone = [_same_rows(metric, {k: a}, rows, draws, seed) for k, a in levels.items()]
        return {key: value for one in alone for key, value in one.items()}
    return {
        key: LevelScores(own, on_rows.mean(axis=0), rows)
        for key, own, on_rows in zip(levels, scores, drawn, strict=True)
    }


def level_interval(metric: str, level: LevelScores) -> Interval:
    """The level's mean score with its 95% interval: `bootstrap_interval` of its runs."""
    return score_interval(metric, level.drawn, level.scores)


def difference_interval(a: LevelScores, b: LevelScores) -> Interval:
    """Mean score of `a` less that of `b`: `paired_difference` of their runs.

    Raises UserError where their rows differ.
    """
    if a.rows != b.rows:
        raise UserError("The two levels were evaluated on different rows.")
    mean = float(a.scores.mean() - b.scores.mean())
    return mover_interval(mean, a.drawn - b.drawn, [a.scores, b.scores])


def score_drop(
    metric: str,
    level: LevelScores,
    reference: LevelScores,
    *,
    unit: DropUnit = "points",
    seed: int = 0,
) -> Measured:
    """How much worse a level is than the reference, in points or in percent of its score.

    With one seed on either side only rows vary. Raises UserError where the rows differ, and for
    percent of a score that is not clearly above 0.
    """
    if level.rows != reference.rows:
        raise UserError("it was evaluated on other rows than what it is compared with")
    spec = METRICS[metric]
    own, base = float(level.scores.mean()), float(reference.scores.mean())
    sign = 1.0 if spec.better == "higher" else -1.0
    if unit == "points":
        weights = (1 / spec.point, 1 / spec.point)
        on_rows = (reference.drawn - level.drawn) / spec.point
        value = (base - own) / spec.point
    else:
        if base <= 0 or (reference.drawn <= 0).any():
            raise UserError(f"percent of a score of {base:.3f} mean nothing; use points")
        weights = (100 / base, 100 * own / base**2)
        on_rows = 100 * (1 - level.drawn / reference.drawn)
        value = 100 * (1 - own / base)
    seeds = min(len(level.scores), len(reference.scores))
    if seeds < 2:
        return Measured(sign * value, sign * on_rows, "rows")
    error, freedom = seed_error([weights[0] * level.scores, weights[1] * reference.scores])
    generator = np.random.default_rng([seed, 1])
    by_seed = error * generator.standard_t(freedom, size=len(on_rows))
    return Measured(sign * value, sign * (on_rows + by_seed), "rows and seeds")


def p95_ms(seconds: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> Measured:
    """95th percentile of one call in milliseconds. seconds: (rounds,)."""
    values = 1e3 * np.asarray(seconds, dtype=np.float64)
    drawn = np.quantile(values[_rounds(len(values), draws, seed)], LEVEL, axis=1)
    return Measured(float(np.quantile(values, LEVEL)), drawn, "rounds")


def speed_up(
    dense: Sequence[float], pruned: Sequence[float], *, draws: int = DRAWS, seed: int = 0
) -> Measured:
    """How many times as fast as dense: median of the rounds' ratios (`latency.speedup`)."""
    logs = np.log(np.asarray(dense, np.float64)) - np.log(np.asarray(pruned, np.float64))
    drawn = np.exp(np.median(logs[_rounds(len(logs), draws, seed)], axis=1))
    return Measured(float(np.exp(np.median(logs))), drawn, "rounds")


def _rounds(count: int, draws: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(count, size=(draws, count))


def certified_size_mb(file_bytes: int) -> Measured:
    """Size in MB (1e6 bytes) of weights that a certificate has measured."""
    return Measured(file_bytes / MEGABYTE, None, "exact")


def counted_size_mb(model_parameters: float, encoder_weights: float, left: float) -> Measured:
    """Size in MB of the smaller model's weights as counts give it: fp32, without padding.

    left: Linear weights of the blocks after folding. Biases that leave too are not counted off.
    """
    kept = model_parameters - encoder_weights + left
    return Measured(kept * BYTES_A_PARAMETER / MEGABYTE, None, "counted")
