"""The method page's pictures: one gate, a matrix that loses rows and columns, a fold. Pure."""

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.look.numbers import MINUS
from explorer.look.theme import BLUE, GREY, STRONG, pale, template
from explorer.teaching import gate_maths, tiny_ffn
from explorer.teaching.gate_maths import Array

BIN = 0.05
"""Of a gate's value: the density is drawn as the share of steps in so much of it."""

_MARK = 0.03
_BIG = {"size": 16}


def density_figure(mu: float, std: float, *, title: str = "") -> go.Figure:
    """Where a gate's value falls in training: a bar for 0, a bar for 1, a density between."""
    spread = gate_maths.spread(mu, std)
    top = max(0.2, spread.closed, spread.open)
    z, heights = gate_maths.density(mu, std)
    figure = go.Figure(
        go.Scatter(
            x=z,
            y=heights * BIN,
            mode="lines",
            line={"color": BLUE, "width": 2.5},
            fill="tozeroy",
            fillcolor=pale(BLUE, 0.2),
            hovertemplate="z = %{x:.2f}: %{y:.1%}<extra>soft</extra>",
        )
    )
    for place, share, name, pattern in (
        (0.0, spread.closed, "closed", "/"),
        (1.0, spread.open, "open", ""),
    ):
        figure.add_trace(_end_bar(place, share, name, pattern))
    if spread.soft >= 0.005:
        middle = float(np.clip(mu + gate_maths.OFFSET, 0.3, 0.7))
        under = heights[np.abs(z - middle) < 0.13]  # the label's width
        figure.add_annotation(
            x=middle,
            y=float(under.max()) * BIN,
            text=f"soft {spread.soft:.0%}",
            yshift=14,
            showarrow=False,
            font=_BIG,
        )
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=340,
        showlegend=False,
        bargap=0,
        margin={"t": 60},
    )
    figure.update_xaxes(title="Value z of the gate (0 closed, 1 open)", range=[-0.12, 1.12])
    figure.update_yaxes(
        title="Training steps<br>(share; density per 0.05)", tickformat=".0%", range=[0, 1.3 * top]
    )
    return figure


def _end_bar(place: float, share: float, name: str, pattern: str) -> go.Bar:
    """The share of steps in which the value is exactly 0, or exactly 1."""
    return go.Bar(
        x=[place],
        y=[share],
        width=[2 * _MARK],
        marker={
            "color": STRONG if name == "closed" else BLUE,
            "pattern": {"shape": pattern, "solidity": 0.3},
        },
        text=[f"{name}<br>{share:.0%}"],
        textposition="outside",
        textfont=_BIG,
        textangle=0,
        constraintext="none",
        cliponaxis=False,
        hovertemplate=f"{name}: %{{y:.1%}}<extra></extra>",
    )


def probability_figure(mu: float, std: float, target: float, *, title: str = "") -> go.Figure:
    """Probability of being kept over mu, the share that is wanted, and the gap between them."""
    places = np.linspace(-1, 1, 301)
    here, wanted = float(gate_maths.kept_probability(mu, std)), 1 - target
    figure = go.Figure(
        go.Scatter(
            x=places,
            y=gate_maths.kept_probability(places, std),
            mode="lines",
            line={"color": BLUE, "width": 3},
            hovertemplate="mu = %{x:.2f}: kept with %{y:.1%}<extra></extra>",
        )
    )
    figure.add_hline(wanted, line={"color": GREY, "dash": "dash", "width": 2})
    figure.add_annotation(
        x=1,
        y=wanted,
        xanchor="right",
        yanchor="bottom" if wanted < 0.85 else "top",
        text=f"wanted: keep {wanted:.0%}",
        showarrow=False,
    )
    figure.add_scatter(
        x=[mu, mu],
        y=[here, wanted],
        mode="lines",
        line={"color": STRONG, "width": 5},
        name="Penalty",
        hovertemplate=f"penalty {abs(here - wanted):.3f}<extra></extra>",
    )
    figure.add_scatter(
        x=[mu],
        y=[here],
        mode="markers",
        marker={"color": STRONG, "size": 14, "line": {"width": 2, "color": "white"}},
        name="This gate",
        hovertemplate="this gate: mu = %{x:.2f}, kept with %{y:.1%}<extra></extra>",
    )
    figure.update_layout(
        template=template(), title={"text": title}, height=340, showlegend=False, margin={"t": 60}
    )
    figure.update_xaxes(title="Location mu of the gate", range=[-1.02, 1.02])
    figure.update_yaxes(
        title="Probability of being kept<br>(share of steps)",
        tickformat=".0%",
        range=[-0.04, 1.08],
    )
    return figure


def removal_figure(
    rows: Collection[int], columns: Collection[int], size: int = 10, *, title: str = ""
) -> go.Figure:
    """A square matrix; closed rows and columns are absent. rows, columns: those closed."""
    cells = np.ones((size, size))
    cells[list(rows), :] = np.nan
    cells[:, list(columns)] = np.nan
    kept = (size - len(rows)) * (size - len(columns))
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            x=np.arange(1, size + 1),
            y=np.arange(1, size + 1),
            colorscale=[[0, STRONG], [1, STRONG]],
            showscale=False,
            xgap=3,
            ygap=3,
            hovertemplate="row %{y}, column %{x}<extra></extra>",
        )
    )
    figure.update_layout(template=template(), title={"text": title}, height=380)
    figure.update_xaxes(
        title=f"Columns, inputs ({size - len(columns)} of {size} kept)", showgrid=False, dtick=1
    )
    figure.update_yaxes(
        title=f"Rows, outputs ({size - len(rows)} of {size} kept)",
        showgrid=False,
        dtick=1,
        autorange="reversed",
    )
    figure.add_annotation(
        x=1,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        text=f"{kept} of {size**2} weights left",
        showarrow=False,
        font=_BIG,
    )
    return figure


def layer_figure(gates: Array, stage: str, *, title: str = "") -> go.Figure:
    """The two matrices of the tiny layer with their numbers.

    stage: "dense", all of them; "gated", closed rows and columns as zeros; "folded", cut out.
    """
    layer = {
        "dense": tiny_ffn.dense,
        "gated": lambda: tiny_ffn.multiplied(gates),
        "folded": lambda: tiny_ffn.folded(gates),
    }[stage]()
    names = np.arange(1, tiny_ffn.INNER + 1)
    kept = gates > 0 if stage == "folded" else np.ones(tiny_ffn.INNER, dtype=bool)
    closed = (gates == 0)[kept] & (stage == "gated")
    inner = [str(name) for name in names[kept]]
    figure = make_subplots(
        1,
        2,
        column_widths=[0.4, 0.6],
        horizontal_spacing=0.16,
        subplot_titles=("Into the layer", "Out of the layer"),
    )
    notes = [note.to_plotly_json() for note in figure.layout.annotations]
    for column, (matrix, x, y) in enumerate(
        (
            (layer.weights_in, ["x1", "x2", "x3"], inner),
            (layer.weights_out, inner, ["y1", "y2", "y3"]),
        ),
        start=1,
    ):
        gone = closed[:, None] if column == 1 else closed[None, :]
        shown = np.where(np.broadcast_to(gone, matrix.shape), np.nan, matrix)
        figure.add_trace(_cells(shown, x, y), 1, column)
        notes += _numbers(matrix, column)
    figure.update_layout(template=template(), title={"text": title}, height=330, margin={"t": 70})
    figure.update_layout(annotations=notes)
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed")
    figure.update_yaxes(title="Inner dimension", row=1, col=1)
    figure.update_xaxes(title="Input", row=1, col=1)
    figure.update_xaxes(title="Inner dimension", row=1, col=2)
    figure.update_yaxes(title="Output", row=1, col=2)
    return figure


def _numbers(matrix: Array, column: int) -> list[dict[str, object]]:
    """Each number of a matrix as a note in its cell. column: of the subplot, from 1."""
    return [
        {
            "x": place,  # a number is a place among categories, also where these look like one
            "y": row,
            "xref": f"x{column}",
            "yref": f"y{column}",
            "text": f"{number + 0.0:.2g}".replace("-", MINUS),
            "showarrow": False,
            "font": _BIG,
        }
        for (row, place), number in np.ndenumerate(matrix)
    ]


def _cells(shown: Array, x: list[str], y: list[str]) -> go.Heatmap:
    """Pale cells, orange below 0 and blue above; NaN: no cell."""
    return go.Heatmap(
        z=shown,
        x=x,
        y=y,
        zmin=-1,
        zmax=1,
        colorscale=[[0, pale(STRONG, 0.55)], [0.5, pale(GREY, 0.08)], [1, pale(BLUE, 0.55)]],
        showscale=False,
        xgap=3,
        ygap=3,
        hoverinfo="skip",
    )


def beliefs_figure(target: float, penalty_std: float, *, title: str = "") -> go.Figure:
    """The share closed as the penalty, the training and the model in use see it.

    All gates are alike and lie where the penalty with `penalty_std` is 0; the training draws
    noise of REFERENCE_NOISE_STD.
    """
    mu = gate_maths.mu_of(1 - target, penalty_std)
    seen = (
        ("The penalty believes", target),
        ("Training sees", gate_maths.spread(mu, gate_maths.REFERENCE_NOISE_STD).closed),
        ("The model in use", gate_maths.spread(mu, 0).closed),
    )
    names, shares = [name for name, _ in seen], [share for _, share in seen]
    figure = go.Figure(
        go.Bar(
            x=shares,
            y=names,
            orientation="h",
            marker={"color": [GREY, BLUE, STRONG]},
            text=[f"{share:.0%}" for share in shares],
            textposition="outside",
            textfont={"size": 20},
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%} closed<extra></extra>",
        )
    )
    figure.update_layout(template=template(), title={"text": title}, height=300)
    figure.update_xaxes(title="Gates closed (share of all)", tickformat=".0%", range=[0, 1])
    figure.update_yaxes(autorange="reversed", tickfont={"size": 16}, ticksuffix="  ")
    return figure
