"""Score, or a cost, against what was removed. Pure: curves in, figure out."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.levels import Curve, axis_format
from explorer.theme import GREY, method_style, note_figure, pale, template, variant_marks
from finegates_engine.analysis.tradeoff import Quantity

HEIGHT = 460
_PLOT_PIXELS = 350
_LINE_PIXELS = 19
_LABEL_CHARACTERS = 12


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
    figure = go.Figure()
    ranges = _ranges(curves)
    for curve in curves:
        if curve.baseline:
            _add_baseline(figure, curve, ranges[0])
        else:
            _add_curve(figure, curve, y)
    _add_rings(figure, curves, selected)
    _add_labels(figure, curves, ranges)
    figure.update_layout(
        template=template(),
        title={"text": title, "subtitle": {"text": subtitle}},
        height=HEIGHT,
        showlegend=False,
        hovermode="closest",
    )
    spans = [high - low for low, high in ranges]
    figure.update_xaxes(title=x.axis_title, tickformat=axis_format(x, spans[0]), range=ranges[0])
    figure.update_yaxes(title=y.axis_title, tickformat=axis_format(y, spans[1]), range=ranges[1])
    return figure


def _add_curve(figure: go.Figure, curve: Curve, y: Quantity) -> None:
    style = method_style(curve.method)
    dash, symbol = variant_marks(style, curve.number)
    _add_band(figure, curve, pale(style.colour, 0.16 if curve.number == 0 else 0.09))
    _add_seeds(figure, curve)
    levels = curve.levels
    one = len(levels) == 1 and levels["low"].notna().all()
    figure.add_scatter(
        x=levels["x"],
        y=levels["y"],
        name=curve.label,
        customdata=levels["run_id"].tolist(),
        text=levels["hover"],
        mode="lines+markers",
        line={"color": style.colour, "dash": dash, "width": 1.6 if style.control else 2.6},
        marker={"color": style.colour, "symbol": symbol, "size": 10},
        error_y=_bars(curve) if one else None,
        hovertemplate="%{text}<extra></extra>",
        **_same_when_selected(1.0),
    )


def _add_seeds(figure: go.Figure, curve: Curve) -> None:
    """Single runs as small dots, where a level has several."""
    if curve.seeds.empty:
        return
    colour = method_style(curve.method).colour
    figure.add_scatter(
        x=curve.seeds["x"],
        y=curve.seeds["y"],
        customdata=curve.seeds["run_id"].tolist(),
        mode="markers",
        marker={"color": colour, "size": 5, "opacity": 0.5, "symbol": "circle"},
        hovertemplate="One seed: %{y}<br>%{customdata}<extra></extra>",
        **_same_when_selected(0.5),
    )


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


def _add_band(figure: go.Figure, curve: Curve, colour: str) -> None:
    known = curve.levels.dropna(subset=["low", "high"])
    if len(known) < 2:
        return
    figure.add_scatter(
        x=[*known["x"], *known["x"][::-1]],
        y=[*known["high"], *known["low"][::-1]],
        fill="toself",
        fillcolor=colour,
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
    )


def _add_baseline(figure: go.Figure, curve: Curve, span: tuple[float, float]) -> None:
    """A method that removes nothing: a line to compare with, over the whole width."""
    style = method_style(curve.method)
    level = curve.levels.iloc[0]
    if not np.isnan(level["low"]):
        figure.add_scatter(
            x=[*span, *span[::-1]],
            y=[level["high"]] * 2 + [level["low"]] * 2,
            fill="toself",
            fillcolor=pale(style.colour, 0.09),
            mode="lines",
            line={"width": 0},
            hoverinfo="skip",
        )
    _add_seeds(figure, curve)
    figure.add_scatter(
        x=[span[0], level["x"], span[1]],
        y=[level["y"]] * 3,
        name=curve.label,
        customdata=[level["run_id"]] * 3,
        text=[level["hover"]] * 3,
        mode="lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 1.8},
        marker={"color": style.colour, "symbol": style.symbol, "size": [0, 9, 0]},
        hovertemplate="%{text}<extra></extra>",
        **_same_when_selected(1.0),
    )


def _add_rings(figure: go.Figure, curves: Sequence[Curve], selected: str | None) -> None:
    points = [p for curve in curves for p in curve.levels.to_dict("records")]
    front = [p for p in points if p["front"]]
    chosen = [p for p in points if p["run_id"] == selected]
    if not chosen and selected is not None:
        seeds = [s for curve in curves for s in curve.seeds.to_dict("records")]
        chosen = [s for s in seeds if s["run_id"] == selected]
    for name, found, size, width, symbol in (
        ("Pareto front", front, 19, 1.6, "circle-open"),
        ("Selected run", chosen[:1], 25, 2.4, "square-open"),
    ):
        if found:
            figure.add_scatter(
                x=[p["x"] for p in found],
                y=[p["y"] for p in found],
                name=name,
                mode="markers",
                marker={"symbol": symbol, "size": size, "color": GREY, "line": {"width": width}},
                hoverinfo="skip",
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


def _add_labels(
    figure: go.Figure,
    curves: Sequence[Curve],
    ranges: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    """Each line's name at its end, moved apart where ends are close."""
    (left, right), (low, high) = ranges
    labels = []
    for curve in curves:
        last = curve.levels.iloc[-1]
        x = right if curve.baseline else float(last["x"])
        text = _two_lines(curve.label) + (f"<br><i>{curve.end_note}</i>" if curve.end_note else "")
        labels.append((x, float(last["y"]), text, curve))
    per_pixel = (high - low) / _PLOT_PIXELS
    heights = [(text.count("<br>") + 1) * _LINE_PIXELS * per_pixel for _, _, text, _ in labels]
    wanted = [
        y + (h / 2 if c.baseline else 0) for (_, y, _, c), h in zip(labels, heights, strict=True)
    ]
    close = 0.3 * (right - left)
    places = spread(wanted, heights, [min(x, right - close) for x, _, _, _ in labels], close)
    for (x, _, text, curve), place in zip(labels, places, strict=True):
        style = method_style(curve.method)
        key = f"<span style='color:{style.colour}'>●</span> "
        figure.add_annotation(
            x=x,
            y=place,
            text=key + text,
            showarrow=False,
            xanchor="right" if curve.baseline else "left",
            xshift=0 if curve.baseline else 12,
            align="left",
            font={"size": 13},
        )


def spread(
    wanted: Sequence[float], heights: Sequence[float], columns: Sequence[float], close: float
) -> list[float]:
    """Places for labels near the wanted ones, such that those in near columns do not overlap."""
    places = list(wanted)
    order = sorted(range(len(places)), key=lambda i: places[i])
    for _ in range(40):
        moved = False
        for below, above in ((a, b) for k, a in enumerate(order) for b in order[k + 1 :]):
            if abs(columns[below] - columns[above]) > close:
                continue
            overlap = (heights[below] + heights[above]) / 2 - (places[above] - places[below])
            if overlap > 1e-9:
                places[below] -= overlap / 2
                places[above] += overlap / 2
                moved = True
        if not moved:
            break
    return places


def _two_lines(label: str) -> str:
    """A label broken after the comma that keeps its first line short."""
    lines: list[str] = []
    for part in label.split(", "):
        if lines and len(lines[-1]) + len(part) + 2 <= _LABEL_CHARACTERS:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return ",<br>".join(lines)
