"""Leave out of the computation what is closed for good, without changing any result.

For training on with closed gates: trained values keep their full shapes. The compiler
(`prune`) is what makes a smaller model.
"""

from typing import Any, cast

import torch
from torch import Tensor

from finegates_engine.gates.layers import GatedLinear
from finegates_engine.gates.model import TextClassifier, iter_gated_layers

MULTIPLE = 8
"""Head widths are rounded up to this, with closed dimensions, which add exactly 0."""

_Kept = dict[tuple[str, str], Tensor]
"""(role, side) -> dimensions that no gate of that side has closed for good, bool."""


@torch.no_grad()
def compact(model: TextClassifier) -> None:
    """Compute only with FFN dimensions, heads and head dimensions that are still open.

    A dimension goes when a gate on either of its sides is closed for good (design, section 4).
    Does nothing where there is none. Can be called again when more are closed. In training the
    dropout of attention draws other numbers once a head is gone.
    """
    if model.gates is None or not bool(model.gates.closed.any()):
        return
    kept: list[_Kept] = [{} for _ in model.blocks()]
    for key, values in model.gates.split(~model.gates.closed).items():
        kind, sides = model.gate_kinds[key], kept[int(key.partition("/")[0])]
        values = values.repeat_interleave(model.gate_dims[key])
        for place in kind.removes:
            sides[place] = sides[place] & values if place in sides else values
    layers: list[dict[str, GatedLinear]] = [{} for _ in model.blocks()]
    for index, role, layer in iter_gated_layers(model):
        layers[index][role] = layer
    for index, block in enumerate(model.blocks()):
        if "ffn_in" in layers[index]:
            _compact_ffn(layers[index], kept[index])
        if "query" in layers[index]:
            attention = cast(Any, block.get_submodule(model.architecture.attention))
            heads = model.dimension("heads")
            attention.attention_head_size = _compact_attention(layers[index], kept[index], heads)


@torch.no_grad()
def widen(model: TextClassifier) -> None:
    """Compute with every dimension again, as before `compact`."""
    for _, _, layer in iter_gated_layers(model):
        layer.keep(rows=None, columns=None)
    for block in model.blocks():
        attention = cast(Any, block.get_submodule(model.architecture.attention))
        attention.attention_head_size = model.dimension("hidden") // model.dimension("heads")


def _compact_ffn(layers: dict[str, GatedLinear], kept: _Kept) -> None:
    open_ = _both(kept, ("ffn_in", "rows"), ("ffn_out", "columns"))
    chosen = None if open_ is None or open_.all() else open_.nonzero().squeeze(1)
    layers["ffn_in"].keep(rows=chosen, columns=None)
    layers["ffn_out"].keep(rows=None, columns=chosen)


def _compact_attention(layers: dict[str, GatedLinear], kept: _Kept, heads: int) -> int:
    """Narrow the four matrices of one block; returns the new width of a head."""
    thin = _both(kept, ("query", "rows"), ("key", "rows"))
    wide = _both(kept, ("value", "rows"), ("attention_output", "columns"))
    assert thin is not None
    assert wide is not None
    by_head, size = wide.view(heads, -1), len(wide) // heads
    alive = by_head.any(1)
    if not alive.any():
        alive[0] = True  # a view needs one head; its closed dimensions give 0
    thin, wide = thin.view(heads, -1)[alive], by_head[alive]
    widest = max(int(part.sum(1).max()) for part in (thin, wide))
    width = min(size, -(-max(1, widest) // MULTIPLE) * MULTIPLE)
    numbers = alive.nonzero().squeeze(1)
    whole = width == size and len(numbers) == heads
    rows = None if whole else _chosen(thin, numbers, width)
    columns = None if whole else _chosen(wide, numbers, width)
    layers["query"].keep(rows=rows, columns=None)
    layers["key"].keep(rows=rows, columns=None)
    layers["value"].keep(rows=columns, columns=None)
    layers["attention_output"].keep(rows=None, columns=columns)
    return width


def _both(kept: _Kept, one: tuple[str, str], other: tuple[str, str]) -> Tensor | None:
    masks = [kept[place] for place in (one, other) if place in kept]
    return torch.stack(masks).all(0) if masks else None


def _chosen(kept: Tensor, heads: Tensor, width: int) -> Tensor:
    """Of each head the open dimensions, filled up to `width` with closed ones; ascending.

    kept: (heads that stay, head size). heads: their numbers in the full matrix.
    """
    first = torch.argsort(kept.to(torch.int8), dim=1, descending=True, stable=True)[:, :width]
    return (first.sort(1).values + heads.unsqueeze(1) * kept.shape[1]).flatten()
