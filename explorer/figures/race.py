"""Times of one race, and where the time of a call goes. Pure."""

import math

import numpy as np
import plotly.graph_objects as go

from explorer.look.theme import BLUE, GREY, STRONG, note_figure, pale, template
from explorer.words.live_values import MOST_POINTS, drawn_ms
from finegates_engine.explain.explanation import PARTS, Explanation
from finegates_engine.live.results import TextRace
from finegates_engine.text.format import ms_text
from finegates_engine.timing.stored import DENSE, PRUNED, TRANSFORMERS

VARIANTS = {
    DENSE: ("Dense", BLUE, "circle"),
    PRUNED: ("Pruned", STRONG, "diamond"),
    TRANSFORMERS: ("Transformers", GREY, "x"),
}
"""Variant -> its name, colour and marker."""


def race_figure(race: TextRace, *, title: str = "") -> go.Figure:
    """Every round as a point; a bar at the median, a tick at the p95. One row a variant."""
    if not race.seconds:
        return note_figure("Nothing was timed.")
    names = [name for name in VARIANTS if name in race.seconds]
    limit, figure = drawn_ms(race), go.Figure()
    for place, name in enumerate(names):
        label, colour, symbol = VARIANTS[name]
        ms = 1000 * np.asarray(race.seconds[name][:MOST_POINTS])
        ms = ms[ms <= limit]
        spread = 0.26 * np.sin(np.arange(len(ms)) * 2.39996)  # the golden angle: even, no chance
        figure.add_scatter(
            x=ms,
            y=place + spread,
            mode="markers",
            name=label,
            marker={"color": pale(colour, 0.45), "size": 6, "symbol": symbol},
            hovertemplate=f"{label}: %{{x:.3g}} ms<extra></extra>",
        )
        for value, half, width, words in (
            (race.latency[name].median, 0.42, 4, "median"),
            (race.latency[name].p95, 0.25, 2, "p95"),
        ):
            figure.add_scatter(
                x=[1000 * value, 1000 * value],
                y=[place - half, place + half],
                mode="lines",
                line={"color": colour, "width": width},
                hovertemplate=f"{label}, {words}: {ms_text(value)} ms<extra></extra>",
            )
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=90 + 52 * len(names),
        showlegend=False,
        hovermode="closest",
    )
    figure.update_xaxes(title="One call (ms; a point a round)", rangemode="tozero")
    figure.update_yaxes(
        title="",
        tickvals=list(range(len(names))),
        ticktext=[VARIANTS[name][0] for name in names],
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
    )
    return figure


def parts_figure(found: Explanation, *, title: str = "") -> go.Figure:
    """Where a call spends its time: dense and pruned bars a part, a tick where pruned should be."""
    parts = [part for part in found.parts if part.dense_ms > 0.005 or part.pruned_ms > 0.005]
    if not parts:
        return note_figure("No part takes a time that can be seen.")
    labels = [PARTS[part.part] for part in parts]
    figure = go.Figure()
    for name, values in (
        (DENSE, [part.dense_ms for part in parts]),
        (PRUNED, [part.pruned_ms for part in parts]),
    ):
        label, colour, _ = VARIANTS[name]
        figure.add_bar(
            x=values,
            y=labels,
            orientation="h",
            name=label,
            marker={"color": colour, "pattern": {"shape": "/" if name == DENSE else ""}},
            hovertemplate=f"%{{y}}, {label}: %{{x:.2f}} ms<extra></extra>",
        )
    figure.add_scatter(
        x=[part.expected_ms for part in parts],
        y=labels,
        mode="markers",
        name="Pruned as its arithmetic",
        marker={"symbol": "line-ns-open", "size": 22, "line": {"width": 2}, "color": GREY},
        hovertemplate="%{y}, expected: %{x:.2f} ms<extra></extra>",
    )
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=110 + 34 * len(parts),
        barmode="group",
        bargap=0.25,
        legend={"y": 1.0, "yanchor": "bottom"},
    )
    most = max(max(part.dense_ms, part.pruned_ms) for part in parts)
    figure.update_xaxes(title="Time in one call (ms)", range=[0, math.nextafter(1.06 * most, 1e9)])
    figure.update_yaxes(title="", autorange="reversed", showgrid=False)
    return figure
