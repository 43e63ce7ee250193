"""The small model by itself: its layers, its sizes as JSON, and a bundle's files."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import save_tiny_backbone

from finegates_engine.folded import (
    FoldedClassifier,
    ModelSpec,
    layers,
    load,
    spec_from_json,
    spec_to_json,
)
from finegates_engine.folded.classifier import SPEC_FILE, WEIGHTS_FILE, load_model
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

HIDDEN = 6
KIND = BlockKind(hidden=HIDDEN, activation="gelu", head_size=4, norm_eps=1e-5)
SPEC = BlockSpec(
    heads=2,
    key_value_heads=2,
    width=2,
    ffn=3,
    qkv=MatrixSpec(rows=9, columns=5, bias=True, take_in=5, take_out=12),
    attention_output=MatrixSpec(rows=5, columns=3, bias=True, take_in=3, take_out=6),
    ffn_in=MatrixSpec(rows=3, columns=HIDDEN, bias=True),
    ffn_out=MatrixSpec(rows=HIDDEN, columns=3, bias=True),
)
EMPTY = BlockSpec(
    heads=0,
    key_value_heads=0,
    width=4,
    ffn=0,
    qkv=MatrixSpec(rows=0, columns=0, bias=False),
    attention_output=MatrixSpec(rows=HIDDEN, columns=0, bias=True),
    ffn_in=MatrixSpec(rows=0, columns=0, bias=False),
    ffn_out=MatrixSpec(rows=HIDDEN, columns=0, bias=True),
)
MODEL = ModelSpec(
    kind=KIND,
    blocks=(SPEC, EMPTY),
    vocabulary=100,
    positions=12,
    types=2,
    padding_id=None,
    pooling="mean",
    outputs=3,
)
INDEX = {"take_in": (0, 2), "take_out": (0, 3)}


def filled(module, seed=0):
    """The module with random weights, and its indices within bounds."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.normal_(generator=generator)
        else:
            value.random_(*INDEX[name.rsplit(".", 1)[-1]], generator=generator)
    return module


def rows(tokens=5, hidden=HIDDEN):
    return torch.randn(2, tokens, hidden, generator=torch.Generator().manual_seed(1))


# Layers.


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


# The classifier.


def model(**changes):
    return filled(FoldedClassifier(spec_from_json({**spec_to_json(MODEL), **changes})))


def test_classifier_is_for_inference_only():
    made = FoldedClassifier(MODEL)
    assert not made.training
    assert not any(parameter.requires_grad for parameter in made.parameters())


def test_positions_count_around_the_padding_token():
    made = model(padding_id=7, positions=20)
    ids = torch.tensor([[5, 7, 6, 7, 7], [7, 3, 3, 3, 7]])
    assert made._positions(ids).tolist() == [[8, 7, 9, 7, 7], [7, 8, 9, 10, 7]]
    assert model()._positions(ids).tolist() == [0, 1, 2, 3, 4]


def test_mean_is_over_tokens_that_are_seen():
    x, made = rows(), model()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0]], dtype=torch.bool)
    expected = torch.stack([x[0].mean(0), x[1, [0, 2]].mean(0)])
    torch.testing.assert_close(made.classify(x, mask), made.classifier(expected))
    torch.testing.assert_close(made.classify(x, None), made.classifier(x.mean(1)))


@pytest.mark.parametrize(("name", "function"), [("tanh", torch.tanh), ("relu", torch.relu)])
def test_pooler_reads_the_first_token(name, function):
    made, x = model(pooling=name), rows()
    expected = made.classifier(function(made.pooler(x[:, 0])))
    torch.testing.assert_close(made.classify(x, None), expected)


def test_rows_longer_than_the_table_of_positions_are_refused():
    made = model()
    assert made(torch.ones(1, 12, dtype=torch.int64)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"13 tokens, the model reads at most 12"):
        made(torch.ones(1, 13, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_logits_are_fp32_in_every_precision(dtype):
    made = model().to(dtype)
    logits = made(torch.tensor([[3, 4, 5], [6, 7, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


# Sizes as JSON.


def test_sizes_survive_json():
    plain = json.loads(json.dumps(spec_to_json(MODEL), allow_nan=False))
    assert spec_from_json(plain) == MODEL


def changed(path, value):
    """The file's content with one field set (or removed: ...)."""
    plain = copy.deepcopy(spec_to_json(MODEL))
    plain["blocks"] = list(plain["blocks"])
    *parents, last = path
    target = plain
    for parent in parents:
        target = target[parent]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return plain


BLOCK = ("blocks", 0)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("vocabulary",), ..., "vocabulary is missing"),
        (("vocabulary",), "many", "vocabulary is 'many'"),
        (("vocabulary",), True, "vocabulary is True"),
        (("vocabulary",), -1, "vocabulary is -1"),
        (("vocabulary",), 0, "vocabulary is 0"),
        (("vocabulary",), 10**400, "vocabulary is 1000"),
        (("outputs",), 1.5, r"outputs is 1\.5"),
        (("positions",), 0, "positions is 0"),
        (("padding_id",), 100, "padding_id is 100"),
        (("pooling",), "max", "pooling is 'max'"),
        (("pooling",), None, "pooling is None"),
        (("more",), 1, "more is unknown"),
        (("kind",), ..., "kind is missing"),
        (("kind",), [], "kind is missing or no object"),
        (("kind", "hidden"), None, r"kind\.hidden is None"),
        (("kind", "hidden"), 0, r"kind\.hidden is 0"),
        (("kind", "head_size"), 0, r"kind\.head_size is 0"),
        (("kind", "norm"), "batch", r"kind\.norm is 'batch'"),
        (("kind", "activation"), "__import__", r"kind\.activation is '__import__'"),
        (("kind", "norm_eps"), math.nan, r"kind\.norm_eps is nan"),
        (("kind", "rotary_base"), math.inf, r"kind\.rotary_base is inf"),
        (("kind", "rotary_base"), -1.0, r"kind\.rotary_base is -1\.0"),
        (("kind", "causal"), 1, r"kind\.causal is 1"),
        (("kind", "__class__"), {}, r"kind\.__class__ is unknown"),
        (("blocks",), ..., "blocks is missing"),
        (("blocks",), {}, "blocks is missing or no list"),
        (("blocks",), [3], r"blocks\[0\] is missing or no object"),
        ((*BLOCK, "heads"), ..., r"blocks\[0\]\.heads is missing"),
        ((*BLOCK, "heads"), 3, r"blocks\[0\]\.attention_output|blocks\[0\]\.qkv"),
        ((*BLOCK, "key_value_heads"), 3, r"blocks\[0\]\.key_value_heads is 3"),
        ((*BLOCK, "key_value_heads"), 0, r"blocks\[0\]\.key_value_heads is 0"),
        ((*BLOCK, "width"), 5, r"blocks\[0\]\.width is 5"),
        ((*BLOCK, "width"), 0, r"blocks\[0\]\.width is 0"),
        ((*BLOCK, "ffn"), 4, r"blocks\[0\]\.ffn_in\.rows is 3"),
        ((*BLOCK, "qkv"), 4, r"blocks\[0\]\.qkv is 4"),
        ((*BLOCK, "qkv"), ..., r"blocks\[0\]\.qkv is missing"),
        ((*BLOCK, "qkv", "take_in"), 4, r"blocks\[0\]\.qkv\.columns is 5"),
        ((*BLOCK, "qkv", "take_out"), 11, r"blocks\[0\]\.qkv\.rows is 11"),
        ((*BLOCK, "qkv", "rows"), 2**31, r"blocks\[0\]\.qkv\.rows is 2147483648"),
        ((*BLOCK, "ffn_out", "rows"), 5, r"blocks\[0\]\.ffn_out\.rows is 5"),
        ((*BLOCK, "ffn_out", "bias"), "yes", r"blocks\[0\]\.ffn_out\.bias is 'yes'"),
        (("blocks", 1, "ffn_out", "take_out"), 6, r"blocks\[1\]\.ffn_out\.take_out is 6"),
        (("blocks", 1, "qkv", "rows"), 4, r"blocks\[1\]\.qkv\.rows is 4"),
    ],
)
def test_hostile_sizes_are_refused_by_name(path, value, named):
    with pytest.raises(ValueError, match=named):
        spec_from_json(changed(path, value))


@pytest.mark.parametrize("values", [None, [], "x", {}, {"format": "finegates-folded"}])
def test_other_files_are_refused(values):
    with pytest.raises(ValueError, match="not a finegates-folded file"):
        spec_from_json(values)


def test_another_version_is_refused():
    with pytest.raises(ValueError, match="not a finegates-folded file of version 1"):
        spec_from_json({**spec_to_json(MODEL), "version": 2})


def test_rotated_heads_need_an_even_width():
    plain = changed(("kind", "rotary_base"), 10.0)
    plain["kind"]["head_size"] = 5
    with pytest.raises(ValueError, match=r"kind\.head_size is 5"):
        spec_from_json(plain)


# A folder on disk.


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, model) with a tokenizer."""
    folder = save_tiny_backbone(tmp_path_factory.mktemp("bundle"))
    made = model()
    (folder / SPEC_FILE).write_text(json.dumps(spec_to_json(made.spec)), encoding="utf-8")
    save_file(made.state_dict(), folder / WEIGHTS_FILE)
    return folder, made


@pytest.fixture
def folder(written, tmp_path):
    for name in (SPEC_FILE, WEIGHTS_FILE):
        (tmp_path / name).write_bytes((written[0] / name).read_bytes())
    return tmp_path


def test_loaded_model_gives_the_same_logits(written):
    folder, made = written
    loaded, tokenizer = load(folder)
    batch = tokenizer(["the film was good", "a dull walk"], padding=True, return_tensors="pt")
    assert torch.equal(loaded(**batch), made(**batch))
    assert not loaded.training
    assert loaded.blocks[0].attention.qkv.take_in.dtype == torch.int64


def test_folder_without_sizes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no folded\.json"):
        load(tmp_path)


def test_damaged_sizes_are_refused(folder):
    (folder / SPEC_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"folded\.json is damaged"):
        load_model(folder)


@pytest.mark.parametrize("damage", ["missing", "cut", "smaller", "huge", "extra"])
def test_weights_that_do_not_fit_are_refused(folder, damage):
    weights, spec = folder / WEIGHTS_FILE, folder / SPEC_FILE
    if damage == "missing":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "extra":
        save_file(model(pooling="tanh").state_dict(), weights)
    else:  # nothing of that size is allocated
        size = 99 if damage == "smaller" else 2**31 - 1
        spec.write_text(json.dumps(changed(("vocabulary",), size)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"model\.safetensors is missing, damaged or of another"):
        load_model(folder)


@pytest.mark.parametrize("value", [-1, HIDDEN])
def test_index_into_nothing_is_refused(folder, value):
    made = model()
    made.blocks[0].attention.qkv.take_in[3] = value
    save_file(made.state_dict(), folder / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=r"attention\.qkv\.take_in picks what is not there"):
        load_model(folder)
