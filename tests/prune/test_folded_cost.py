"""What a folded model costs, counted by torch itself, is what the ladder says."""

import pytest
import torch
from random_gates import random_model
from tiny_models import FAMILIES
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from finegates_engine.fold.block import CANONICAL
from finegates_engine.fold.dimensions import LayerWidths, folded_widths, macs_per_token
from finegates_engine.folded import FoldedClassifier
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.prune.compiled import fold_model, gated_blocks

POOLINGS = ("mean", "model")


def counted_macs(model: FoldedClassifier, tokens: int) -> float:
    """Of one row of `tokens` tokens; attention as two plain products, so that both are seen."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(torch.ones(1, tokens, dtype=torch.int64))
    return counter.get_total_flops() / 2


def filling(model: FoldedClassifier, widths: list[LayerWidths], tokens: int) -> int:
    """MACs of what fills the canonical form up where heads have several widths, or odd ones.

    One row of zeros in query, key and value for all that is missing, and in attention's two
    products heads of the common width.
    """
    macs = 0
    for spec, kept in zip(model.spec.blocks, widths, strict=True):
        common = spec.heads * spec.width
        rows = sum(map(sum, (kept.query, kept.key, kept.value)))
        macs += tokens * spec.qkv.columns * (spec.qkv.rows - rows)
        assert spec.qkv.rows - rows == (rows < 3 * common)
        macs += tokens**2 * (2 * common - sum(kept.query) - sum(kept.context))
    return macs


def widths_of(model: TextClassifier) -> list[LayerWidths]:
    masks = [{role: m.masks() for role, m in block.items()} for block in gated_blocks(model)]
    return folded_widths(encoder_shape(model), masks)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("closed", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("tokens", [1, 7])
def test_macs_of_the_canonical_form_are_the_ladders(family, pooling, closed, tokens):
    model = random_model(family, pooling=pooling, axes="all", closed=closed)
    folded, widths = fold_model(model, CANONICAL), widths_of(model)
    expected = tokens * macs_per_token(encoder_shape(model), widths, tokens=tokens)
    assert counted_macs(folded, tokens) == pytest.approx(
        expected + filling(folded, widths, tokens), rel=1e-12
    )


@pytest.mark.parametrize("removed", [0, 8])
def test_heads_of_one_width_are_not_filled_up(removed):
    sizes = {"hidden": 48, "heads": 2, "ffn": 40}  # heads of 24
    model = random_model(axes="inner", tie=True, closed=0.0, soft=False, sizes=sizes)
    parts = model.gates.split(torch.zeros_like(model.gates.closed))
    for name in ("query_key", "value_output"):
        parts[f"1/{name}"].view(2, 24)[:, :removed] = True
    parts["0/ffn"][:11] = True
    model.gates.close(torch.cat(list(parts.values())))
    folded, widths = fold_model(model, CANONICAL), widths_of(model)
    assert widths[1].query == (24 - removed,) * 2
    assert widths[0].ffn == 29
    assert counted_macs(folded, 6) == 6 * macs_per_token(encoder_shape(model), widths, tokens=6)
    assert filling(folded, widths, 6) == 0
