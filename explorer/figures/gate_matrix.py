"""Kept shares as a table, and one matrix with its rows and columns. Pure."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image

from explorer.look.theme import STRONG, note_figure, pale, template
from finegates_engine.analysis.gate_vectors import Values, VectorKind


def kept_share_figure(
    shares: pd.DataFrame, kinds: Sequence[VectorKind], *, title: str = ""
) -> go.Figure:
    """shares: `gate_statistics.kept_shares`. A cell a layer and gate vector, with its number."""
    if shares.empty:
        return note_figure("This run has no gates.")
    names = [kind.name for kind in kinds]
    table = shares.pivot(index="layer", columns="vector", values="kept")[names]
    layers = [int(str(layer)) + 1 for layer in table.index]
    labels = [kind.label.replace(" and ", ", ").replace(" ", "<br>") for kind in kinds]
    figure = go.Figure(
        go.Heatmap(
            z=table.to_numpy(),
            x=labels,
            y=layers,
            zmin=0,
            zmax=1,
            colorscale=[[0, pale(STRONG, 0.03)], [1, STRONG]],
            showscale=False,
            xgap=3,
            ygap=3,
            hovertemplate="Layer %{y}, %{x}: %{z:.1%} kept<extra></extra>",
        )
    )
    for layer, row in zip(layers, table.to_numpy(), strict=True):
        for label, share in zip(labels, row, strict=True):
            figure.add_annotation(x=label, y=layer, text=f"{share:.0%}", showarrow=False)
    figure.update_layout(template=template(), title={"text": title}, height=110 + 40 * len(layers))
    figure.update_xaxes(title="Gates kept (share of the vector)", showgrid=False, tickangle=0)
    figure.update_yaxes(title="Layer", autorange="reversed", showgrid=False, dtick=1)
    return figure


def matrix_figure(
    rows: Values | None,
    columns: Values | None,
    size: tuple[int, int],
    *,
    by_value: bool = False,
    title: str = "",
) -> go.Figure:
    """What is left of one matrix: kept rows x kept columns, soft ones paler, closed ones absent.

    rows, columns: gates, None where that side has none. size: (rows, columns) of the matrix.
    """
    if rows is None and columns is None:
        return note_figure("This matrix has no gates: all of it stays.")
    row = np.ones(size[0], np.float32) if rows is None else rows
    column = np.ones(size[1], np.float32) if columns is None else columns
    if by_value:
        row, column = -np.sort(-row), -np.sort(-column)
    figure = go.Figure(
        go.Image(
            source=_png(row, column),
            hovertemplate="row %{y}, column %{x}<extra></extra>",
        )
    )
    kept = (int((row > 0).sum()), int((column > 0).sum()))
    figure.update_layout(template=template(), title={"text": title}, height=480)
    order = ", largest gate first" if by_value else ""
    figure.update_xaxes(
        title=f"Columns, inputs{order} ({kept[1]:,} of {size[1]:,} kept)",
        range=[-0.5, size[1] - 0.5],
        showgrid=False,
        constrain="domain",
    )
    figure.update_yaxes(
        title=f"Rows, outputs{order} ({kept[0]:,} of {size[0]:,} kept)",
        range=[size[0] - 0.5, -0.5],
        scaleanchor=False,
        showgrid=False,
        showline=True,
        mirror=True,
    )
    figure.update_xaxes(showline=True, mirror=True)
    return figure


def _png(row: Values, column: Values) -> str:
    """The outer product as a picture whose opacity is the gates' product."""
    red, green, blue = (int(STRONG[i : i + 2], 16) for i in (1, 3, 5))
    strength = np.outer(row, column)
    picture: NDArray[np.uint8] = np.empty((*strength.shape, 4), np.uint8)
    picture[..., :3] = (red, green, blue)
    picture[..., 3] = np.where(strength > 0, 60 + 195 * strength, 0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=False)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
