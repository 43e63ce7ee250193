"""Numbers that the live page's words and figures share. No Streamlit."""

from collections.abc import Sequence

import numpy as np

from finegates_engine.live.results import Effects, Levels, PartEffect, TextRace

MOST_POINTS = 150
"""Rounds of a race that are drawn."""

_FAR = 1.25  # times the p95: slower calls are counted, not drawn


def percent(share: float) -> str:
    """A probability in words; what rounds to all or nothing is not said to be that."""
    if share >= 0.995:
        return ">99%"
    return "<1%" if share < 0.005 else f"{100 * share:.0f}%"


def level_values(found: Levels) -> np.ndarray:
    """(levels, rows): the probability of each row's label at the first level, or its score."""
    outputs = np.array([level.outputs for level in found.levels])
    if found.labels is None:
        return outputs[:, :, 0]
    first = outputs[0].argmax(axis=1)
    return np.take_along_axis(outputs, first[None, :, None], axis=2)[:, :, 0]


def flipped(found: Levels) -> np.ndarray:
    """(levels, rows): whether a row's label is another than at the first level."""
    outputs = np.array([level.outputs for level in found.levels])
    if found.labels is None:
        return np.zeros(outputs.shape[:2], dtype=bool)
    best = outputs.argmax(axis=2)
    return best != best[0]


def label_shift(found: Effects, effect: PartEffect) -> float:
    """How far closing one part moves the margin of the label (the score), in logits; negative:
    away from it."""
    assert effect.logits is not None
    return _margin(found.before, effect.logits) - _margin(found.before, found.before)


def _margin(decided: Sequence[float], logits: Sequence[float]) -> float:
    if len(decided) == 1:
        return logits[0]
    best = int(np.argmax(decided))
    return logits[best] - max(v for k, v in enumerate(logits) if k != best)


def beyond(race: TextRace) -> int:
    """How many calls are too slow to be drawn."""
    ms = 1000 * np.array([values[:MOST_POINTS] for values in race.seconds.values()])
    return int((ms > drawn_ms(race)).sum())


def drawn_ms(race: TextRace) -> float:
    """Milliseconds up to which calls are drawn."""
    return _FAR * 1000 * max(times.p95 for times in race.latency.values())
