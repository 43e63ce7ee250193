"""Levels against a limit on the score drop. Pure: candidates in, figure out."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from explorer.look.numbers import plural
from explorer.look.theme import GREY, STRONG, method_style, note_figure, pale, template

HEIGHT = 400

CROWD = 4
"""Methods beyond which those that are neither chosen nor FineGates are small marks without
intervals."""

_STEP = 0.008
"""Shares between marks that stand side by side."""


@dataclass(frozen=True)
class Mark:
    """One level as it is drawn."""

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
    loud, quiet = _apart(marks)
    low, high = _range(loud, limit)
    above = sum(mark.drop > high for mark in quiet)
    if limit is not None:
        _add_limit(figure, limit, low, unit)
    for method, own in _by_method(quiet).items():
        _add_marks(figure, method, own, quiet=True)
    for method, own in _by_method(_side_by_side(loud)).items():
        _add_marks(figure, method, own)
    _add_choices(figure, _side_by_side(loud))
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=HEIGHT,
        showlegend=len(_by_method(loud)) > 1,
        hovermode="closest",
    )
    figure.update_xaxes(title="Encoder weights removed (share of all)", tickformat=".0%")
    most = max(mark.removed for mark in marks)
    least = min(mark.removed for mark in marks)
    room = max(most - least, 0.1) * 0.14
    figure.update_xaxes(range=[max(least - room, -0.02), most + room])
    if above:
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=1, yref="paper", yanchor="top",
            text=f"{plural(above, 'level')} of other methods lie above", showarrow=False,
            font={"size": 12},
        )  # fmt: skip
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


def _apart(marks: Sequence[Mark]) -> tuple[list[Mark], list[Mark]]:
    """(marks that stand out, small ones): all stand out where there are few methods."""
    if len(_by_method(marks)) <= CROWD:
        return list(marks), []
    chosen = {mark.method for mark in marks if mark.choice} | {"finegates"}
    loud = [mark for mark in marks if mark.method in chosen] or list(marks)
    return loud, [mark for mark in marks if mark not in loud]


def _by_method(marks: Sequence[Mark]) -> dict[str, list[Mark]]:
    found: dict[str, list[Mark]] = {}
    for mark in marks:
        found.setdefault(mark.method, []).append(mark)
    return found


def _add_marks(
    figure: go.Figure, method: str, marks: Sequence[Mark], *, quiet: bool = False
) -> None:
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
            "size": 6 if quiet else 11,
            "line": {"width": 1.0 if quiet else 1.8, "color": style.colour},
        },
        showlegend=not quiet,
        error_y=None
        if quiet
        else {
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
    middle = (min(mark.removed for mark in marks) + max(mark.removed for mark in marks)) / 2
    for number, mark in enumerate(sorted(chosen, key=lambda mark: -mark.drop)):
        above = number == 0 and len(chosen) > 1
        left = mark.removed > middle
        figure.add_annotation(
            x=mark.removed,
            y=mark.drop,
            text=mark.choice,
            arrowcolor=GREY,
            arrowwidth=1,
            arrowhead=0,
            standoff=11,
            ax=-44 if left else 44,
            ay=-44 if above else 40,
            xanchor="right" if left else "left",
            font={"size": 13},
        )


def _side_by_side(marks: Sequence[Mark]) -> list[Mark]:
    """Marks of the same share next to each other, best first; the share in the middle."""
    groups: dict[float, list[Mark]] = {}
    for mark in marks:
        groups.setdefault(round(mark.removed, 2), []).append(mark)
    placed = []
    for own in groups.values():
        for number, mark in enumerate(sorted(own, key=lambda mark: mark.drop)):
            shift = _STEP * (number - (len(own) - 1) / 2)
            placed.append(dataclasses.replace(mark, removed=mark.removed + shift))
    return placed


def _range(marks: Sequence[Mark], limit: float | None) -> tuple[float, float]:
    """All marks and the limit, and intervals as far as they do not flatten the rest."""
    values = [mark.drop for mark in marks] + ([0.0] if limit is None else [0.0, limit])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = max(high - low, 1.0)
    ends = [max(mark.low, low - span) for mark in marks] + [min(m.high, high + span) for m in marks]
    low, high = min(low, *ends), max(high, *ends)
    room = 0.06 * (high - low)
    return low - room, high + room
