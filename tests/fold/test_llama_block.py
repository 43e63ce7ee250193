"""A folded block of Llama equals transformers' own layer with gates."""

import numpy as np
import pytest
import torch
from gated_blocks import LARGEST, closed, gate_values, padding
from llama_block import FFN, HIDDEN, SIZE, GatedLlama

from finegates_engine.fold.block import CANONICAL, DEFAULT, FoldOptions


def pairs_closed(heads, pattern, generator):
    """(heads * SIZE,) rows of query or key; which rotated pairs are closed, whole or half."""
    gate = generator.uniform(0.3, 1.0, (heads, 2, SIZE // 2))
    for head in range(heads):
        for pair in generator.choice(SIZE // 2, 2, replace=False):
            members = {"whole": (0, 1), "half": (int(generator.integers(2)),)}[pattern]
            gate[head, members, pair] = 0
    return gate.reshape(-1)


def llama_gates(pattern, heads, shared, generator):
    """(role, side) -> values, for one way to close an inner part of Llama's block."""
    rows, columns, group = heads * SIZE, shared * SIZE, heads // shared
    by_group = np.ones((shared, group, SIZE))
    if pattern in ("whole", "half"):
        return {
            ("query", "rows"): pairs_closed(heads, pattern, generator),
            ("key", "rows"): pairs_closed(shared, pattern, generator),
        }
    if pattern == "key_pair":
        return {("key", "rows"): closed(columns, 2, 2 + SIZE // 2)}
    if pattern == "pair_of_a_group":
        by_group[0, :, [1, 1 + SIZE // 2]] = 0
        return {("query", "rows"): by_group.reshape(-1)}
    if pattern == "head_without_values":
        return {("attention_output", "columns"): closed(rows, *range(SIZE))}
    if pattern == "group_without_values":
        by_group[0] = 0
        return {("attention_output", "columns"): by_group.reshape(-1)}
    if pattern == "value_head":
        return {("value", "rows"): closed(columns, *range(SIZE))}
    return {}


LLAMA_PATTERNS = (
    "open",
    "whole",
    "half",
    "key_pair",
    "pair_of_a_group",
    "head_without_values",
    "group_without_values",
    "value_head",
)


@pytest.mark.parametrize("outer", [None, "binary", "mixed"])
@pytest.mark.parametrize("pattern", LLAMA_PATTERNS)
@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (4, 1)])
def test_folded_block_equals_llamas(heads, shared, pattern, outer):
    generator = np.random.default_rng(len(pattern) + heads + shared)
    gates = llama_gates(pattern, heads, shared, generator)
    if outer:
        sizes = {"columns": {"query", "key", "value", "ffn_in", "ffn_up"}, "rows": {"ffn_out"}}
        for side, roles in sizes.items():
            gates |= {(role, side): gate_values(outer, HIDDEN, 3, generator) for role in roles}
        for place in (("ffn_in", "rows"), ("ffn_up", "rows"), ("ffn_out", "columns")):
            gates[place] = gate_values(outer, FFN, 2, generator)
        gates["attention_output", "rows"] = gate_values(outer, HIDDEN, 3, generator)
    gates = {place: torch.from_numpy(values) for place, values in gates.items()}
    gated = GatedLlama(heads, shared, gates, rank=2 if outer else 0)
    x = torch.from_numpy(generator.standard_normal((3, 7, HIDDEN)))
    masks = [None, padding((7, 4, 2), tokens=7), padding((7, 4, 2), tokens=7, left=True)]
    for options in (DEFAULT, CANONICAL, FoldOptions(round_to=8, residual="gather")):
        block = gated.folded(options)
        for mask in masks:
            expected = gated(x, mask)
            folded = block(x, None if mask is None else mask[:, None, None, :])
            seen = slice(None) if mask is None else mask
            assert (folded - expected)[seen].abs().max() <= LARGEST


@pytest.mark.parametrize(
    ("pattern", "heads", "gone"),
    [
        # of 12 x (4 + 2 + 2) rows of query, key and value with 4 query and 2 key heads
        ("open", 4, 0),
        ("key_pair", 4, 3 * 2),
        ("pair_of_a_group", 4, 3 * 2),
        ("half", 4, 0),
        ("head_without_values", 3, 12),
        ("group_without_values", 2, 48),
        ("value_head", 2, 48),
    ],
)
def test_what_goes_from_llamas_block(pattern, heads, gone):
    gates = llama_gates(pattern, 4, 2, np.random.default_rng(0))
    gates = {place: torch.from_numpy(values) for place, values in gates.items()}
    spec = GatedLlama(4, 2, gates).folded(CANONICAL).spec
    filled = pattern in ("key_pair", "pair_of_a_group")  # a row of zeros for heads of two widths
    assert (spec.heads, spec.qkv.rows) == (heads, 12 * 8 - gone + filled)
