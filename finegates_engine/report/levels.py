"""Levels of every curve of a task with their intervals, and what follows from them. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finegates_engine.analysis.answers import answers_of
from finegates_engine.analysis.intervals import Interval
from finegates_engine.analysis.level_draws import (
    LevelScores,
    difference_interval,
    level_interval,
    level_scores,
)
from finegates_engine.analysis.tradeoff import curve_levels, is_baseline
from finegates_engine.analysis.variants import curve_rows
from finegates_engine.errors import UserError
from finegates_engine.method_table import METHODS
from finegates_engine.runs.store import RunStore


@dataclass(frozen=True)
class Level:
    """One level of a curve."""

    removed: float
    """Share of the encoder's weights that leave, the mean over its seeds."""

    interval: Interval
    trained: float
    """Trained parameters."""

    by_seed: Mapping[int, LevelScores]
    """Scores of its run with each seed, all on the same draws."""


@dataclass(frozen=True)
class Curve:
    """Levels that differ in target and seed alone, fewest removed first."""

    label: str
    method: str
    strategy: str
    variant: str
    backbone: str
    is_point: bool
    """Of a method that removes nothing."""

    levels: tuple[Level, ...]

    @property
    def is_ours(self) -> bool:
        """FineGates with the settings closest to the default."""
        return self.method == "finegates" and not self.variant

    @property
    def is_control(self) -> bool:
        """Gates that no training chose."""
        return self.method in METHODS and METHODS[self.method].source == "control"


@dataclass(frozen=True)
class TaskResults:
    """All curves of one task, metric and evaluation split."""

    task: str
    metric: str
    split: str
    rows: int
    """Evaluation rows."""

    train_rows: str
    curves: tuple[Curve, ...]


def results_of(store: RunStore) -> list[TaskResults]:
    """Results of each task of a store, by task."""
    frame = store.frame()
    if frame.empty:
        return []
    levels = curve_levels(curve_rows(frame))
    levels["baseline"] = is_baseline(levels)
    keys = ["task", "metric", "split"]
    return [_task(store, own) for _, own in levels.groupby(keys, sort=True)]


def paired(a: Curve, b: Curve) -> list[tuple[float, Interval]]:
    """(share removed, score of `a` less that of `b`) at levels that both have.

    Over the seeds that both have, where there are any: others would add what seeds differ by.
    """
    found = []
    for one in a.levels:
        near = [other for other in b.levels if abs(other.removed - one.removed) <= 0.005]
        if not near:
            continue
        both = sorted(one.by_seed.keys() & near[0].by_seed.keys())
        ours = _together(one.by_seed, both or sorted(one.by_seed))
        theirs = _together(near[0].by_seed, both or sorted(near[0].by_seed))
        if ours.rows == theirs.rows:
            found.append((one.removed, difference_interval(ours, theirs)))
    return found


def _task(store: RunStore, levels: Any) -> TaskResults:
    first = levels.iloc[0]
    metric, split = str(first["metric"]), str(first["split"])
    names = [name for runs in levels["run_ids"] for name in runs]
    answers, seeds, count = {}, {}, 0
    for run in map(store.load, dict.fromkeys(names)):
        table = run.predictions[run.predictions["split"] == split]
        answers[run.run_id] = [answers_of(table)]
        seeds[run.run_id] = run.config.seed
        count = len(table)
    scored = {name: (seeds[name], scores) for name, scores in level_scores(metric, answers).items()}
    parts = [own for _, own in levels.groupby("curve", sort=True)]
    on_curves = {runs for own in parts if len(own) > 1 for runs in own["run_ids"]}
    curves = [
        _curve(metric, own, scored)
        for own in parts
        if len(own) > 1 or own["run_ids"].iloc[0] not in on_curves  # where a path begins
    ]
    config = store.load(first["run_ids"][0]).config.task
    return TaskResults(
        task=str(first["task"]),
        metric=metric,
        split=split,
        rows=count,
        train_rows="all" if config.max_train_samples is None else f"{config.max_train_samples:,}",
        curves=tuple(sorted(curves, key=_order)),
    )


def _curve(metric: str, rows: Any, scored: dict[str, tuple[int, LevelScores | str]]) -> Curve:
    levels = [_level(metric, row, scored) for row in rows.to_dict("records")]
    first = rows.iloc[0]
    method, strategy, variant = (str(first[name]) for name in ("method", "strategy", "variant"))
    words: Sequence[str] = [METHODS[method].label if method in METHODS else method]
    words = [*words, *(["path"] if strategy == "path" else []), *([variant] if variant else [])]
    return Curve(
        label=", ".join(words),
        method=method,
        strategy=strategy,
        variant=variant,
        backbone=str(first["backbone"]).rsplit("/", 1)[-1],
        is_point=bool(first["baseline"]),
        levels=tuple(levels),
    )


def _level(metric: str, row: Any, scored: dict[str, tuple[int, LevelScores | str]]) -> Level:
    by_seed = {}
    for name in row["run_ids"]:
        seed, scores = scored[name]
        if isinstance(scores, str):
            raise UserError(f"Run {name} has no score: {scores}.")
        by_seed[seed] = scores
    if len({scores.rows for scores in by_seed.values()}) > 1:
        raise UserError(f"Runs {', '.join(row['run_ids'])} were evaluated on different rows.")
    return Level(
        removed=float(row["folded_encoder_fraction"]),
        interval=level_interval(metric, _together(by_seed, by_seed)),
        trained=float(row["trained_parameters"]),
        by_seed=by_seed,
    )


def _together(by_seed: Mapping[int, LevelScores], seeds: Iterable[int]) -> LevelScores:
    chosen = [by_seed[seed] for seed in seeds]
    return LevelScores(
        np.concatenate([one.scores for one in chosen]),
        np.mean([one.drawn for one in chosen], axis=0),
        chosen[0].rows,
    )


def _order(curve: Curve) -> tuple[bool, bool, bool, bool, str]:
    """FineGates first, its path before the rest; then rivals, controls and points."""
    return (
        not curve.is_ours,
        curve.is_point,
        curve.is_control,
        curve.strategy != "path",
        curve.label,
    )
