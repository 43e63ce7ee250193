"""More of a pruned model closed: every part alone, and chosen ones beside random groups. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.figures.live import shown
from explorer.look.theme import BLUE, GREY, STRONG, note_figure, pale, template
from explorer.words.live_values import label_shift
from finegates_engine.live.results import Ablation, Effects


def effects_figure(found: Effects, chosen: Sequence[str], *, title: str = "") -> go.Figure:
    """A square a part: layers as rows; heads, FFN quarters and whole groups as columns."""
    shifts = {e.part: label_shift(found, e) for e in found.effects if e.logits is not None}
    if not shifts:
        return note_figure("Nothing is left of this model to close.")
    strengths, columns = _strengths(shifts), _columns(found)
    figure = go.Figure()
    for lower, name, colour, symbol in (
        (True, "away from the label", STRONG, "square"),
        (False, "towards it", BLUE, "diamond"),
    ):
        own = [p for p, v in shifts.items() if (v < 0) == lower]
        figure.add_scatter(
            x=[columns.index(_column(p)) for p in own],
            y=[int(p.split(".")[0]) + 1 for p in own],
            mode="markers",
            name=name,
            customdata=own,
            marker={
                "symbol": symbol,
                "size": 16 if lower else 14,
                "color": [pale(colour, 0.06 + 0.94 * strengths[p]) for p in own],
                "line": {
                    "width": [4 if p in chosen else 1 for p in own],
                    "color": [GREY if p in chosen else pale(colour, 0.5) for p in own],
                },
            },
            hovertext=[f"{shifts[p]:+.2f} logits, {_size(found, p)} dimensions" for p in own],
            hovertemplate="layer %{y}, %{hovertext}<extra></extra>",
            unselected={"marker": {"opacity": 1}},
        )
    layers = max(effect.layer for effect in found.effects) + 1
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=130 + 32 * layers,
        showlegend=False,
        hovermode="closest",
    )
    figure.update_xaxes(
        title="Part (heads, quarters of the FFN, and whole groups)",
        tickvals=list(range(len(columns))),
        ticktext=columns,
        range=[-0.6, len(columns) - 0.4],
        showgrid=False,
    )
    figure.update_yaxes(title="Layer (number)", dtick=1, range=[layers + 0.6, 0.4], showgrid=False)
    return figure


def _strengths(shifts: Mapping[str, float]) -> dict[str, float]:
    """Part -> its shift without sign, 1 for the largest: of whole groups, or of the others."""
    most: dict[bool, float] = {}
    for part, shift in shifts.items():
        whole = _kind(part) == "all"
        most[whole] = max(most.get(whole, 0.0), abs(shift))
    return {p: abs(shift) / (most[_kind(p) == "all"] or 1.0) for p, shift in shifts.items()}


def _kind(part: str) -> str:
    _, *rest = part.split(".")
    return {"head": "head", "ffn": "quarter"}[rest[0]] if len(rest) == 2 else "all"


def _column(part: str) -> str:
    _, *rest = part.split(".")
    if not rest:
        return "All"
    if len(rest) == 2:
        return f"{'H' if rest[0] == 'head' else 'F'}{int(rest[1]) + 1}"
    return "Heads" if rest[0] == "attention" else "FFN"


def _columns(found: Effects) -> list[str]:
    names = dict.fromkeys(_column(effect.part) for effect in found.effects)
    heads = [n for n in names if n[0] == "H" and n[1:].isdigit()]
    quarters = [n for n in names if n[0] == "F" and n[1:].isdigit()]
    return [*heads, *quarters, "Heads", "FFN", "All"]


def _size(found: Effects, part: str) -> int:
    return next(effect.size for effect in found.effects if effect.part == part)


def ablation_figure(found: Ablation, row: int, *, title: str = "") -> go.Figure:
    """How far each logit of one row moves, beside random groups. A row an output."""
    if not found.parts:
        return note_figure("Nothing more is closed yet.")
    names = [shown(name, 20) for name in found.labels or ("Score",)]
    before, after = np.array(found.before[row]), np.array(found.after[row])
    random = np.array([values[row] for values in found.random]) - before
    figure = go.Figure()
    places = np.arange(len(names))
    spread = 0.2 * np.sin(np.arange(len(random)) * 2.39996)
    figure.add_scatter(
        x=random.T.reshape(-1),
        y=(places[:, None] + spread).reshape(-1),
        mode="markers",
        name="Random group",
        marker={"symbol": "x-thin-open", "color": GREY, "size": 8, "line": {"width": 1.5}},
        hovertemplate="random group: %{x:+.2f}<extra></extra>",
    )
    figure.add_scatter(
        x=after - before,
        y=places,
        mode="markers",
        name="Chosen parts",
        customdata=np.stack([before, after], axis=1),
        marker={"symbol": "diamond", "color": STRONG, "size": 14},
        hovertemplate="%{x:+.2f}: from %{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": BLUE, "width": 2})
    figure.update_layout(
        template=template(),
        title={"text": title},
        height=150 + 62 * len(names),
        legend={"y": 1.0, "yanchor": "bottom"},
    )
    unit = "score" if found.labels is None else "logits"
    figure.update_xaxes(title=f"Change from before ({unit})")
    figure.update_yaxes(
        title="",
        tickvals=list(places),
        ticktext=names,
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
    )
    return figure
