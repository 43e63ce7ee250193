"""The curves of the trade-off: which are shown, their points and words, the table. No Streamlit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from explorer.numbers import range_text, value_text
from explorer.theme import METHODS, method_style
from finegates_engine.analysis.intervals import Interval
from finegates_engine.analysis.tradeoff import (
    Quantity,
    is_baseline,
    missing_levels,
    pareto_front,
    quantity,
    representative,
)
from finegates_engine.ladder import RUNGS

SHOWN = 6
"""Curves shown before anyone chooses."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of the figure."""

    label: str
    method: str
    number: int
    """Among the method's shown curves, for dash and marker."""
    baseline: bool
    levels: pd.DataFrame
    """x, y, low, high, hover, run_id, front; by x."""
    seeds: pd.DataFrame
    """x, y, run_id: single runs, where a level has several."""
    end_note: str = ""
    """Why the curve ends where others go on."""


def curve_code(level: Mapping[Any, Any] | Any) -> str:
    """A curve in an address: readable, and the same when other runs come and go."""
    return f"{level['method']}.{level['strategy']}.{level['variant']}".rstrip(".")


def curve_label(level: Mapping[Any, Any] | Any, *, backbone: bool = False) -> str:
    """A curve in words: FineGates, path, attention only."""
    words = [method_style(level["method"]).label]
    words += ["path"] if level["strategy"] == "path" else []
    words += [level["variant"]] if level["variant"] else []
    words += [str(level["backbone"]).rsplit("/", 1)[-1]] if backbone else []
    return ", ".join(words)


def default_curves(levels: pd.DataFrame) -> list[int]:
    """Curves to begin with: of each method and way of training the plain one, or the longest."""
    own = levels.groupby("curve").agg(
        count=("target", "size"),
        variant=("variant", "first"),
        strategy=("strategy", "first"),
        method=("method", "first"),
        score=("score", "mean"),
    )
    own["plain"] = own["variant"] == ""
    ranked = own.sort_values(["plain", "count", "score"], ascending=False)
    best = ranked.groupby(["method", "strategy"], sort=False).head(1)
    best = best[~_inside_another(levels).reindex(best.index)]
    known = {name: place for place, name in enumerate(METHODS)}
    place = best["method"].map(lambda name: known.get(name, len(known)))
    first = best.assign(place=place).sort_values(["place", "plain"], ascending=[True, False])
    return sorted(int(str(curve)) for curve in first.index[:SHOWN])


def _inside_another(levels: pd.DataFrame) -> "pd.Series[bool]":
    """Curve -> whether a path holds all its runs: it is that path's beginning, no curve more."""
    runs = levels.explode("run_ids").groupby(["strategy", "curve"])["run_ids"].agg(set)
    paths = list(runs["path"]) if "path" in runs.index else []
    inside = {
        curve: strategy == "independent" and any(own <= path for path in paths)
        for (strategy, curve), own in runs.items()
    }
    return pd.Series(inside, dtype=bool)


def build_curves(
    levels: pd.DataFrame,
    rows: pd.DataFrame,
    x: str,
    y: str,
    intervals: Mapping[tuple[str, ...], Interval | str],
) -> list[Curve]:
    """The curves of the figure, FineGates last so that it lies on top."""
    levels = levels[levels[x].notna() & levels[y].notna()].copy()
    front = pareto_front(
        levels[x], levels[y], x_better=quantity(x).better, y_better=quantity(y).better
    )
    levels["front"] = front
    levels["baseline"] = is_baseline(levels)
    several = levels["backbone"].nunique() > 1
    notes = _end_notes(levels)
    values = rows[list(dict.fromkeys(["curve", "run_id", x, y]))]
    numbers: dict[str, int] = {}
    curves = []
    for curve, own in levels.groupby("curve", sort=True):
        first = own.iloc[0]
        number = numbers[first["method"]] = numbers.get(first["method"], -1) + 1
        runs = values[values["curve"] == curve].set_index("run_id")
        curves.append(
            Curve(
                label=curve_label(first, backbone=several),
                method=str(first["method"]),
                number=number,
                baseline=bool(first["baseline"]),
                levels=_points(own, runs, x, y, intervals),
                seeds=_single_runs(own, runs, x, y),
                end_note=notes.get(int(str(curve)), ""),
            )
        )
    return sorted(
        curves, key=lambda c: (c.method == "finegates", not method_style(c.method).control)
    )


def _points(
    own: pd.DataFrame,
    runs: pd.DataFrame,
    x: str,
    y: str,
    intervals: Mapping[tuple[str, ...], Interval | str],
) -> pd.DataFrame:
    points = []
    for level in own.sort_values(x).to_dict("records"):
        interval = intervals.get(level["run_ids"])
        known = interval if isinstance(interval, Interval) and y.startswith("metrics.") else None
        scores = [float(runs.loc[run, y]) for run in level["run_ids"]]
        points.append(
            {
                "x": level[x],
                "y": level[y],
                "low": known.low if known else np.nan,
                "high": known.high if known else np.nan,
                "hover": hover_text(level, y, known),
                "run_id": representative(level["run_ids"], scores),
                "front": level["front"],
            }
        )
    return pd.DataFrame(points)


def _single_runs(own: pd.DataFrame, runs: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    names = [run for ids in own["run_ids"] if len(ids) > 1 for run in ids]
    chosen = runs.loc[names, [x, y]].set_axis(["x", "y"], axis=1)
    return chosen.rename_axis("run_id").reset_index()


def _end_notes(levels: pd.DataFrame) -> dict[int, str]:
    """Curve -> the name of the first level that it cannot reach."""
    notes = {}
    for curve, gaps in missing_levels(levels).items():
        named = [(t, why) for t, why in gaps.items() if why != "not trained"]
        if named:
            target, why = named[0]
            notes[curve] = why if why.startswith("asked") else f"{target:.0%}: {why}"
    return notes


def hover_text(level: Mapping[Any, Any], y: str, interval: Interval | None) -> str:
    """The whole ladder of one level, and its score."""
    lines = [f"<b>{curve_label(level)}</b>"]
    score = value_text(level[y], quantity(y))
    if interval is not None:
        score += f" ({range_text(interval.low, interval.high, 3)})"
    lines.append(f"{quantity(y).label}: <b>{score}</b>")
    for rung in RUNGS:
        if rung in level and not pd.isna(level[rung]):
            label = quantity(rung).label
            if rung == "target":
                label += " (gates)" if level["target_unit"] == "gates" else " (encoder weights)"
            lines.append(f"{label}: {value_text(level[rung], quantity(rung))}")
    count = level["seeds"]
    lines.append("1 seed: interval over rows only" if count == 1 else f"{count} seeds")
    return "<br>".join(lines)


def level_table(
    levels: pd.DataFrame, y: str, intervals: Mapping[tuple[str, ...], Interval | str]
) -> pd.DataFrame:
    """One row a level, and one a level that a curve cannot reach."""
    known = [_known(intervals.get(runs)) for runs in levels["run_ids"]]
    table = pd.DataFrame({"Curve": [curve_label(row) for row in levels.to_dict("records")]})
    rungs = [rung for rung in RUNGS if rung in levels and levels[rung].notna().any()]
    if "target" in rungs:
        table[quantity("target").label] = levels["target"].to_numpy()
    table[quantity(y).label] = levels[y].to_numpy()
    if any(known):
        table["Low"] = [i.low if i else np.nan for i in known]
        table["High"] = [i.high if i else np.nan for i in known]
    table["Seeds"] = levels["seeds"].to_numpy()
    for rung in rungs:
        table[quantity(rung).label] = levels[rung].to_numpy()
    table["Note"] = ""
    gaps = _gap_rows(levels)
    table["Run"] = [runs[0] for runs in levels["run_ids"]]
    return pd.concat([table, gaps], ignore_index=True) if len(gaps) else table


def _gap_rows(levels: pd.DataFrame) -> pd.DataFrame:
    by_curve = levels.groupby("curve").first()
    rows = [
        {"Curve": curve_label(by_curve.loc[curve]), "Target": target, "Note": why, "Run": ""}
        for curve, gaps in missing_levels(levels).items()
        for target, why in gaps.items()
        if why.startswith("out of reach")
    ]
    return pd.DataFrame(rows)


def _known(interval: Interval | str | None) -> Interval | None:
    return interval if isinstance(interval, Interval) else None


def problems(intervals: Mapping[tuple[str, ...], Interval | str]) -> list[str]:
    """Why some intervals are missing, each reason once."""
    return list(dict.fromkeys(value for value in intervals.values() if isinstance(value, str)))


def wanted_runs(levels: pd.DataFrame, y: str) -> Iterable[tuple[str, ...]]:
    """Runs of each level whose interval is to be drawn: none for a cost."""
    return list(levels["run_ids"]) if y.startswith("metrics.") else []


NARROW = 0.06
"""Below this span of scores, ticks lie closer than two decimals tell apart."""


def axis_format(of: Quantity, span: float = 1.0) -> str:
    """Tick format of an axis that shows values over `span`."""
    score = ".3f" if span < NARROW else ".2f"
    return {"share": ".0%", "score": score, "bytes": "~s", "MACs": "~s", "count": "~s"}.get(
        of.unit, ""
    )
