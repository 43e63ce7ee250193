"""The small model's matrices, attention and blocks."""

import dataclasses

import numpy as np
import pytest
import torch
from folded_examples import EMPTY, HIDDEN, KIND, SPEC, filled, rows

from finegates_engine.folded import layers
from finegates_engine.folded.head_rows import MOST_TOKENS, attended
from finegates_engine.folded.layers import (
    ACTIVATIONS,
    Attention,
    Block,
    BlockKind,
    BlockSpec,
    Matrix,
    MatrixSpec,
    activation,
    take,
)


def test_matrix_picks_inputs_multiplies_and_spreads_outputs():
    matrix = Matrix(MatrixSpec(rows=2, columns=2, bias=True, take_in=2, take_out=3))
    matrix.weight.copy_(torch.tensor([[1.0, 10.0], [0.0, 0.0]]))
    matrix.bias.copy_(torch.tensor([0.5, 0.0]))
    matrix.take_in.copy_(torch.tensor([2, 0]))
    matrix.take_out.copy_(torch.tensor([1, 0, 1]))
    y = matrix(torch.tensor([[[3.0, 99.0, 4.0]]]))
    assert y.tolist() == [[[0.0, 4 + 30 + 0.5, 0.0]]]


@pytest.mark.parametrize("tokens", [1, 4])
def test_take_is_indexing_of_the_last_dimension(tokens):
    x, index = rows(tokens), torch.tensor([5, 0, 0, 3])
    assert torch.equal(take(x, index), x[..., index])
    assert torch.equal(take(x[:, :, ::2], index[1:3]), x[:, :, ::2][..., index[1:3]])


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_are_those_of_transformers(name):
    from transformers.activations import ACT2FN

    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(activation(name)(x), ACT2FN[name](x), rtol=0, atol=1e-12)


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"activation 'swish!' is not one of gelu, .*silu"):
        activation("swish!")


def test_scores_are_divided_by_the_root_of_the_dense_head():
    kind = BlockKind(hidden=2, activation="relu", head_size=9, norm_eps=1e-5)
    full = MatrixSpec(rows=6, columns=2, bias=True)
    out = MatrixSpec(rows=2, columns=2, bias=True)
    spec = BlockSpec(
        heads=1,
        key_value_heads=1,
        width=2,
        ffn=0,
        qkv=full,
        attention_output=out,
        ffn_in=EMPTY.ffn_in,
        ffn_out=out,
    )
    attention = Attention(spec, kind)
    attention.qkv.weight.copy_(torch.cat([torch.eye(2)] * 3))
    attention.output.weight.copy_(torch.eye(2))
    x = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    weights = np.exp(np.array([[1.0, 0.0], [0.0, 9.0]]) / 3)
    expected = weights / weights.sum(1, keepdims=True) @ x[0].numpy()
    np.testing.assert_allclose(attention(x, None)[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("picks", [0, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_one_text_by_rows_of_features_is_what_fused_attention_gives(picks, bias, monkeypatch):
    out = MatrixSpec(rows=5, columns=picks or 4, bias=True, take_in=picks, take_out=6)
    qkv = dataclasses.replace(SPEC.qkv, bias=bias)
    attention = filled(Attention(dataclasses.replace(SPEC, qkv=qkv, attention_output=out), KIND))
    attention, x = attention.double(), rows(tokens=MOST_TOKENS)[:1].double()
    calls = []
    monkeypatch.setattr(layers, "attended", lambda *a, **k: calls.append(1) or attended(*a, **k))
    found = attention(x, None)
    assert calls == [1]
    seen = torch.ones(1, 1, 1, MOST_TOKENS, dtype=torch.bool)  # a mask asks for fused attention
    torch.testing.assert_close(found, attention(x, seen), rtol=0, atol=1e-12)
    attention(rows(MOST_TOKENS + 1)[:1].double(), None)
    attention(rows().double(), None)
    attention.bfloat16()(x.bfloat16(), None)
    assert calls == [1]


@pytest.mark.parametrize("rotary", [0.0, 10.0])
@pytest.mark.parametrize("grouped", [False, True])
def test_causal_attention_sees_nothing_later_with_and_without_a_mask(rotary, grouped):
    shared = 1 if grouped else 2
    kind = BlockKind(
        hidden=HIDDEN,
        activation="relu",
        head_size=2,
        norm_eps=1e-5,
        causal=True,
        rotary_base=rotary,
    )
    spec = BlockSpec(
        heads=2,
        key_value_heads=shared,
        width=2,
        ffn=0,
        qkv=MatrixSpec(rows=4 + 4 * shared, columns=HIDDEN, bias=False),
        attention_output=MatrixSpec(rows=HIDDEN, columns=4, bias=True),
        ffn_in=EMPTY.ffn_in,
        ffn_out=EMPTY.ffn_out,
    )
    attention = Attention(spec, kind)
    for value in (attention.qkv.weight, attention.output.weight, attention.output.bias):
        value.normal_(generator=torch.Generator().manual_seed(3))
    x, later = rows(), rows()
    later[:, 3:] += 1
    seen = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    for mask in (None, seen, seen.expand(2, 1, 5, 5)):
        one, other = attention(x, mask), attention(later, mask)
        torch.testing.assert_close(one[:, :3], other[:, :3])
        assert not torch.allclose(one[:, 3:], other[:, 3:])
    hidden = seen.clone()
    hidden[:, ..., 1] = False
    changed = x.clone()
    changed[:, 1] += 1
    torch.testing.assert_close(attention(x, hidden)[:, 2:], attention(changed, hidden)[:, 2:])


def test_block_without_inner_dimensions_adds_its_biases():
    block = filled(Block(EMPTY, BlockKind(**{**vars(KIND), "pre_norm": True})))
    x = rows()
    expected = x + block.attention.output.bias + block.ffn.output.bias
    torch.testing.assert_close(block(x, None), expected)


def test_padded_tokens_do_not_change_the_others():
    block, x = filled(Block(SPEC, KIND)), rows()
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], dtype=torch.bool)
    other = x + 100 * ~mask[..., None]
    seen = mask[:, None, None, :]
    torch.testing.assert_close(block(x, seen)[mask], block(other, seen)[mask])
