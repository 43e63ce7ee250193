"""One gated block as a smaller block with the same outputs: the table of DESIGN section 4."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finegates_engine.errors import UserError, unknown
from finegates_engine.fold.dimensions import EncoderShape, LayerDimensions, kept_dimensions
from finegates_engine.fold.head_width import head_width
from finegates_engine.fold.stored_matrix import (
    GatedBlock,
    GatedMatrix,
    Indices,
    StoredMatrix,
    copy_into,
    filled_up,
    gathered,
    kept_mask,
    rounded_up,
    scattered,
    spec_of,
)
from finegates_engine.folded.layers import Attention, Block, BlockKind, BlockSpec, activation

ROUND_TO = (1, 8, 16, 32)
HEADS, RESIDUAL = ("auto", "padded", "spread"), ("auto", "zeros", "gather")

TAKE_MACS = 46
"""What picking one dimension of a token costs, in multiply-accumulates of a matrix product."""


@dataclass(frozen=True, kw_only=True)
class FoldOptions:
    """How a folded model is laid out; every choice gives the same outputs."""

    round_to: int = 16
    """Inner widths are filled with zeros to a multiple of this: 1, 8, 16 or 32."""

    heads: Literal["auto", "padded", "spread"] = "auto"
    """Heads of several widths: rows of zeros up to the widest, or their rows alone, which are
    spread to one width after the product."""

    residual: Literal["auto", "zeros", "gather"] = "auto"
    """Closed residual dimensions (axes other than inner): zeros in the matrices, or left out,
    with inputs gathered and outputs scattered."""

    def __post_init__(self) -> None:
        if self.round_to not in ROUND_TO:
            raise UserError(f"round_to must be one of {ROUND_TO}, got {self.round_to}.")
        if self.heads not in HEADS:
            raise unknown("heads", self.heads, HEADS)
        if self.residual not in RESIDUAL:
            raise unknown("residual", self.residual, RESIDUAL)


DEFAULT = FoldOptions()
CANONICAL = FoldOptions(round_to=1, heads="spread", residual="zeros")
"""The form that the ladder counts, but for a row of zeros where heads have several widths."""


def fold_block(
    shape: EncoderShape,
    kind: BlockKind,
    matrices: GatedBlock,
    options: FoldOptions = DEFAULT,
    *,
    dtype: torch.dtype = torch.float32,
) -> Block:
    """One block of a gated model as a smaller one with the same outputs, norms still at 1.

    Raises UserError for masks that do not fit `shape`.
    """
    kept = kept_dimensions(shape, {role: matrix.masks() for role, matrix in matrices.items()})
    attention = _AttentionPlan.of(shape, kind, kept, options)
    sites = _sites(shape, matrices, options)
    qkv = attention.qkv(matrices, sites["attention_in"])
    out = attention.output(matrices["attention_output"], sites["attention_out"])
    ffn_in, ffn_out = _ffn(shape, kind, matrices, kept, options, sites)
    spec = BlockSpec(
        heads=len(attention.heads),
        key_value_heads=len(attention.shared),
        width=attention.width,
        ffn=0 if ffn_in is None else ffn_in.weight.shape[0] // (2 if kind.gated else 1),
        qkv=spec_of(qkv),
        attention_output=spec_of(out),
        ffn_in=spec_of(ffn_in),
        ffn_out=spec_of(ffn_out),
    )
    block = Block(spec, kind).to(dtype)
    copy_into(block.attention.output, out)
    copy_into(block.ffn.output, ffn_out)
    if qkv is not None:
        copy_into(block.attention.qkv, qkv)
        attention.set_up(block.attention)
    if ffn_in is not None:
        copy_into(block.ffn.input, ffn_in)
    return block.eval()


@dataclass(frozen=True)
class _AttentionPlan:
    """Which rows of query, key and value stay, and where they lie in attention."""

    shape: EncoderShape
    heads: list[int]
    """Query heads that stay."""
    shared: list[int]
    """Key and value heads that serve one of them."""
    served: list[int]
    """For each of `heads`, where its key and value head lies in `shared`."""
    query_key: list[Indices]
    """For each of `shared`, its dimensions of query and key, in [0, head_size)."""
    value: list[Indices]
    width: int
    spread: bool
    rotary: bool
    round_to: int

    @staticmethod
    def of(
        shape: EncoderShape, kind: BlockKind, kept: LayerDimensions, options: FoldOptions
    ) -> "_AttentionPlan":
        group = shape.heads // shape.key_value_heads
        heads = np.flatnonzero(kept.heads).tolist()
        shared = sorted({head // group for head in heads})
        query_key = [np.flatnonzero(kept.query_key[head]) for head in shared]
        value = [np.flatnonzero(kept.value[head]) for head in shared]
        width = head_width([len(part) for part in (*query_key, *value)], shape.head_size)
        served = [shared.index(head // group) for head in heads]
        rows = [len(q) + len(v) for q, v in zip(query_key, value, strict=True)]
        ragged = sum(rows) + sum(rows[index] for index in served)
        padded = 2 * width * (len(heads) + len(shared))
        auto = (padded - ragged) * shape.hidden > TAKE_MACS * padded
        spread = auto if options.heads == "auto" else options.heads == "spread"
        return _AttentionPlan(
            shape,
            heads,
            shared,
            served,
            query_key,
            value,
            width,
            spread,
            bool(kind.rotary_base),
            options.round_to,
        )

    def qkv(self, matrices: GatedBlock, columns: Indices | None) -> StoredMatrix | None:
        """Query, key and value in one matrix; None where no head stays."""
        if not self.heads:
            return None
        served = [self.query_key[index] for index in self.served]
        places = {
            "query": list(zip(self.heads, served, strict=True)),
            "key": list(zip(self.shared, self.query_key, strict=True)),
            "value": list(zip(self.shared, self.value, strict=True)),
        }
        weights, biases, taken, count = [], [], [], 0
        for role, parts in places.items():
            for head, dimensions in parts:
                rows = torch.from_numpy(head * self.shape.head_size + dimensions)
                weights.append(matrices[role].folded()[rows])
                biases.append(matrices[role].folded_bias()[rows])
                place = self._places(dimensions, rotary=self.rotary and role != "value")
                slots = np.full(self.width, -1, dtype=np.int64)
                slots[place] = np.arange(count, count + len(dimensions))
                taken.append(slots)
                count += len(dimensions)
        return self._laid_out(torch.cat(weights), torch.cat(biases), np.concatenate(taken), columns)

    def _laid_out(
        self, weight: Tensor, bias: Tensor, slots: Indices, columns: Indices | None
    ) -> StoredMatrix:
        """Rows in the order of `slots` (-1: zeros), or spread to it after the product."""
        if (slots >= 0).all():  # every head fills its width: the rows lie in order already
            return gathered(StoredMatrix(weight, bias), columns, self.round_to)
        rows = min(rounded_up(len(weight) + 1, self.round_to), len(slots))  # zeros for -1 last
        slots = np.where(slots < 0, len(weight), slots)
        weight, bias = filled_up(weight, rows), filled_up(bias, rows)
        if self.spread:
            return gathered(StoredMatrix(weight, bias, None, slots), columns, self.round_to)
        order = torch.from_numpy(slots)
        return gathered(StoredMatrix(weight[order], bias[order]), columns, self.round_to)

    def _places(self, dimensions: Indices, *, rotary: bool) -> Indices:
        """Where in [0, width) kept dimensions lie; rotated pairs keep half the width between."""
        if not rotary:
            return np.arange(len(dimensions))
        pairs = len(dimensions) // 2
        return np.concatenate([np.arange(pairs), self.width // 2 + np.arange(pairs)])

    def output(self, matrix: GatedMatrix, rows: Indices | None) -> StoredMatrix:
        """Attention output on the heads' contexts."""
        weight, slots, columns = matrix.folded(), [], []
        for index, head in enumerate(self.heads):
            dimensions = self.value[self.served[index]]
            columns.append(head * self.shape.head_size + dimensions)
            slots.append(index * self.width + np.arange(len(dimensions)))
        chosen = np.concatenate([np.zeros(0, dtype=np.int64), *columns])
        places = np.concatenate([np.zeros(0, dtype=np.int64), *slots])
        picked = weight[:, torch.from_numpy(chosen)]
        bias = matrix.folded_bias()
        if self.spread and len(places) < len(self.heads) * self.width:
            size = min(rounded_up(len(places), self.round_to), len(self.heads) * self.width)
            places = np.concatenate([places, np.zeros(size - len(places), dtype=np.int64)])
            return scattered(
                StoredMatrix(filled_up(picked.T, size).T, bias, places), rows, self.round_to
            )
        full = weight.new_zeros(len(weight), len(self.heads) * self.width)
        full[:, torch.from_numpy(places)] = picked
        rows = rows if self.heads else None
        return scattered(StoredMatrix(full, bias), rows, self.round_to)

    @torch.no_grad()
    def set_up(self, attention: Attention) -> None:
        """Set what grouped heads and rotary embeddings need beside the matrices."""
        if attention.grouped:
            attention.group.copy_(torch.tensor(self.served))
        if self.rotary:
            for index, dimensions in enumerate(self.query_key):
                pairs = torch.from_numpy(dimensions[: len(dimensions) // 2])
                attention.pairs[index, : len(pairs)] = pairs


def _ffn(
    shape: EncoderShape,
    kind: BlockKind,
    matrices: GatedBlock,
    kept: LayerDimensions,
    options: FoldOptions,
    sites: Mapping[str, Indices | None],
) -> tuple[StoredMatrix | None, StoredMatrix]:
    """FFN in (gate above up, where it is gated) and FFN out."""
    inner, out = torch.from_numpy(np.flatnonzero(kept.ffn)), matrices["ffn_out"]
    weight, bias = out.folded(), out.folded_bias() + _constant(shape, kind, matrices)
    width = min(rounded_up(len(inner), options.round_to), shape.ffn)
    folded_out = StoredMatrix(filled_up(weight[:, inner].T, width).T, bias)
    if not len(inner):
        return None, folded_out
    parts = ["ffn_in", "ffn_up"] if kind.gated else ["ffn_in"]
    rows = torch.cat([filled_up(matrices[part].folded()[inner], width) for part in parts])
    biases = torch.cat([filled_up(matrices[part].folded_bias()[inner], width) for part in parts])
    folded_in = gathered(StoredMatrix(rows, biases), sites["ffn_in"], options.round_to)
    return folded_in, scattered(folded_out, sites["ffn_out"], options.round_to)


def _constant(shape: EncoderShape, kind: BlockKind, matrices: GatedBlock) -> Tensor:
    """What closed rows of FFN in give through act(0) and open columns of FFN out, (hidden,)."""
    rows, out = matrices["ffn_in"].rows, matrices["ffn_out"]
    if shape.act_at_zero_is_zero or kind.gated or rows is None:
        return torch.zeros_like(out.weight[:, 0])
    at_zero = activation(kind.activation)(torch.zeros((), dtype=out.weight.dtype))
    return at_zero * out.folded()[:, rows == 0].sum(1)


def _sites(
    shape: EncoderShape, matrices: GatedBlock, options: FoldOptions
) -> dict[str, Indices | None]:
    """For each meeting with the residual stream, the dimensions to pick; None: all."""
    inputs = {"attention_in": ("query", "key", "value"), "ffn_in": ("ffn_in", "ffn_up")}
    outputs = {"attention_out": "attention_output", "ffn_out": "ffn_out"}
    chosen: dict[str, Indices | None] = {}
    for site, roles in inputs.items():
        parts = [matrices[role] for role in roles if role in matrices]
        gated = [mask for part in parts if (mask := kept_mask(part.columns)) is not None]
        chosen[site] = None
        if len(gated) < len(parts):
            continue
        kept = np.logical_or.reduce(gated)
        weights = sum(int((part.folded() != 0).any(1).sum()) for part in parts)
        chosen[site] = _worth(kept, weights, picked=int(kept.sum()), options=options)
    for site, role in outputs.items():
        mask = kept_mask(matrices[role].rows)
        weights = int((matrices[role].folded() != 0).any(0).sum())
        chosen[site] = None
        if mask is not None:
            chosen[site] = _worth(mask, weights, picked=shape.hidden, options=options)
    return chosen


def _worth(
    kept: NDArray[np.bool_], weights: int, *, picked: int, options: FoldOptions
) -> Indices | None:
    """The kept dimensions, where leaving out the others saves more than picking costs.

    weights: of one dimension. picked: dimensions of a token that are picked then.
    """
    closed = int((~kept).sum())
    auto = closed * weights > TAKE_MACS * picked
    gather = auto if options.residual == "auto" else options.residual == "gather" and closed > 0
    return np.flatnonzero(kept) if gather else None
