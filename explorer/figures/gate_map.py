"""All gates of a run as the blocks they belong to: one cell a gate, closed ones absent. Pure.

Each layer is a strip; in it stand the gate vectors in the order in which data pass them, heads as
blocks of their own. An open gate fills its cell, a soft one is hatched, a closed one is not there.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from explorer.look.theme import GREY, STRONG, note_figure, pale, template
from finegates_engine.analysis.gate_vectors import Values, VectorKind
from finegates_engine.fold.dimensions import EncoderShape

STRIP = 16
"""Cells of a layer's strip, top to bottom."""

_HEAD_GAP, _KIND_GAP, _LAYER_GAP = 1, 4, 3
_CELL_PIXELS = 4.2
_SCALE = [[0.0, pale(STRONG, 0.45)], [1.0, STRONG]]

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class _Block:
    """Neighbouring gates of one vector: a head, or the whole vector."""

    kind: VectorKind
    head: int | None
    start: int
    size: int
    left: int
    """First column of cells."""

    @property
    def width(self) -> int:
        return -(-self.size // STRIP)


def gate_map_figure(
    values: Mapping[str, Values],
    kinds: Sequence[VectorKind],
    shape: EncoderShape,
    *,
    by_value: bool = False,
    title: str = "",
) -> go.Figure:
    """values: gate vector to (size,) in [0, 1]. by_value: sort within each block, largest first."""
    if not values:
        return note_figure("This run has no gates.")
    blocks = list(_blocks(kinds, shape))
    hatched = any(((v > 0) & (v < 1)).any() for v in values.values())
    figure = go.Figure()
    for kind in kinds:
        figure.add_trace(_heat(values, kind, blocks, shape, by_value=by_value, hatched=hatched))
    _add_outlines(figure, blocks, shape)
    _lay_out(figure, kinds, blocks, shape, title)
    return figure


def gate_movie_figure(
    frames: Mapping[str, NDArray[np.uint8]],
    steps: Sequence[int],
    kinds: Sequence[VectorKind],
    shape: EncoderShape,
    *,
    by_value: bool = False,
    title: str = "",
) -> go.Figure:
    """The map over the training with a slider. frames: gate vector to (frames, size), 255 is 1."""
    if not frames:
        return note_figure("This run kept no history of its gates.")
    soft = any(((v > 0) & (v < 255)).any() for v in frames.values())
    blocks = list(_blocks(kinds, shape))
    options = {"by_value": by_value, "hatched": soft}
    last = {name: _unit(v[-1]) for name, v in frames.items()}
    figure = gate_map_figure(last, kinds, shape, by_value=by_value, title=title)
    heats = [_heat(last, kind, blocks, shape, **options) for kind in kinds]
    for number, heat in enumerate(heats):
        figure.data[number].update(z=heat.z, x=heat.x, y=heat.y, customdata=heat.customdata)
    pictures = []
    for number, step in enumerate(steps):
        then = {name: _unit(v[number]) for name, v in frames.items()}
        drawn = [go.Heatmap(z=_heat(then, kind, blocks, shape, **options).z) for kind in kinds]
        pictures.append(go.Frame(name=str(step), data=drawn, traces=list(range(len(kinds)))))
    figure.frames = pictures
    _add_slider(figure, steps)
    return figure


def _unit(values: NDArray[np.uint8]) -> Floats:
    return values.astype(np.float32) / 255


def _blocks(kinds: Sequence[VectorKind], shape: EncoderShape) -> Iterator[_Block]:
    left = 0
    for kind in kinds:
        size = shape.head_size if kind.headed else kind.size
        for number in range(kind.size // size):
            block = _Block(kind, number if kind.headed else None, number * size, size, left)
            yield block
            left += block.width + _HEAD_GAP
        left += _KIND_GAP - _HEAD_GAP


def _heat(
    values: Mapping[str, Values],
    kind: VectorKind,
    blocks: Sequence[_Block],
    shape: EncoderShape,
    *,
    by_value: bool,
    hatched: bool,
) -> go.Heatmap:
    own = [block for block in blocks if block.kind is kind]
    left, right = own[0].left, own[-1].left + own[-1].width
    height = shape.layers * (STRIP + _LAYER_GAP) - _LAYER_GAP
    cells = np.full((height, right - left), np.nan, dtype=np.float32)
    where = np.full((height, right - left, 3), -1, dtype=np.int32)
    for layer in range(shape.layers):
        vector = values[f"{layer}/{kind.name}"]
        top = layer * (STRIP + _LAYER_GAP)
        for block in own:
            part = vector[block.start : block.start + block.size]
            order = np.argsort(-part, kind="stable") if by_value else np.arange(block.size)
            column = block.left - left + np.arange(block.size) // STRIP
            row = top + np.arange(block.size) % STRIP
            cells[row, column] = part[order]
            head = block.head + 1 if block.head is not None else 0
            layers, heads = np.full(block.size, layer + 1), np.full(block.size, head)
            where[row, column] = np.stack([layers, heads, block.start + order], axis=1)
    cells[cells == 0] = np.nan
    x = np.arange(left, right, dtype=np.float64)
    y = np.arange(height, dtype=np.float64)
    if hatched:
        cells, where, x, y = _hatch(cells, where, x, y)
    place = "head %{customdata[1]}, " if kind.headed else ""
    unit = "head" if kind.per_head else "dimension"
    return go.Heatmap(
        z=cells,
        x=x,
        y=y,
        customdata=where,
        zmin=0,
        zmax=1,
        colorscale=_SCALE,
        showscale=False,
        name=kind.label,
        hoverongaps=False,
        hovertemplate=f"{kind.label}, layer %{{customdata[0]}}, {place}{unit} %{{customdata[2]}}"
        "<br>gate %{z:.2f}<extra></extra>",
    )


def _hatch(
    cells: Floats, where: NDArray[np.int32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[Floats, NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Each cell as two by two, of which a soft gate fills two on the diagonal."""
    fine = cells.repeat(2, axis=0).repeat(2, axis=1)
    across = np.indices(fine.shape).sum(axis=0) % 2 == 1
    fine[across & (fine < 1)] = np.nan
    quarter = np.array([-0.25, 0.25])
    return (
        fine,
        where.repeat(2, axis=0).repeat(2, axis=1),
        (x[:, None] + quarter).ravel(),
        (y[:, None] + quarter).ravel(),
    )


def _add_outlines(figure: go.Figure, blocks: Sequence[_Block], shape: EncoderShape) -> None:
    """A thin frame around each block, so that what is absent is seen to be."""
    x: list[float | None] = []
    y: list[float | None] = []
    for layer in range(shape.layers):
        top = layer * (STRIP + _LAYER_GAP) - 0.5
        for block in blocks:
            left, right = block.left - 0.5, block.left + block.width - 0.5
            bottom = top + min(STRIP, block.size)
            x += [left, right, right, left, left, None]
            y += [top, top, bottom, bottom, top, None]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line={"width": 0.7, "color": pale(GREY, 0.55)},
        hoverinfo="skip",
        showlegend=False,
    )


def _lay_out(
    figure: go.Figure,
    kinds: Sequence[VectorKind],
    blocks: Sequence[_Block],
    shape: EncoderShape,
    title: str,
) -> None:
    centres, names = [], []
    for kind in kinds:
        own = [block for block in blocks if block.kind is kind]
        centres.append((own[0].left + own[-1].left + own[-1].width) / 2 - 0.5)
        names.append(kind.label.replace(" and ", ", ").replace(" ", "<br>"))
    strip = STRIP + _LAYER_GAP
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=round(min(130 + shape.layers * strip * _CELL_PIXELS, 1100)),
        showlegend=False,
    )
    figure.update_xaxes(
        title="Gates, in the order in which data pass them (one cell a gate)",
        tickvals=centres,
        ticktext=names,
        showgrid=False,
        tickangle=0,
    )
    figure.update_yaxes(
        title="Layer",
        tickvals=[layer * strip + (STRIP - 1) / 2 for layer in range(shape.layers)],
        ticktext=[str(layer + 1) for layer in range(shape.layers)],
        autorange="reversed",
        showgrid=False,
    )


def _add_slider(figure: go.Figure, steps: Sequence[int]) -> None:
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    moving = {"frame": {"duration": 250, "redraw": True}, "fromcurrent": True}
    figure.update_layout(
        sliders=[
            {
                "active": len(steps) - 1,
                "currentvalue": {"prefix": "Optimiser step ", "xanchor": "right"},
                "pad": {"t": 84},
                "steps": [
                    {"label": str(s), "method": "animate", "args": [[str(s)], still]} for s in steps
                ],
            }
        ],
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "x": 0,
                "y": 0,
                "xanchor": "left",
                "yanchor": "top",
                "pad": {"t": 76},
                "showactive": False,
                "buttons": [
                    {"label": "Play", "method": "animate", "args": [None, moving]},
                    {"label": "Pause", "method": "animate", "args": [[None], still]},
                ],
            }
        ],
        height=figure.layout.height + 120,
    )
