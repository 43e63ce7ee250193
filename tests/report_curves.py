"""Curves of a report, made of numbers."""

import numpy as np

from finegates_engine.analysis.level_draws import LevelScores, level_interval
from finegates_engine.report.levels import Curve, Level


def level(removed, scores, drawn, seeds):
    """A level of one score and one row of draws a seed."""
    own = [
        LevelScores(np.array([s]), np.asarray(d, float), "r")
        for s, d in zip(scores, drawn, strict=True)
    ]
    both = LevelScores(np.array(scores, float), np.mean(drawn, axis=0), "r")
    return Level(
        removed, level_interval("accuracy", both), 10.0, dict(zip(seeds, own, strict=True))
    )


def curve(*levels):
    return Curve("A", "finegates", "path", "", "B", False, levels)


def simple_curve(*levels):
    """A curve of (share removed, score), of one seed whose rows do not vary."""
    return curve(*(level(x, [y], [[y] * 50], [0]) for x, y in levels))
