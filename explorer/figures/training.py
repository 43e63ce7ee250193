"""A run's training: loss, score, gates closed and penalty over the epochs. Pure."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.look.theme import BLUE, GREY, STRONG, note_figure, pale, template
from explorer.words.training_words import Panel, Phase

SMOOTH_ROWS = 9
"""Logged steps in the median that is drawn through the loss."""

_PANEL = 175
_FEW = 12
"""Up to so many steps are marked one by one, or a single one could not be seen."""

_BAND = pale(GREY, 0.1)

Numbers: TypeAlias = "pd.Series[float]"


def training_figure(
    history: pd.DataFrame,
    panels: Sequence[Panel],
    phases: Sequence[Phase] = (),
    *,
    title: str = "",
) -> go.Figure:
    """history: a row a logged step. One panel a quantity that it has, over the same epochs."""
    shown = [p for p in panels if p.column in history and history[p.column].notna().any()]
    if history.empty or not shown:
        return note_figure("This run kept no history of its training.")
    x = "epoch" if "epoch" in history and history["epoch"].notna().any() else "step"
    figure = make_subplots(len(shown), 1, shared_xaxes=True, vertical_spacing=0.07)
    for number, panel in enumerate(shown, start=1):
        for trace in _traces(history, panel, x):
            figure.add_trace(trace, number, 1)
        ticks: dict[str, Any] = {}
        if panel.share:
            ticks = {"tickformat": ".2~%", "rangemode": "tozero"}
        elif panel.column == "score":
            ticks = {"range": _score_range(history["score"])}
        figure.update_yaxes(title=panel.title, row=number, col=1, nticks=6, **ticks)
    for number, phase in enumerate(phases if x == "epoch" else ()):
        _mark_phase(figure, phase, shaded=number % 2 == 1)
    unit = "Epochs (passes over the training rows)" if x == "epoch" else "Steps"
    figure.update_xaxes(title=unit, row=len(shown), col=1)
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=90 + _PANEL * len(shown),
        showlegend=False,
        hovermode="x unified",
    )
    return figure


def _score_range(scores: "pd.Series[float]") -> tuple[float, float]:
    """Room about the scores; no metric goes above 1, and no tick stands there."""
    low, high = float(scores.min()), float(scores.max())
    room = max(0.05, 0.2 * (high - low))
    return low - room, min(high + room, 1.005)


def _traces(history: pd.DataFrame, panel: Panel, x: str) -> list[go.Scatter]:
    rows = history[[x, panel.column]].dropna()
    form = ".1%" if panel.share else ".4g"
    hover = f"{panel.title.split(' (')[0].split('<br>')[0]}: %{{y:{form}}}<extra></extra>"
    places, values = rows[x], rows[panel.column]
    if panel.column == "loss":
        return _loss(places, values, hover)
    if panel.column == "score":
        return [_scores(places, values, hover)]
    line = go.Scatter(
        x=places,
        y=values,
        mode="lines" if len(values) > _FEW else "lines+markers",
        line={"color": STRONG if panel.column == "gates_closed" else GREY, "width": 2.5},
        hovertemplate=hover,
    )
    if panel.column != "gates_closed" or "target" not in history:
        return [line]
    asked = history[[x, "target"]].dropna()
    schedule = go.Scatter(
        x=asked[x],
        y=asked["target"],
        mode="lines",
        line={"color": GREY, "width": 2, "dash": "dot"},
        hovertemplate="Asked for: %{y:.1%}<extra></extra>",
    )
    return [line, schedule]


def _loss(places: Numbers, values: Numbers, hover: str) -> list[go.Scatter]:
    """A dot a logged step, and the running median."""
    middle = values.rolling(SMOOTH_ROWS, center=True, min_periods=1).median()
    dots = {"color": pale(BLUE, 0.6), "size": 5 if len(values) > _FEW else 8}
    line = {"color": BLUE, "width": 2}
    return [
        go.Scatter(x=places, y=values, mode="markers", marker=dots, hovertemplate=hover),
        go.Scatter(x=places, y=middle, mode="lines", line=line, hoverinfo="skip"),
    ]


def _scores(places: Numbers, values: Numbers, hover: str) -> go.Scatter:
    """Marks with their number beside them."""
    return go.Scatter(
        x=places,
        y=values,
        mode="lines+markers+text",
        text=[f"{value:.3f}" for value in values],
        textposition="top left",
        cliponaxis=False,
        marker={"color": BLUE, "size": 9, "symbol": "diamond"},
        line={"color": BLUE, "width": 2},
        hovertemplate=hover,
    )


def _mark_phase(figure: go.Figure, phase: Phase, *, shaded: bool) -> None:
    if shaded:
        figure.add_vrect(phase.start, phase.end, fillcolor=_BAND, line_width=0, layer="below")
    figure.add_annotation(
        x=(phase.start + phase.end) / 2,
        y=1,
        yref="paper",
        yanchor="bottom",
        text=phase.name,
        showarrow=False,
        font={"size": 14},
    )
