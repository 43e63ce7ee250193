"""Two runs' predictions of the same rows against each other. Pure: rows in, figure out."""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from explorer.look.theme import BLUE, GREY, PALE_GREY, STRONG, note_figure, template
from finegates_engine.analysis.compare_runs import BOTH_RIGHT, BOTH_WRONG, LOST, WON

HEIGHT = 430
MOST_SVG = 4000
"""More rows are drawn by WebGL."""

_MARKS = {
    BOTH_RIGHT: ("both right", PALE_GREY, "circle", 5, 0.5),
    BOTH_WRONG: ("both wrong", GREY, "x-thin-open", 7, 0.9),
    WON: ("only smaller right", BLUE, "diamond", 9, 1.0),
    LOST: ("only larger right", STRONG, "circle", 9, 1.0),
}
"""Change -> its words, colour, symbol, size, opacity; what matters is drawn last."""


def changes_figure(
    rows: pd.DataFrame, texts: Mapping[str, str], *, larger: str, smaller: str, title: str = ""
) -> go.Figure:
    """A mark a row: how sure each run is of the true class.

    rows: `compare_runs.Comparison.rows` of classes. texts: text_hash to a short text for tooltips,
    already escaped. larger, smaller: names for the axes.
    """
    if rows.empty:
        return note_figure("There are no rows to compare.")
    figure = _diagonal(1.0)
    for change, (words, colour, symbol, size, opacity) in _MARKS.items():
        own = rows[rows["change"] == change]
        if own.empty:
            continue
        name = f"{words} ({len(own):,})"
        marker = {"color": colour, "symbol": symbol, "size": size, "opacity": opacity}
        _add(figure, own, ("larger_sure", "smaller_sure"), name, marker, texts, len(rows), ".0%")
    _finish(figure, title, f"{larger}: probability of the true class",
            f"{smaller}: probability of the true class")  # fmt: skip
    figure.update_xaxes(tickformat=".0%", range=[-0.03, 1.03])
    figure.update_yaxes(tickformat=".0%", range=[-0.03, 1.03])
    return figure


def errors_figure(
    rows: pd.DataFrame, texts: Mapping[str, str], *, larger: str, smaller: str, title: str = ""
) -> go.Figure:
    """A mark a row: how far each run's score is from the label. rows: of values."""
    if rows.empty:
        return note_figure("There are no rows to compare.")
    most = float(rows[["larger_error", "smaller_error"]].to_numpy().max()) or 1.0
    figure = _diagonal(most)
    for words, colour, symbol, own in (
        ("smaller nearer", BLUE, "diamond", rows[rows["worse"] <= 0]),
        ("smaller further off", STRONG, "circle", rows[rows["worse"] > 0]),
    ):
        if own.empty:
            continue
        marker = {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.6}
        name = f"{words} ({len(own):,})"
        _add(figure, own, ("larger_error", "smaller_error"), name, marker, texts, len(rows), ".2f")
    _finish(figure, title, f"{larger}: distance from the label (score)",
            f"{smaller}: distance from the label (score)")  # fmt: skip
    return figure


def _diagonal(most: float) -> go.Figure:
    figure = go.Figure()
    figure.add_scatter(
        x=[0, most],
        y=[0, most],
        mode="lines",
        line={"color": GREY, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    return figure


def _add(
    figure: go.Figure,
    rows: pd.DataFrame,
    columns: Sequence[str],
    name: str,
    marker: Mapping[str, object],
    texts: Mapping[str, str],
    total: int,
    form: str,
) -> None:
    kind = go.Scatter if total <= MOST_SVG else go.Scattergl
    figure.add_trace(
        kind(
            x=rows[columns[0]],
            y=rows[columns[1]],
            name=name,
            mode="markers",
            marker=dict(marker),
            customdata=rows["row_id"].tolist(),
            text=[texts.get(digest, "") for digest in rows["text_hash"]],
            hovertemplate=f"Row %{{customdata}}: %{{x:{form}}}, then %{{y:{form}}}"
            "<br>%{text}<extra></extra>",
        )
    )


def _finish(figure: go.Figure, title: str, x: str, y: str) -> None:
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=HEIGHT,
        hovermode="closest",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
