"""Leave out of the computation what is closed for good, without changing any result.

For training on with closed gates: trained values keep their full shapes. The compiler
(`prune`) is what makes a smaller model.
"""

from typing import Any, cast

import torch
from torch import Tensor

from finegates_engine.model import TextClassifier, iter_gated_layers

MULTIPLE = 8
"""Head widths are rounded up to this, with closed dimensions, which add exactly 0."""


@torch.no_grad()
def compact(model: TextClassifier) -> None:
    """Compute only with FFN and head dimensions that some gate still keeps open.

    Does nothing where no gate is closed for good. Can be called again when more are.
    """
    if model.gates is None or not bool(model.gates.closed.any()):
        return
    open_gates = model.gates.split(~model.gates.closed)
    sides: dict[tuple[int, str, str], Tensor] = {}
    for key, kept in open_gates.items():
        layer, _, name = key.partition("/")
        for role, side in _SPACES.get(name, ()):
            sides[int(layer), role, side] = kept
    layers = {(index, role): layer for index, role, layer in iter_gated_layers(model)}
    for index, block in enumerate(model.blocks()):
        ffn = sides.get((index, "ffn_out", "columns"))
        if ffn is not None:
            chosen = ffn.nonzero().squeeze(1)
            layers[index, "ffn_in"].keep(rows=chosen, columns=None)
            layers[index, "ffn_out"].keep(rows=None, columns=chosen)
        query, value = sides.get((index, "query", "rows")), sides.get((index, "value", "rows"))
        if query is not None and value is not None:
            heads = model.dimension("heads")
            width = _width(query, value, heads)
            thin, wide = _chosen(query, heads, width), _chosen(value, heads, width)
            layers[index, "query"].keep(rows=thin, columns=None)
            layers[index, "key"].keep(rows=thin, columns=None)
            layers[index, "value"].keep(rows=wide, columns=None)
            layers[index, "attention_output"].keep(rows=None, columns=wide)
            attention = cast(Any, block.get_submodule(model.architecture.attention))
            attention.attention_head_size = width


_SPACES = {
    "query_key": (("query", "rows"),),
    "value_output": (("value", "rows"),),
    "ffn": (("ffn_out", "columns"),),
}


def _width(query: Tensor, value: Tensor, heads: int) -> int:
    widest = max(int(part.view(heads, -1).sum(1).max()) for part in (query, value))
    size = len(query) // heads
    return min(size, -(-max(1, widest) // MULTIPLE) * MULTIPLE)


def _chosen(kept: Tensor, heads: int, width: int) -> Tensor:
    """Of each head the open dimensions, filled up to `width` with closed ones; ascending."""
    by_head = kept.view(heads, -1).to(torch.int8)
    first = torch.argsort(by_head, dim=1, descending=True, stable=True)[:, :width]
    offsets = torch.arange(heads, device=kept.device).unsqueeze(1) * by_head.shape[1]
    return (first.sort(1).values + offsets).flatten()
