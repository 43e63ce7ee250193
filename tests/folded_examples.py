"""A small folded model with made-up sizes and weights."""

import copy

import torch

from finegates_engine.folded import FoldedClassifier, ModelSpec, spec_from_json, spec_to_json
from finegates_engine.folded.layers import BlockKind, BlockSpec, MatrixSpec

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
    """Two rows of random features."""
    return torch.randn(2, tokens, hidden, generator=torch.Generator().manual_seed(1))


def model(**changes):
    """The classifier with random weights, some of its sizes changed."""
    return filled(FoldedClassifier(spec_from_json({**spec_to_json(MODEL), **changes})))


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
