"""Folding against slow truths: products of masked matrices, and a block computed both ways."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import MINILM

from finegates_engine.errors import UserError
from finegates_engine.fold.dimensions import (
    EncoderShape,
    LayerMasks,
    folded_weights,
    folded_widths,
    kept_dimensions,
    macs_per_token,
)

TINY = EncoderShape(
    layers=1, hidden=4, heads=2, key_value_heads=2, head_size=2, ffn=3, model_parameters=1000
)


def tiny(**changes):
    return dataclasses.replace(TINY, **changes)


@st.composite
def shapes_with_masks(draw):
    groups, size = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2)])), 4
    shape = tiny(
        heads=groups[0] * groups[1],
        key_value_heads=groups[0],
        head_size=size,
        ffn=5,
        ffn_matrices=draw(st.sampled_from([2, 3])),
        act_at_zero_is_zero=draw(st.booleans()),
        rotary=draw(st.booleans()),
    )
    seed, kept = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.2, 0.5, 0.9]))
    generator = np.random.default_rng(seed)
    masks = {}
    for role, sizes in shape.matrices().items():
        if draw(st.booleans()):
            masks[role] = tuple(
                generator.random(n) < kept if draw(st.booleans()) else None for n in sizes
            )
    return shape, masks, generator


def side(shape, masks, role, which):
    mask = masks.get(role, (None, None))[which]
    return np.ones(shape.matrices()[role][which], bool) if mask is None else mask


def gated_weights(shape, masks, generator):
    """Random (weight, bias) of each matrix, closed rows and columns set to 0."""
    weights = {}
    for role, (rows, columns) in shape.matrices().items():
        row, column = side(shape, masks, role, 0), side(shape, masks, role, 1)
        weight = generator.uniform(0.5, 1.5, (rows, columns)) * row[:, None] * column
        weights[role] = (weight, generator.uniform(0.5, 1.5, rows) * row)
    return weights


def rotate(vectors, angle):
    half = len(vectors) // 2
    first, second = vectors[:half], vectors[half:]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin])


@settings(max_examples=150, deadline=None)
@given(shapes_with_masks())
def test_kept_dimensions_are_those_whose_matrix_products_are_not_zero(case):
    shape, masks, generator = case
    weights = {
        role: np.column_stack([weight, bias])
        for role, (weight, bias) in gated_weights(shape, masks, generator).items()
        if role != "attention_output"
    }
    # Rows of attention output are on the residual side: what they close is not folded.
    out = np.ones((shape.hidden, 1)) * side(shape, masks, "attention_output", 1)
    size, group = shape.head_size, shape.heads // shape.key_value_heads
    kept = kept_dimensions(shape, masks)
    for g in range(shape.key_value_heads):
        key = weights["key"][g * size : (g + 1) * size]
        value = weights["value"][g * size : (g + 1) * size]
        queries, contexts = [], []
        for h in range(g * group, (g + 1) * group):
            columns = out[:, h * size : (h + 1) * size]
            reaches = [np.outer(columns[:, d], value[d]).any() for d in range(size)]
            contexts.append(reaches)
            assert kept.heads[h] == any(reaches)
            if any(reaches):
                queries.append(weights["query"][h * size : (h + 1) * size])
        for d in range(size):
            assert kept.value[g, d] == any(reaches[d] for reaches in contexts)
            members = [d]
            if shape.rotary:
                members = [d % (size // 2), d % (size // 2) + size // 2]
            scores = [rotate_product(q[members], key[members], shape.rotary) for q in queries]
            assert kept.query_key[g, d] == any(np.abs(s).max() > 1e-12 for s in scores)


def rotate_product(query, key, rotary):
    """The bilinear form of the members of one pair (or one dimension) at a generic distance."""
    return query.T @ (rotate(key, 0.7) if rotary else key)


@settings(max_examples=150, deadline=None)
@given(shapes_with_masks())
def test_block_without_the_removed_dimensions_computes_the_same(case):
    shape, masks, generator = case
    weights = gated_weights(shape, masks, generator)
    kept = kept_dimensions(shape, masks)
    tokens = generator.standard_normal((3, shape.hidden))
    everything = kept_dimensions(shape, {})
    for part in (attention, feed_forward):
        dense, folded = (part(shape, weights, dims, tokens) for dims in (everything, kept))
        np.testing.assert_allclose(folded, dense, rtol=1e-10, atol=1e-10)


def attention(shape, weights, kept, tokens):
    def project(role):
        weight, bias = weights[role]
        return tokens @ weight.T + bias

    query, key, value = project("query"), project("key"), project("value")
    size, group = shape.head_size, shape.heads // shape.key_value_heads
    weight, bias = weights["attention_output"]
    result = np.tile(bias, (len(tokens), 1))
    for h in np.flatnonzero(kept.heads):
        g = h // group
        q = query[:, h * size : (h + 1) * size] * kept.query_key[g]
        k = key[:, g * size : (g + 1) * size] * kept.query_key[g]
        if shape.rotary:
            q = np.stack([rotate(row, 0.3 * t) for t, row in enumerate(q)])
            k = np.stack([rotate(row, 0.3 * t) for t, row in enumerate(k)])
        scores = np.exp(q @ k.T / np.sqrt(size))
        shares = scores / scores.sum(axis=1, keepdims=True)
        dims = np.flatnonzero(kept.value[g])
        context = shares @ value[:, g * size + dims]
        result += context @ weight[:, h * size + dims].T
    return result


def feed_forward(shape, weights, kept, tokens):
    act = np.tanh if shape.act_at_zero_is_zero else (lambda x: 1 / (1 + np.exp(-x)))
    (w_in, b_in), (w_out, b_out) = weights["ffn_in"], weights["ffn_out"]
    inner = act(tokens @ w_in.T + b_in)
    constant = np.zeros(shape.ffn)
    if shape.ffn_matrices == 3:
        weight, bias = weights["ffn_up"]
        inner = inner * (tokens @ weight.T + bias)
    else:
        constant = np.where(kept.ffn, 0.0, act(np.zeros(shape.ffn)))
    return (inner * kept.ffn + constant) @ w_out.T + b_out


def test_gated_ffn_keeps_a_dimension_whose_gate_row_gives_a_factor():
    closed = np.array([False, True, True])
    masks: LayerMasks = {"ffn_in": (closed, None)}
    silu, sigmoid = tiny(ffn_matrices=3), tiny(ffn_matrices=3, act_at_zero_is_zero=False)
    assert kept_dimensions(silu, masks).ffn.tolist() == [False, True, True]
    assert kept_dimensions(sigmoid, masks).ffn.all()
    assert kept_dimensions(tiny(act_at_zero_is_zero=False), masks).ffn.sum() == 2


def test_gated_ffn_loses_a_dimension_closed_in_its_up_rows():
    masks: LayerMasks = {"ffn_up": (np.array([False, True, True]), None)}
    sigmoid = tiny(ffn_matrices=3, act_at_zero_is_zero=False)
    assert kept_dimensions(sigmoid, masks).ffn.tolist() == [False, True, True]


def test_head_without_values_drops_its_query_and_key():
    masks: LayerMasks = {"value": (np.array([False, False, True, True]), None)}
    (widths,) = folded_widths(TINY, [masks])
    assert widths.query == widths.key == widths.value == widths.context == (0, 2)


def test_head_without_query_and_key_keeps_its_values():
    masks: LayerMasks = {
        "query": (np.array([False, True, True, True]), None),
        "key": (np.array([True, False, True, True]), None),
    }
    (widths,) = folded_widths(TINY, [masks])
    assert (widths.query, widths.key) == ((0, 2), (0, 2))
    assert (widths.value, widths.context) == ((2, 2), (2, 2))


def test_grouped_key_stays_while_one_query_head_of_the_group_needs_it():
    shape = tiny(key_value_heads=1)
    one = np.array([False, True, True, True])
    both = np.array([False, True, False, True])
    (kept_one,) = folded_widths(shape, [{"query": (one, None)}])
    (kept_both,) = folded_widths(shape, [{"query": (both, None)}])
    assert (kept_one.query, kept_one.key) == ((2, 2), (2,))
    assert (kept_both.query, kept_both.key) == ((1, 1), (1,))


def test_query_head_without_output_leaves_its_group_alone():
    shape = tiny(key_value_heads=1)
    masks: LayerMasks = {"attention_output": (None, np.array([False, False, True, True]))}
    (widths,) = folded_widths(shape, [masks])
    assert (widths.query, widths.context) == ((0, 2), (0, 2))
    assert (widths.key, widths.value) == ((2,), (2,))


def test_rotated_pair_goes_only_together():
    shape = tiny(rotary=True)
    one_each: LayerMasks = {
        "query": (np.array([False, True, True, True]), None),
        "key": (np.array([True, False, True, True]), None),
    }
    both_in_key: LayerMasks = {"key": (np.array([False, False, True, True]), None)}
    assert folded_widths(shape, [one_each])[0].key == (2, 2)
    assert folded_widths(shape, [both_in_key])[0].query == (0, 2)


def test_residual_side_removes_nothing():
    closed = np.zeros(4, bool)
    masks: LayerMasks = {
        "query": (None, closed),
        "ffn_in": (None, closed),
        "attention_output": (closed, None),
        "ffn_out": (closed, None),
    }
    assert folded_weights(TINY, folded_widths(TINY, [masks])) == TINY.encoder_weights


def test_minilm_has_the_linear_weights_that_were_counted_in_its_file():
    assert MINILM.encoder_weights == 10_616_832
    assert folded_weights(MINILM, folded_widths(MINILM, [{}] * 6)) == 10_616_832


def test_gated_ffn_and_grouped_heads_count_all_their_weights():
    shape = tiny(key_value_heads=1, ffn_matrices=3)
    by_hand = 4 * 4 + 2 * 4 + 2 * 4 + 4 * 4 + 3 * (4 * 3)
    assert shape.encoder_weights == by_hand
    assert sum(rows * columns for rows, columns in shape.matrices().values()) == by_hand


def test_macs_are_the_weights_and_both_attention_products():
    shape = tiny(head_weights=20)
    widths = folded_widths(shape, [{"value": (np.array([False, True, True, True]), None)}])
    left = TINY.encoder_weights - 2 * 4
    scores, averages = 10 * (2 + 2), 10 * (1 + 2)
    assert macs_per_token(shape, widths, tokens=10) == left + scores + averages + 2
    assert macs_per_token(shape, widths, tokens=1) == left + 4 + 3 + 20


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"heads": 3}, "heads must be a multiple of key_value_heads, got 3 and 2."),
        ({"ffn_matrices": 4}, "ffn_matrices must be 2, or 3 (gated FFN), got 4."),
        ({"head_size": 3, "rotary": True}, "head_size must be even with rotary, got 3."),
        ({"ffn": 0}, "Sizes of an encoder must be positive"),
        ({"layers": 0}, "Sizes of an encoder must be positive"),
        ({"model_parameters": 0}, "Sizes of an encoder must be positive"),
        ({"head_weights": -1}, "Sizes of an encoder must be positive"),
        ({"layers": 1001}, "Sizes of an encoder are larger than any is"),
        ({"hidden": 2**20 + 1}, "Sizes of an encoder are larger than any is"),
        ({"ffn": 2**20 + 1}, "Sizes of an encoder are larger than any is"),
        ({"model_parameters": 10**13 + 1}, "Sizes of an encoder are larger than any is"),
    ],
)
def test_impossible_shape_is_refused(changes, text):
    with pytest.raises(UserError) as error:
        tiny(**changes)
    assert text in str(error.value)


def test_smallest_and_largest_shapes_are_allowed():
    tiny(layers=1, hidden=1, heads=1, key_value_heads=1, head_size=1, ffn=1, model_parameters=1)
    tiny(layers=1000, hidden=2**20, ffn=2**20, model_parameters=10**13)


def test_mask_of_a_wrong_size_role_or_type_is_refused():
    with pytest.raises(UserError, match=r"The rows of query need .* shape \(4,\), got bool"):
        kept_dimensions(TINY, {"query": (np.ones(3, bool), None)})
    with pytest.raises(UserError, match=r"The columns of ffn_out need a bool array.*float64"):
        kept_dimensions(TINY, {"ffn_out": (None, np.ones(3))})
    with pytest.raises(UserError, match=r"Unknown matrix 'ffn_up'. Choose from: attention_output"):
        kept_dimensions(TINY, {"ffn_up": (np.ones(3, bool), None)})
    with pytest.raises(UserError, match="masks must have 1 layers, got 2"):
        folded_widths(TINY, [{}, {}])
    with pytest.raises(UserError, match="tokens must be at least 1, got 0"):
        macs_per_token(TINY, folded_widths(TINY, [{}]), tokens=0)
