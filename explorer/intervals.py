"""Intervals of levels, computed once and kept, within a budget of time.

A run never changes, so a value is kept by the versions of its runs' files. What does not fit in
the budget is left for the next rerun; a page draws what is there.
"""

import time
from collections.abc import Iterable, Mapping, Sequence

from explorer import loaders
from finegates_engine.analysis.intervals import Interval, bootstrap_interval, paired_difference
from finegates_engine.errors import UserError

Runs = tuple[str, ...]


def intervals(
    store: loaders.Store, metric: str, split: str, wanted: Iterable[Runs], *, budget_s: float
) -> tuple[dict[Runs, Interval | str], int]:
    """Interval of each level (its runs, one a seed), or why there is none; how many are left."""
    found: dict[Runs, Interval | str] = {}
    left = 0
    end = time.perf_counter() + budget_s
    memo, versions = _memo(), loaders.listing(store).versions
    for runs in wanted:
        key = _key(store, versions, metric, split, runs)
        value = memo.get(key)
        if value is None and time.perf_counter() > end:
            left += 1
            continue
        if value is None:
            value = _interval(store, metric, split, runs)
            memo.put(key, value)
        found[runs] = value
    return found, left


def difference(
    store: loaders.Store,
    metric: str,
    split: str,
    a: Sequence[str],
    b: Sequence[str],
    *,
    compute: bool = True,
) -> Interval | str | None:
    """Mean score of runs `a` less that of runs `b` with its interval, or why there is none.

    None: not known yet, and not to be computed now.
    """
    versions = loaders.listing(store).versions
    key = (*_key(store, versions, metric, split, a), *_key(store, versions, metric, split, b))
    value = _memo().get(key)
    if value is None and compute:
        try:
            frames = [[loaders.predictions(store, r, split) for r in runs] for runs in (a, b)]
            value = paired_difference(metric, *frames)
        except UserError as error:
            value = str(error)
        _memo().put(key, value)
    return value


def _interval(store: loaders.Store, metric: str, split: str, runs: Runs) -> Interval | str:
    try:
        return bootstrap_interval(metric, [loaders.predictions(store, r, split) for r in runs])
    except UserError as error:
        return str(error)


def _memo() -> loaders.Memo:
    return loaders.memo("intervals", 20_000)


def _key(
    store: loaders.Store, versions: Mapping[str, str], metric: str, split: str, runs: Sequence[str]
) -> tuple[str, ...]:
    return (store.root, metric, split, *(f"{run} {versions.get(run)}" for run in runs))
