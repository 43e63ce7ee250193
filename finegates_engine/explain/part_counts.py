"""The arithmetic of each part of a compiled run, and what is left of its blocks."""

from collections.abc import Callable, Sequence

from finegates_engine.explain.explanation import LayerForm, PartWork
from finegates_engine.fold.dimensions import (
    EncoderShape,
    LayerWidths,
    folded_widths,
    macs_per_token,
)
from finegates_engine.folded import FoldedClassifier
from finegates_engine.folded.layers import BlockSpec, MatrixSpec
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.prune.compiled import CompiledRun, gated_blocks


def mac_ratio(compiled: CompiledRun, tokens: int) -> float:
    """Multiply-accumulates of dense / of pruned, in rows of `tokens`, without zeros."""
    shape, left = _shape_and_widths(compiled)
    dense = folded_widths(shape, [{}] * shape.layers)
    before, after = (macs_per_token(shape, widths, tokens=tokens) for widths in (dense, left))
    return before / after


def part_work(compiled: CompiledRun, tokens: int) -> dict[str, PartWork]:
    """Part -> its multiply-accumulates of one token in rows of `tokens`; see `advice.SCALED`."""
    shape, left = _shape_and_widths(compiled)
    dense = folded_widths(shape, [{}] * shape.layers)
    counted = [_work(shape, widths, tokens) for widths in (dense, left)]
    stored = _stored_work(compiled.folded, tokens)
    return {
        part: PartWork(dense=counted[0][part], left=counted[1][part], stored=stored[part])
        for part in counted[0]
    }


def layer_forms(compiled: CompiledRun) -> tuple[LayerForm, ...]:
    """For each block what is left, and how it is stored."""
    _, widths = _shape_and_widths(compiled)
    return tuple(
        LayerForm(
            query=left.query,
            value=left.value,
            heads=block.heads,
            width=block.width,
            ffn=left.ffn,
            stored_ffn=block.ffn,
            qkv_rows=block.qkv.rows,
            spread=bool(block.qkv.take_out),
        )
        for left, block in zip(widths, compiled.folded.spec.blocks, strict=True)
    )


def _shape_and_widths(compiled: CompiledRun) -> tuple[EncoderShape, list[LayerWidths]]:
    shape = encoder_shape(compiled.gated)
    masks = [
        {role: matrix.masks() for role, matrix in block.items()}
        for block in gated_blocks(compiled.gated)
    ]
    return shape, folded_widths(shape, masks)


def _work(shape: EncoderShape, widths: Sequence[LayerWidths], tokens: int) -> dict[str, int]:
    ffn = sum(layer.ffn for layer in widths)
    rows = sum(sum(layer.query) + sum(layer.key) + sum(layer.value) for layer in widths)
    return {
        "qkv": shape.hidden * rows,
        "attention": tokens * sum(sum(layer.query) + sum(layer.context) for layer in widths),
        "attention_output": shape.hidden * sum(sum(layer.context) for layer in widths),
        "ffn_in": shape.hidden * ffn * (shape.ffn_matrices - 1),
        "activation": ffn,
        "ffn_out": shape.hidden * ffn,
    }


def _stored_work(model: FoldedClassifier, tokens: int) -> dict[str, int]:
    def total(count: Callable[[BlockSpec], int]) -> int:
        return sum(count(block) for block in model.spec.blocks)

    def weights(matrix: MatrixSpec) -> int:
        return matrix.rows * matrix.columns

    return {
        "qkv": total(lambda block: weights(block.qkv)),
        "attention": total(lambda block: 2 * tokens * block.heads * block.width),
        "attention_output": total(lambda block: weights(block.attention_output)),
        "ffn_in": total(lambda block: weights(block.ffn_in)),
        "activation": total(lambda block: block.ffn),
        "ffn_out": total(lambda block: weights(block.ffn_out)),
    }
