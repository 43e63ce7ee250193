"""Levels against a limit on the score drop. Pure: candidates in, figure out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from explorer.theme import GREY, STRONG, method_style, note_figure, pale, template

HEIGHT = 400


@dataclass(frozen=True)
class Mark:
    """One level as it is drawn."""

    label: str
    method: str
    run_id: str
    removed: float
    drop: float
    low: float
    high: float
    holds: bool
    """Whether it keeps to all limits."""
    choice: str
    """recommended, runner-up, nearest or nothing."""
    text: str
    """What is known of it, for its tooltip."""


def levels_figure(
    marks: Sequence[Mark], *, limit: float | None, unit: str, title: str = ""
) -> go.Figure:
    """A mark a level with its 95% interval; filled where it keeps to all limits.

    limit: largest drop, in `unit` ("points" or "percent"). customdata: the run of a mark.
    """
    if not marks:
        return note_figure("Nothing to draw: no level can be compared.")
    figure = go.Figure()
    low, high = _range(marks, limit)
    if limit is not None:
        _add_limit(figure, limit, low, unit)
    by_method: dict[str, list[Mark]] = {}
    for mark in marks:
        by_method.setdefault(mark.method, []).append(mark)
    for method, own in by_method.items():
        _add_marks(figure, method, own)
    _add_choices(figure, marks)
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=HEIGHT,
        showlegend=len(by_method) > 1,
        hovermode="closest",
    )
    figure.update_xaxes(title="Encoder weights removed (share of all)", tickformat=".0%")
    most = max(mark.removed for mark in marks)
    least = min(mark.removed for mark in marks)
    room = max(most - least, 0.1) * 0.14
    figure.update_xaxes(range=[max(least - room, -0.02), most + 2.2 * room])
    words = "points" if unit == "points" else "percent of the score"
    figure.update_yaxes(title=f"Score drop ({words}), lower is better", range=[low, high])
    return figure


def _add_limit(figure: go.Figure, limit: float, low: float, unit: str) -> None:
    figure.add_hrect(y0=low, y1=limit, fillcolor=pale(GREY, 0.13), line_width=0, layer="below")
    figure.add_hline(y=limit, line={"color": GREY, "width": 1.4, "dash": "dash"})
    text = f"limit: {limit:g} {unit if unit == 'points' else '%'}"
    figure.add_annotation(
        x=0, xref="paper", xanchor="left", y=limit, yanchor="bottom", text=text,
        showarrow=False, font={"size": 13}, xshift=6,
    )  # fmt: skip


def _add_marks(figure: go.Figure, method: str, marks: Sequence[Mark]) -> None:
    style = method_style(method)
    figure.add_scatter(
        x=[mark.removed for mark in marks],
        y=[mark.drop for mark in marks],
        name=style.label,
        customdata=[mark.run_id for mark in marks],
        text=[mark.text for mark in marks],
        mode="markers",
        marker={
            "color": style.colour,
            "symbol": [style.symbol + ("" if mark.holds else "-open") for mark in marks],
            "size": 11,
            "line": {"width": 1.8, "color": style.colour},
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [mark.high - mark.drop for mark in marks],
            "arrayminus": [mark.drop - mark.low for mark in marks],
            "thickness": 1.1,
            "width": 0,
            "color": pale(style.colour, 0.45),
        },
        hovertemplate="%{text}<extra></extra>",
        unselected={"marker": {"opacity": 1}},
    )


def _add_choices(figure: go.Figure, marks: Sequence[Mark]) -> None:
    chosen = [mark for mark in marks if mark.choice]
    if not chosen:
        return
    figure.add_scatter(
        x=[mark.removed for mark in chosen],
        y=[mark.drop for mark in chosen],
        name="Choice",
        showlegend=False,
        mode="markers",
        marker={
            "symbol": "circle-open",
            "size": [24 if mark.choice != "runner-up" else 19 for mark in chosen],
            "color": [STRONG if mark.choice == "recommended" else GREY for mark in chosen],
            "line": {"width": 2.2},
        },
        hoverinfo="skip",
        unselected={"marker": {"opacity": 1}},
    )
    near = len({round(mark.removed, 2) for mark in chosen}) < len(chosen)
    for number, mark in enumerate(sorted(chosen, key=lambda mark: mark.drop)):
        figure.add_annotation(
            x=mark.removed,
            y=mark.drop,
            text=mark.choice,
            showarrow=False,
            xanchor="left",
            xshift=15,
            yshift=(9 if number else -9) if near else 0,
            font={"size": 13},
        )


def _range(marks: Sequence[Mark], limit: float | None) -> tuple[float, float]:
    values = [value for mark in marks for value in (mark.low, mark.high, mark.drop)]
    values += [0.0] if limit is None else [0.0, limit]
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.07 * (high - low or 1.0)
    return low - room, high + room
