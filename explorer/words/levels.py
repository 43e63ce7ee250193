"""The curves of the trade-off: which are shown, their points and words, the table. No Streamlit."""

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from explorer.look.numbers import range_text, value_text
from explorer.look.theme import METHODS, method_style
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

SHOWN = 7
"""Curves shown before anyone chooses."""

_FLOOR = "probe"
"""Far below all others it would take up the scale: shown at first where it is alone."""

_TOLD = ("curve", "run_ids", "seeds", "method", "strategy", "variant", "backbone", "target_unit")
_TOLD += tuple(RUNGS)
"""What a curve and its hover need of a level."""


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
    short: str = ""
    """Its name at its end."""


def curve_code(level: Mapping[Any, Any] | Any) -> str:
    """A curve in an address: readable, and the same when other runs come and go."""
    return f"{level['method']}.{level['strategy']}.{level['variant']}".rstrip(".")


def curve_label(
    level: Mapping[Any, Any] | Any, *, backbone: bool = False, short: bool = False
) -> str:
    """A curve in words: FineGates, path, attention only. short: the method's short name."""
    style = method_style(level["method"])
    words = [style.short if short else style.label]
    words += ["path"] if level["strategy"] == "path" else []
    words += [level["variant"]] if level["variant"] else []
    words += [str(level["backbone"]).rsplit("/", 1)[-1]] if backbone else []
    return ", ".join(words)


def default_curves(levels: pd.DataFrame) -> list[int]:
    """Curves to begin with: of each method and way of training the plain one, or the longest."""
    by_curve = levels.groupby("curve")
    own = levels.drop_duplicates("curve").set_index("curve")[["variant", "strategy", "method"]]
    own = own.assign(
        count=by_curve.size(), score=by_curve["score"].mean(), plain=own["variant"] == ""
    )
    ranked = own.sort_values(["plain", "count", "score"], ascending=False)
    best = ranked.groupby(["method", "strategy"], sort=False).head(1)
    best = best[~best.index.isin(_inside_another(levels))]
    floor = best["method"] == _FLOOR
    best = best if floor.all() else best[~floor]
    known = {name: place for place, name in enumerate(METHODS)}
    place = best["method"].map(lambda name: known.get(name, len(known)))
    first = best.assign(place=place).sort_values(["place", "plain"], ascending=[True, False])
    return sorted(int(str(curve)) for curve in first.index[:SHOWN])


def _inside_another(levels: pd.DataFrame) -> set[int]:
    """Curves whose runs a path holds all: they are that path's beginning, no curve more."""
    runs: dict[tuple[str, int], set[str]] = {}
    for strategy, curve, ids in zip(
        levels["strategy"].tolist(), levels["curve"].tolist(), levels["run_ids"], strict=True
    ):
        runs.setdefault((strategy, curve), set()).update(ids)
    paths = [ids for (strategy, _), ids in runs.items() if strategy == "path"]
    return {
        curve
        for (strategy, curve), own in runs.items()
        if strategy == "independent" and any(own <= path for path in paths)
    }


def build_curves(
    levels: pd.DataFrame,
    rows: pd.DataFrame,
    x: str,
    y: str,
    intervals: Mapping[tuple[str, ...], Interval | str],
) -> list[Curve]:
    """The curves of the figure, FineGates last so that it lies on top."""
    levels = levels[levels[x].notna() & levels[y].notna()]
    several = levels["backbone"].nunique() > 1
    notes = _end_notes(levels)
    columns = [name for name in (*_TOLD, x, y) if name in levels.columns]
    told = levels[list(dict.fromkeys(columns))].sort_values(["curve", x])
    told["front"] = pareto_front(
        told[x], told[y], x_better=quantity(x).better, y_better=quantity(y).better
    )
    baseline = dict(zip(levels["curve"], is_baseline(levels), strict=True))
    keys = zip(rows["curve"], rows["run_id"], strict=True)
    values = dict(zip(keys, zip(rows[x], rows[y], strict=True), strict=True))
    numbers: dict[str, int] = {}
    curves = []
    for curve, group in itertools.groupby(told.to_dict("records"), key=itemgetter("curve")):
        own = list(group)
        method = str(own[0]["method"])
        number = numbers[method] = numbers.get(method, -1) + 1
        curves.append(
            Curve(
                label=curve_label(own[0], backbone=several),
                short=curve_label(own[0], backbone=several, short=True),
                method=method,
                number=number,
                baseline=bool(baseline[curve]),
                levels=pd.DataFrame([_point(one, x, y, values, intervals, several) for one in own]),
                seeds=_single_runs(own, values),
                end_note=notes.get(int(curve), ""),
            )
        )
    return sorted(
        curves, key=lambda c: (c.method == "finegates", not method_style(c.method).control)
    )


def _point(
    level: Mapping[Any, Any],
    x: str,
    y: str,
    values: Mapping[tuple[int, str], tuple[float, float]],
    intervals: Mapping[tuple[str, ...], Interval | str],
    several: bool,
) -> dict[str, Any]:
    interval = intervals.get(level["run_ids"])
    known = interval if isinstance(interval, Interval) and y.startswith("metrics.") else None
    scores = [float(values[level["curve"], run][1]) for run in level["run_ids"]]
    return {
        "x": level[x],
        "y": level[y],
        "low": known.low if known else np.nan,
        "high": known.high if known else np.nan,
        "hover": hover_text(level, y, known, backbone=several),
        "run_id": representative(level["run_ids"], scores),
        "front": level["front"],
    }


def _single_runs(
    own: Sequence[Mapping[Any, Any]], values: Mapping[tuple[int, str], tuple[float, float]]
) -> pd.DataFrame:
    """The runs of levels that have several."""
    names = [(one["curve"], run) for one in own if one["seeds"] > 1 for run in one["run_ids"]]
    rows = [(run, *values[curve, run]) for curve, run in names]
    return pd.DataFrame(rows, columns=["run_id", "x", "y"])


def _end_notes(levels: pd.DataFrame) -> dict[int, str]:
    """Curve -> the name of the first level that it cannot reach."""
    notes = {}
    for curve, gaps in missing_levels(levels).items():
        named = [(t, why) for t, why in gaps.items() if why != "not trained"]
        if named:
            target, why = named[0]
            notes[curve] = why if why.startswith("asked") else f"{target:.0%}: {why}"
    return notes


def hover_text(
    level: Mapping[Any, Any], y: str, interval: Interval | None, *, backbone: bool = False
) -> str:
    """The whole ladder of one level, and its score, as plotly's HTML."""
    lines = [f"<b>{html.escape(curve_label(level, backbone=backbone))}</b>"]
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
    named = levels[["method", "strategy", "variant", "backbone"]].to_dict("records")
    several = levels["backbone"].nunique() > 1
    table = pd.DataFrame({"Curve": [curve_label(row, backbone=several) for row in named]})
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
    gaps = _gap_rows(levels, several)
    table["Run"] = [runs[0] for runs in levels["run_ids"]]
    return pd.concat([table, gaps], ignore_index=True) if len(gaps) else table


def _gap_rows(levels: pd.DataFrame, several: bool) -> pd.DataFrame:
    by_curve = levels.groupby("curve").first()
    names = {curve: curve_label(row, backbone=several) for curve, row in by_curve.iterrows()}
    rows = [
        {"Curve": names[curve], "Target": target, "Note": why, "Run": ""}
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
