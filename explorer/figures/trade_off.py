"""Score, or a cost, against what was removed. Pure: curves in, figure out."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.figures.end_labels import EndLabel, end_labels
from explorer.look.theme import GREY, method_style, note_figure, pale, template, variant_marks
from explorer.words.levels import Curve, axis_format
from finegates_engine.analysis.tradeoff import Quantity

HEIGHT = 460

CROWD = 3
"""Methods beyond which bands and single seeds are those of FineGates alone: more of them cover
each other. The interval of the others stands in their hover."""

Trace = dict[str, Any]
"""A plotly trace as plain values: plotly checks them once, when the figure is made."""


def trade_off_figure(
    curves: Sequence[Curve],
    x: Quantity,
    y: Quantity,
    *,
    title: str = "",
    subtitle: str = "",
    selected: str | None = None,
) -> go.Figure:
    """One curve a method and variant: bands, seeds as dots, baselines as lines, Pareto rings.

    customdata of every mark: the run that a click selects.
    """
    if not any(len(curve.levels) for curve in curves):
        return note_figure("Nothing to draw: no shown run has both values.")
    crowded = len({curve.method for curve in curves}) > CROWD
    ranges, end = _ranges(curves), max(float(curve.levels["x"].max()) for curve in curves)
    traces: list[Trace] = []
    for curve in curves:
        quiet = crowded and curve.method != "finegates"
        draw = _baseline if curve.baseline else _curve
        traces += draw(curve, (ranges[0][0], end), quiet)
    spans = [high - low for low, high in ranges]
    labels = [_label(curve, end) for curve in curves]
    layout = {
        "template": template(),
        "title": {"text": title, "subtitle": {"text": subtitle}},
        "height": HEIGHT,
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": {
            "title": {"text": x.axis_title},
            "tickformat": axis_format(x, spans[0]),
            "range": ranges[0],
        },
        "yaxis": {
            "title": {"text": y.axis_title},
            "tickformat": axis_format(y, spans[1]),
            "range": ranges[1],
        },
        "annotations": end_labels(labels, x_range=ranges[0], y_range=ranges[1]),
    }
    return go.Figure(data=[*traces, *_rings(curves, selected)], layout=layout)


def _curve(curve: Curve, span: tuple[float, float], quiet: bool) -> list[Trace]:
    style = method_style(curve.method)
    dash, symbol = variant_marks(style, curve.number)
    levels = curve.levels
    one = len(levels) == 1 and bool(levels["low"].notna().all())
    line = {
        "x": levels["x"].tolist(),
        "y": levels["y"].tolist(),
        "name": html.escape(curve.label),
        "customdata": levels["run_id"].tolist(),
        "text": levels["hover"].tolist(),
        "mode": "lines+markers",
        "line": {
            "color": style.colour,
            "dash": dash,
            "width": 1.4 if quiet or style.control else 2.6,
        },
        "marker": {"color": style.colour, "symbol": symbol, "size": 7 if quiet else 10},
        "error_y": _bars(curve) if one else None,
        "hovertemplate": "%{text}<extra></extra>",
        **_same_when_selected(1.0),
    }
    if quiet:
        return [line]
    band = _band(curve, pale(style.colour, 0.16 if curve.number == 0 else 0.09))
    return [*band, *_seeds(curve), line]


def _seeds(curve: Curve) -> list[Trace]:
    """Single runs as small dots, where a level has several."""
    if curve.seeds.empty:
        return []
    colour = method_style(curve.method).colour
    return [
        {
            "x": curve.seeds["x"].tolist(),
            "y": curve.seeds["y"].tolist(),
            "customdata": curve.seeds["run_id"].tolist(),
            "mode": "markers",
            "marker": {"color": colour, "size": 5, "opacity": 0.5, "symbol": "circle"},
            "hovertemplate": "One seed: %{y}<br>%{customdata}<extra></extra>",
            **_same_when_selected(0.5),
        }
    ]


def _same_when_selected(opacity: float) -> dict[str, object]:
    """A click selects a run; it must not fade all other marks."""
    return {"unselected": {"marker": {"opacity": opacity}}}


def _bars(curve: Curve) -> dict[str, object]:
    level = curve.levels.iloc[0]
    return {
        "type": "data",
        "symmetric": False,
        "array": [level["high"] - level["y"]],
        "arrayminus": [level["y"] - level["low"]],
        "thickness": 1.4,
        "width": 5,
    }


def _band(curve: Curve, colour: str) -> list[Trace]:
    known = curve.levels.dropna(subset=["low", "high"])
    if len(known) < 2:
        return []
    xs, low, high = (known[name].tolist() for name in ("x", "low", "high"))
    return [_area([*xs, *xs[::-1]], [*high, *low[::-1]], colour)]


def _area(xs: list[float], ys: list[float], colour: str) -> Trace:
    return {
        "x": xs,
        "y": ys,
        "fill": "toself",
        "fillcolor": colour,
        "mode": "lines",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def _baseline(curve: Curve, span: tuple[float, float], quiet: bool) -> list[Trace]:
    """A method that removes nothing: a line to compare with, as far as the curves go."""
    style = method_style(curve.method)
    level = curve.levels.iloc[0]
    line = {
        "x": [span[0], level["x"], span[1]],
        "y": [level["y"]] * 3,
        "name": html.escape(curve.label),
        "customdata": [level["run_id"]] * 3,
        "text": [level["hover"]] * 3,
        "mode": "lines+markers",
        "line": {"color": style.colour, "dash": style.dash, "width": 1.4 if quiet else 1.8},
        "marker": {"color": style.colour, "symbol": style.symbol, "size": [0, 9, 0]},
        "hovertemplate": "%{text}<extra></extra>",
        **_same_when_selected(1.0),
    }
    if quiet:
        return [line]
    ends = [*span, *span[::-1]]
    sides = [level["high"]] * 2 + [level["low"]] * 2
    band = [] if np.isnan(level["low"]) else [_area(ends, sides, pale(style.colour, 0.09))]
    return [*band, *_seeds(curve), line]


def _rings(curves: Sequence[Curve], selected: str | None) -> list[Trace]:
    points = [p for curve in curves for p in curve.levels.to_dict("records")]
    front = [p for p in points if p["front"]]
    chosen = [p for p in points if p["run_id"] == selected]
    if not chosen and selected is not None:
        seeds = [s for curve in curves for s in curve.seeds.to_dict("records")]
        chosen = [s for s in seeds if s["run_id"] == selected]
    kinds = (
        ("Pareto front", front, 19, 1.6, "circle-open"),
        ("Selected run", chosen[:1], 25, 2.4, "square-open"),
    )
    return [
        {
            "x": [p["x"] for p in found],
            "y": [p["y"] for p in found],
            "name": name,
            "mode": "markers",
            "marker": {"symbol": symbol, "size": size, "color": GREY, "line": {"width": width}},
            "hoverinfo": "skip",
        }
        for name, found, size, width, symbol in kinds
        if found
    ]


def _label(curve: Curve, end: float) -> EndLabel:
    last = curve.levels.iloc[-1]
    return EndLabel(
        x=end if curve.baseline else float(last["x"]),
        y=float(last["y"]),
        text=html.escape(curve.short),
        note=curve.end_note,
        colour=method_style(curve.method).colour,
    )


def _ranges(curves: Sequence[Curve]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of x and y, with room for the marks, and for the labels at the right."""
    xs = np.concatenate([[*c.levels["x"], *c.seeds["x"]] for c in curves]).astype(float)
    columns = ("y", "low", "high")
    ys = np.concatenate(
        [[*c.levels[list(columns)].to_numpy().ravel(), *c.seeds["y"]] for c in curves]
    )
    ys = ys[~np.isnan(ys.astype(float))].astype(float)
    width = xs.max() - xs.min() or abs(xs.max()) or 1.0
    height = ys.max() - ys.min() or abs(ys.max()) * 0.1 or 1.0
    return (
        (float(xs.min() - 0.04 * width), float(xs.max() + 0.36 * width)),
        (float(ys.min() - 0.07 * height), float(ys.max() + 0.1 * height)),
    )
