"""A folded model of other sizes: dense blocks narrowed, heads made alike. Weights are random."""

import dataclasses
from collections.abc import Callable

import torch

from finegates_engine.fold.stored_matrix import rounded_up
from finegates_engine.folded import FoldedClassifier, ModelSpec
from finegates_engine.folded.layers import BlockSpec, MatrixSpec

_MULTIPLE = 8  # of widths that a run could be trained to


def respecified(
    spec: ModelSpec,
    change: Callable[[BlockSpec, BlockSpec], BlockSpec],
    dense: ModelSpec | None = None,
) -> ModelSpec:
    """The sizes with each block changed. change: (block, the same one of `dense`) -> block."""
    full = (dense or spec).blocks
    blocks = tuple(change(block, other) for block, other in zip(spec.blocks, full, strict=True))
    return dataclasses.replace(spec, blocks=blocks)


def rows(block: BlockSpec) -> int:
    """Rows of query, key and value together."""
    return block.qkv.rows


def uniform(block: BlockSpec, spec: ModelSpec) -> BlockSpec:
    """As many heads, each with the mean of their rows, rounded up."""
    if not block.heads:
        return block
    width = rounded_up(-(-rows(block) // (3 * block.heads)), _MULTIPLE)
    return _with_heads(block, spec, block.heads, min(width, block.width))


def whole_heads(block: BlockSpec, full: BlockSpec, spec: ModelSpec) -> BlockSpec:
    """As many heads of full width as hold its rows, at least one."""
    heads = max(1, round(rows(block) / (3 * full.width)))
    return _with_heads(block, spec, min(heads, full.heads), full.width) if block.heads else block


def narrowed(block: BlockSpec, spec: ModelSpec, share: float) -> BlockSpec:
    """Heads and FFN of a dense block cut to a share of their widths, rounded."""
    ffn = max(_MULTIPLE, rounded_up(int(block.ffn * share), 2 * _MULTIPLE))
    width = min(block.width, max(_MULTIPLE, rounded_up(int(block.width * share), _MULTIPLE)))
    narrow = _with_heads(block, spec, block.heads, width)
    return dataclasses.replace(
        narrow,
        ffn=ffn,
        ffn_in=_plain(ffn * (2 if spec.kind.gated else 1), spec.kind.hidden),
        ffn_out=_plain(spec.kind.hidden, ffn),
    )


def _with_heads(block: BlockSpec, spec: ModelSpec, heads: int, width: int) -> BlockSpec:
    """The block with so many heads of one width, each with a key and value of its own."""
    return dataclasses.replace(
        block,
        heads=heads,
        key_value_heads=heads,
        width=width,
        qkv=_plain(3 * heads * width, spec.kind.hidden),
        attention_output=_plain(spec.kind.hidden, heads * width),
    )


def _plain(rows: int, columns: int) -> MatrixSpec:
    return MatrixSpec(rows=rows, columns=columns, bias=True)


def filled(spec: ModelSpec) -> FoldedClassifier:
    """A model of these sizes with random weights: time depends on sizes alone."""
    model = FoldedClassifier(spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.05 * torch.randn(value.shape, generator=generator))
    return model
