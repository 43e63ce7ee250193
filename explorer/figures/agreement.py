"""Whether runs keep the same gates, against chance. Pure."""

import pandas as pd
import plotly.graph_objects as go

from explorer.look.theme import GREY, STRONG, note_figure, pale, template

_ROW_PIXELS = 30


def jaccard_figure(table: pd.DataFrame, *, title: str = "") -> go.Figure:
    """table: label, jaccard, chance; a row another run. Dot: measured, bar: chance."""
    if table.empty:
        return note_figure("No other run has the same gate vectors.")
    figure = go.Figure()
    links: list[float | None] = []
    for chance, jaccard in zip(table["chance"], table["jaccard"], strict=True):
        links += [chance, jaccard, None]
    figure.add_scatter(
        x=links,
        y=table["label"].repeat(3),
        mode="lines",
        line={"color": pale(STRONG, 0.35), "width": 5},
        hoverinfo="skip",
    )
    for column, name, symbol, colour, size in (
        ("chance", "Chance", "line-ns-open", GREY, 16),
        ("jaccard", "Measured", "circle", STRONG, 12),
    ):
        line = 2 if colour == GREY else 0
        figure.add_scatter(
            x=table[column],
            y=table["label"],
            name=name,
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": size, "line": {"width": line}},
            hovertemplate=f"%{{y}}<br>{name}: %{{x:.2f}}<extra></extra>",
        )
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=130 + _ROW_PIXELS * len(table),
        showlegend=False,
    )
    figure.update_xaxes(
        title="Gates kept in both (share of those kept in either)", range=[-0.02, 1.02]
    )
    figure.update_yaxes(title="", autorange="reversed", showgrid=False)
    return figure


def frequency_figure(table: pd.DataFrame, *, title: str = "") -> go.Figure:
    """table: `gate_statistics.frequency_table`. Bars: measured, and hatched what chance gives."""
    if table.empty:
        return note_figure("There is only one seed at this level: nothing to agree with.")
    total = table["gates"].sum()
    figure = go.Figure()
    for column, name, colour, pattern in (
        ("gates", "Measured", STRONG, ""),
        ("chance", "Chance", GREY, "/"),
    ):
        figure.add_bar(
            x=table["runs"],
            y=table[column] / total,
            name=name,
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate=f"{name}: %{{y:.1%}} of gates kept in %{{x}} of the runs<extra></extra>",
        )
    figure.update_layout(
        template=template(), title={"text": title}, height=300, bargap=0.3, showlegend=False
    )
    figure.update_xaxes(title="Kept in so many of the runs (count)", dtick=1, showgrid=False)
    figure.update_yaxes(title="Gates (share of all)", tickformat=".0%", rangemode="tozero")
    return figure


def nestedness_figure(table: pd.DataFrame, *, title: str = "") -> go.Figure:
    """table: `gate_statistics.nestedness`. A dot a step from one level to the next."""
    table = table.dropna(subset=["stay"])
    if table.empty:
        return note_figure("There is no second level above this one to compare with.")
    steps = [f"{high:.0%}" for high in table["high"]]
    figure = go.Figure()
    for column, name, symbol, colour, size in (
        ("chance", "Chance", "line-ew-open", GREY, 22),
        ("stay", "Measured", "circle", STRONG, 12),
    ):
        line = 2 if colour == GREY else 0
        figure.add_scatter(
            x=steps,
            y=table[column],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "color": colour, "size": size, "line": {"width": line}},
            hovertemplate=f"%{{x}}<br>{name}: %{{y:.1%}}<extra></extra>",
        )
    figure.update_layout(template=template(), title={"text": title}, height=300, showlegend=False)
    figure.update_xaxes(
        title="Level, and the one below it (encoder weights removed)", type="category"
    )
    figure.update_yaxes(
        title="Stay closed (share of those closed)", tickformat=".0%", range=[-0.03, 1.05]
    )
    return figure
