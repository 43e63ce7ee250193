"""A user's text through models: dense beside pruned, and all levels. Pure."""

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.look.theme import BLUE, GREY, STRONG, note_figure, pale, template
from explorer.words.live_values import flipped, level_values, percent
from finegates_engine.live.results import Levels, Predictions

_LABEL_CHARACTERS = 26


def shown(text: str, most: int = _LABEL_CHARACTERS) -> str:
    """A user's text as a label: one line, shortened, nothing in it read as HTML."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * most])
    short = line if len(line) <= most else line[: most - 1].rstrip() + "\u2026"
    return html.escape(short)


def predictions_figure(found: Predictions, texts: Sequence[str], *, title: str = "") -> go.Figure:
    """Dense and pruned on one scale: a row a class for one text, else a row a text."""
    if not found.pruned:
        return note_figure("There is no text yet.")
    labels, dense, pruned, axis = _compared(found, texts)
    places = list(range(len(labels)))
    figure = go.Figure(_links(dense, pruned))
    single = len(found.pruned) == 1
    for name, values, symbol, colour, position in (
        ("Dense", dense, "circle-open", BLUE, "top center"),
        ("Pruned", pruned, "diamond", STRONG, "bottom center"),
    ):
        words = [f"{v:.2f}" if found.labels is None else percent(v) for v in values]
        figure.add_scatter(
            x=values,
            y=places,
            name=name,
            mode="markers+text" if single else "markers",
            text=[f"{name} {word}" for word in words],
            textposition=position,
            cliponaxis=False,
            marker={"symbol": symbol, "color": colour, "size": 13, "line": {"width": 3}},
            hovertemplate="%{text}<extra></extra>",
        )
    if found.labels is not None and not single and len(found.labels) == 2:
        figure.add_vline(x=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=(112 + 68 * len(labels)) if single else (116 + 30 * len(labels)),
        showlegend=not single,
        legend={"y": 1.0, "yanchor": "bottom"},
    )
    room = 0.2 if single else 0.03  # for the words beside the marks
    low, high = (0.0, 1.0) if found.labels is not None else _ends([*dense, *pruned])
    figure.update_xaxes(title=axis, range=[low - room * (high - low), high + room * (high - low)])
    if found.labels is not None:
        figure.update_xaxes(
            tickformat=".0%", tickvals=[0, 0.5, 1] if single else [0, 0.25, 0.5, 0.75, 1]
        )
    figure.update_yaxes(
        title="",
        tickvals=places,
        ticktext=labels,
        range=[len(labels) - 0.4, -0.6],
        showgrid=False,
    )
    return figure


def _links(dense: Sequence[float], pruned: Sequence[float]) -> go.Scatter:
    """A line in each row from the dense model's mark to the pruned one's."""
    return go.Scatter(
        x=[v for pair in zip(dense, pruned, strict=True) for v in (*pair, None)],
        y=[v for place in range(len(dense)) for v in (place, place, None)],
        mode="lines",
        line={"color": pale(GREY, 0.5), "width": 4},
        hoverinfo="skip",
        showlegend=False,
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _compared(
    found: Predictions, texts: Sequence[str]
) -> tuple[list[str], list[float], list[float], str]:
    """(labels of the rows, dense, pruned, title of the axis)"""
    names = found.labels
    rows = [shown(text) for text in texts]
    if names is None:
        first = [values[0] for values in found.dense], [values[0] for values in found.pruned]
        return rows if len(rows) > 1 else ["Score"], *first, "Score (task's own scale)"
    if len(found.pruned) == 1:
        labels = [shown(name, 20) for name in names]
        return labels, list(found.dense[0]), list(found.pruned[0]), "Probability (share)"
    if len(names) == 2:
        chosen = [1] * len(rows)
        axis = f"Probability of {shown(names[1], 24)} (share)"
    else:
        chosen = [int(np.argmax(values)) for values in found.dense]
        axis = "Probability of the dense model's label (share)"
    dense = [values[k] for values, k in zip(found.dense, chosen, strict=True)]
    pruned = [values[k] for values, k in zip(found.pruned, chosen, strict=True)]
    return rows, dense, pruned, axis


def levels_figure(found: Levels, texts: Sequence[str], row: int, *, title: str = "") -> go.Figure:
    """The text through all levels; the chosen row strong, the others pale; a cross: other label."""
    if len(found.levels) < 2:
        return note_figure("This curve has one level alone: nothing to walk through.")
    x = [level.removed for level in found.levels]
    values, other = level_values(found), flipped(found)
    figure = go.Figure()
    order = [*(i for i in range(values.shape[1]) if i != row), row]
    for index in order:
        strong = index == row
        name = shown(texts[index])
        figure.add_scatter(
            x=x,
            y=values[:, index],
            mode="lines+markers" if strong else "lines",
            name=name,
            line={"color": STRONG if strong else pale(GREY, 0.5), "width": 3 if strong else 1.5},
            marker={
                "symbol": ["x" if flip else "circle" for flip in other[:, index]],
                "size": 12,
                "color": [BLUE if flip else STRONG for flip in other[:, index]],
            },
            hovertemplate="%{x:.0%} removed: %{y:.2f}<extra>" + name + "</extra>",
        )
    if found.labels is not None:
        for index in np.flatnonzero(other[1:, row] != other[:-1, row]):
            figure.add_vrect(x0=x[index], x1=x[index + 1], fillcolor=pale(GREY, 0.14), line_width=0)
        first = int(np.argmax(found.levels[0].outputs[row]))
        whose = shown(found.labels[first], 24) if len(texts) == 1 else "a row's first label"
        axis = f"Probability of {whose} (share)"
        figure.update_yaxes(title=axis, tickformat=".0%", range=[-0.03, 1.03])
    else:
        figure.update_yaxes(title="Score (task's own scale)")
    figure.update_layout(template=template(), title={"text": title}, height=340, showlegend=False)
    figure.update_xaxes(
        title="Encoder weights removed (share)",
        tickformat=".0%",
        range=[-0.02, max(x) + 0.03],
        showgrid=False,
    )
    return figure
