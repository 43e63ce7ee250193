"""Scores of levels on resampled rows, computed once and kept, within a budget of time.

A run never changes, so a value is kept by the versions of its runs' files. What does not fit in
the budget is left for the next rerun; a page draws what is there. Levels are resampled together:
the draws of the rows are made once for all.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence

from explorer.loading import loaders
from finegates_engine.analysis.answers import Answers
from finegates_engine.analysis.intervals import Interval
from finegates_engine.analysis.level_draws import (
    LevelScores,
    difference_interval,
    level_interval,
    level_scores,
)
from finegates_engine.errors import UserError

Runs = tuple[str, ...]
"""A level: its runs, one a seed."""

KEPT = 4096
"""Levels that are kept; the draws of one take 16 kB."""


def scores(
    store: loaders.Store,
    metric: str,
    split: str,
    wanted: Iterable[Runs],
    *,
    budget_s: float = math.inf,
) -> dict[Runs, LevelScores | str]:
    """Scores of the levels, or why one has none; those that the budget does not reach are left out.

    budget_s: seconds for reading what is not known yet; below 0 nothing is computed.
    """
    end = time.perf_counter() + budget_s
    memo, versions = loaders.memo("level scores", KEPT), loaders.listing(store).versions
    found: dict[Runs, LevelScores | str] = {}
    missing: dict[Runs, Sequence[Answers]] = {}
    for runs in dict.fromkeys(wanted):
        value = memo.get(_key(store, versions, metric, split, runs))
        if value is None and time.perf_counter() < end:
            try:
                missing[runs] = [loaders.answers(store, run, split) for run in runs]
            except UserError as error:
                value = str(error)
                memo.put(_key(store, versions, metric, split, runs), value)
        if value is not None:
            found[runs] = value
    for runs, value in level_scores(metric, missing).items():
        memo.put(_key(store, versions, metric, split, runs), value)
        found[runs] = value
    return found


def intervals(
    store: loaders.Store, metric: str, split: str, wanted: Sequence[Runs], *, budget_s: float
) -> tuple[dict[Runs, Interval | str], int]:
    """Interval of each level, or why there is none; and how many are left to compute."""
    memo, versions = loaders.memo("intervals", KEPT), loaders.listing(store).versions
    found: dict[Runs, Interval | str] = {}
    for runs, own in scores(store, metric, split, wanted, budget_s=budget_s).items():
        key = _key(store, versions, metric, split, runs)
        interval = memo.get(key)
        if interval is None:
            interval = own if isinstance(own, str) else level_interval(metric, own)
            memo.put(key, interval)
        found[runs] = interval
    return found, len(set(wanted)) - len(found)


def difference(
    store: loaders.Store, metric: str, split: str, a: Runs, b: Runs, *, compute: bool = True
) -> Interval | str | None:
    """Mean score of level `a` less that of `b` with its interval, or why there is none.

    None: not known yet, and not to be computed now.
    """
    budget_s = math.inf if compute else -1.0
    known = scores(store, metric, split, [a, b], budget_s=budget_s)
    if a not in known or b not in known:
        return None
    one, other = known[a], known[b]
    if isinstance(one, str) or isinstance(other, str):
        return one if isinstance(one, str) else other
    try:
        return difference_interval(one, other)
    except UserError as error:
        return str(error)


def _key(
    store: loaders.Store, versions: Mapping[str, str], metric: str, split: str, runs: Runs
) -> tuple[str, ...]:
    return (store.root, metric, split, *(f"{run} {versions.get(run)}" for run in runs))
