"""Which dimensions of an encoder can go: index algebra on masks of kept gates. No torch.

A mask is True where a gate is kept (`z > 0`). The rules are those of DESIGN section 4; `ladder`
counts with them, `prune` applies the same ones to weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finegates_engine.errors import UserError, unknown

MACS_TOKENS = 64
"""Tokens of the row in which multiply-accumulates are counted, unless said otherwise."""

MOST_LAYERS, MOST_WIDTH, MOST_PARAMETERS = 1000, 2**20, 10**13
"""Sizes of an encoder beyond which a stored one is damaged."""

Mask = NDArray[np.bool_]
LayerMasks = Mapping[str, tuple[Mask | None, Mask | None]]
"""Role to (rows kept, columns kept) of one block's matrices; None: that side has no gates."""


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """The sizes of a dense model's blocks, and how its pairs of dimensions meet."""

    layers: int
    hidden: int
    """Width of the residual stream."""
    heads: int
    """Query heads; `heads * head_size` rows of query and columns of attention output."""
    key_value_heads: int
    """Key and value heads; each serves `heads / key_value_heads` neighbouring query heads."""
    head_size: int
    ffn: int
    """Inner width of the FFN."""
    ffn_matrices: int = 2
    """2, or 3 for a gated FFN: `ffn_out(act(ffn_in(x)) * ffn_up(x))`."""
    model_parameters: int
    """All parameters of the model, embeddings included."""
    act_at_zero_is_zero: bool = True
    """The FFN's activation gives 0 at 0 (GELU, ReLU, SiLU)."""
    rotary: bool = False
    """Query and key are rotated in pairs (j, j + head_size / 2)."""
    head_weights: int = 0
    """Weights used once a row, after the blocks: pooler and classifier."""

    def __post_init__(self) -> None:
        sizes = (self.layers, self.hidden, self.heads, self.key_value_heads, self.head_size)
        if min(*sizes, self.ffn, self.model_parameters) < 1 or self.head_weights < 0:
            raise UserError(f"Sizes of an encoder must be positive, got {str(self)[:300]}.")
        most = (self.layers, MOST_LAYERS), (max(sizes[1:]), MOST_WIDTH), (self.ffn, MOST_WIDTH)
        if any(size > limit for size, limit in most) or self.model_parameters > MOST_PARAMETERS:
            raise UserError(f"Sizes of an encoder are larger than any is, got {str(self)[:300]}.")
        if self.heads % self.key_value_heads:
            raise UserError(
                f"heads must be a multiple of key_value_heads, got {self.heads} and "
                f"{self.key_value_heads}."
            )
        if self.ffn_matrices not in (2, 3):
            raise UserError(f"ffn_matrices must be 2, or 3 (gated FFN), got {self.ffn_matrices}.")
        if self.rotary and self.head_size % 2:
            raise UserError(f"head_size must be even with rotary, got {self.head_size}.")

    @property
    def encoder_weights(self) -> int:
        """All Linear weights of the dense blocks, gated or not; no biases."""
        inner = 2 * self.head_size * (self.heads + self.key_value_heads)
        return self.layers * self.hidden * (inner + self.ffn_matrices * self.ffn)

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Role to (rows, columns) of each matrix of one block."""
        inner, shared = self.heads * self.head_size, self.key_value_heads * self.head_size
        shapes = {
            "query": (inner, self.hidden),
            "key": (shared, self.hidden),
            "value": (shared, self.hidden),
            "attention_output": (self.hidden, inner),
            "ffn_in": (self.ffn, self.hidden),
            "ffn_out": (self.hidden, self.ffn),
        }
        return shapes | ({"ffn_up": (self.ffn, self.hidden)} if self.ffn_matrices == 3 else {})


@dataclass(frozen=True)
class LayerDimensions:
    """Inner dimensions of one block that stay after folding; True stays."""

    heads: Mask
    """(heads,): query heads whose values reach the output."""
    query_key: Mask
    """(key_value_heads, head_size): shared by key and the query heads of its group that stay."""
    value: Mask
    """(key_value_heads, head_size): shared by value and its group's columns of attention output."""
    ffn: Mask
    """(ffn,)"""


@dataclass(frozen=True)
class LayerWidths:
    """Dimensions of one block that stay, counted for each head. A head that goes has 0."""

    query: tuple[int, ...]
    """For each query head: its rows of query."""
    key: tuple[int, ...]
    """For each key head: its rows of key."""
    value: tuple[int, ...]
    """For each value head: its rows of value."""
    context: tuple[int, ...]
    """For each query head: its columns of attention output."""
    ffn: int
    """Rows of FFN in, columns of FFN out."""


def kept_dimensions(shape: EncoderShape, masks: LayerMasks) -> LayerDimensions:
    """The inner dimensions of one block that cannot go, by the table of DESIGN section 4.

    A query head all of whose columns of attention output are closed goes by itself, with its
    rows of query; its group's key and value stay for the others. Raises UserError for a mask of
    a wrong role or size.
    """
    _check(shape, masks)
    grouped = (shape.key_value_heads, shape.heads // shape.key_value_heads, shape.head_size)
    shared = (shape.key_value_heads, shape.head_size)
    query = _side(shape, masks, "query", 0).reshape(grouped)
    key = _side(shape, masks, "key", 0).reshape(shared)
    context = _side(shape, masks, "attention_output", 1).reshape(grouped)
    context = context & _side(shape, masks, "value", 0).reshape(shared)[:, None]
    alive: Mask = np.logical_or.reduce(context, axis=2)
    query = query & alive[:, :, None]
    if shape.rotary:
        query, key = _either_of_pair(query), _either_of_pair(key)
    ffn = _side(shape, masks, "ffn_out", 1)
    if shape.ffn_matrices == 3:
        ffn = ffn & _side(shape, masks, "ffn_up", 0)
    if shape.ffn_matrices == 2 or shape.act_at_zero_is_zero:
        # Not gated: act(0) is a constant and moves to the bias. Gated: act(0) * up(x) is not one.
        ffn = ffn & _side(shape, masks, "ffn_in", 0)
    return LayerDimensions(
        heads=alive.reshape(-1),
        query_key=key & np.logical_or.reduce(query, axis=1),
        value=np.logical_or.reduce(context, axis=1),
        ffn=ffn,
    )


def folded_widths(shape: EncoderShape, masks: Sequence[LayerMasks]) -> list[LayerWidths]:
    """What stays of each block after folding; `masks` holds one entry a layer."""
    if len(masks) != shape.layers:
        raise UserError(f"masks must have {shape.layers} layers, got {len(masks)}.")
    group = shape.heads // shape.key_value_heads
    widths = []
    for layer in masks:
        kept = kept_dimensions(shape, layer)
        key, value = kept.query_key.sum(axis=1), kept.value.sum(axis=1)
        widths.append(
            LayerWidths(
                query=_ints(np.repeat(key, group) * kept.heads),
                key=_ints(key),
                value=_ints(value),
                context=_ints(np.repeat(value, group) * kept.heads),
                ffn=int(kept.ffn.sum()),
            )
        )
    return widths


def folded_weights(shape: EncoderShape, widths: Sequence[LayerWidths]) -> int:
    """Linear weights left in the blocks: inner pairs removed, residual side at full width."""
    inner = sum(sum(w.query) + sum(w.key) + sum(w.value) + sum(w.context) for w in widths)
    return shape.hidden * (inner + shape.ffn_matrices * sum(w.ffn for w in widths))


def macs_per_token(
    shape: EncoderShape, widths: Sequence[LayerWidths], *, tokens: int = MACS_TOKENS
) -> float:
    """Multiply-accumulates a token of the whole model in a row of `tokens` tokens.

    Both attention products are in it, and `head_weights` once a row; embeddings cost none.
    """
    if tokens < 1:
        raise UserError(f"tokens must be at least 1, got {tokens}.")
    products = tokens * sum(sum(w.query) + sum(w.context) for w in widths)
    return folded_weights(shape, widths) + products + shape.head_weights / tokens


def _side(shape: EncoderShape, masks: LayerMasks, role: str, side: int) -> Mask:
    """Rows (0) or columns (1) kept; all where that side has no gates."""
    mask = masks.get(role, (None, None))[side]
    return np.ones(shape.matrices()[role][side], dtype=np.bool_) if mask is None else mask


def _either_of_pair(kept: Mask) -> Mask:
    """A rotated pair (j, j + size / 2) stays whole while one of its members is kept."""
    half = kept.shape[-1] // 2
    either = kept[..., :half] | kept[..., half:]
    return np.concatenate([either, either], axis=-1)


def _check(shape: EncoderShape, masks: LayerMasks) -> None:
    sizes = shape.matrices()
    for role, sides in masks.items():
        if role not in sizes:
            raise unknown("matrix", role, sizes)
        for name, mask, size in zip(("rows", "columns"), sides, sizes[role], strict=True):
            if mask is not None and (mask.shape != (size,) or mask.dtype != np.bool_):
                raise UserError(
                    f"The {name} of {role} need a bool array of shape ({size},), got "
                    f"{mask.dtype} of shape {mask.shape}."
                )


def _ints(counts: NDArray[np.integer]) -> tuple[int, ...]:
    return tuple(int(count) for count in counts)
