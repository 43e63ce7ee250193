"""The table of model families against the modules of transformers."""

import itertools

import pytest
from tiny_models import FAMILIES, dense_model
from torch import nn

from finegates_engine.architectures import (
    ARCHITECTURES,
    ROLES,
    architecture_of,
    gate_kinds,
)
from finegates_engine.errors import UserError

AXES = ("inner", "attention", "all")
CHOICES = list(itertools.product(AXES, (True, False), (True, False)))


def test_every_family_has_a_tiny_model_in_the_tests() -> None:
    assert set(FAMILIES) == set(ARCHITECTURES)


@pytest.mark.parametrize("family", FAMILIES)
def test_paths_lead_to_linear_layers_of_the_right_shape(family: str) -> None:
    model = dense_model(family)
    hidden, ffn = model.dimension("hidden"), model.dimension("ffn")
    shapes = dict.fromkeys(ROLES, (hidden, hidden))
    shapes |= {"ffn_in": (ffn, hidden), "ffn_out": (hidden, ffn)}
    assert tuple(architecture_of(family).modules) == ROLES
    for block in model.blocks():
        for role, path in model.architecture.modules.items():
            layer = block.get_submodule(path)
            assert isinstance(layer, nn.Linear)
            assert tuple(layer.weight.shape) == shapes[role]
        attention = block.get_submodule(model.architecture.attention)
        assert attention.attention_head_size == hidden // model.dimension("heads")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_layer_of_a_block_is_in_the_table(family: str) -> None:
    model = dense_model(family)
    for block in model.blocks():
        found = {name for name, module in block.named_modules() if isinstance(module, nn.Linear)}
        assert found == set(model.architecture.modules.values())


def test_unsupported_type_is_named_with_the_supported_ones() -> None:
    with pytest.raises(UserError) as caught:
        architecture_of("t5")
    assert str(caught.value) == (
        "Model type 't5' is not supported. Supported: bert, distilbert, roberta. "
        "Choose a backbone of one of these types."
    )


@pytest.mark.parametrize(("axes", "tie", "heads"), CHOICES)
def test_each_side_of_the_axes_is_acted_on_or_removed(axes: str, tie: bool, heads: bool) -> None:
    inner = {("query", "rows"), ("key", "rows"), ("value", "rows"), ("attention_output", "columns")}
    outer = {(role, "columns") for role in ("query", "key", "value")}
    outer |= {("attention_output", "rows")}
    ffn = {("ffn_in", "rows"), ("ffn_out", "columns")}
    ffn_outer = {("ffn_in", "columns"), ("ffn_out", "rows")}
    expected = {
        "inner": inner | ffn,
        "attention": inner | outer,
        "all": inner | outer | ffn | ffn_outer,
    }
    kinds = gate_kinds(axes, tie=tie, head_gates=heads)
    fine = [kind for kind in kinds.values() if not kind.per_head]
    removed = [place for kind in fine for place in kind.removes]
    assert set(removed) == expected[axes]
    assert len(removed) == len(set(removed))  # no side belongs to two vectors
    assert sum(kind.per_head for kind in kinds.values()) == heads
    for kind in kinds.values():
        assert set(kind.acts) <= set(kind.removes)


def test_tied_gates_act_once_and_remove_both_sides() -> None:
    kinds = gate_kinds("inner", tie=True, head_gates=True)
    places = {name: (kind.acts, set(kind.removes)) for name, kind in kinds.items()}
    query, key, value = (("query", "rows"), ("key", "rows"), ("value", "rows"))
    context, ffn = ("attention_output", "columns"), ("ffn_out", "columns")
    assert places == {
        "query_key": ((query,), {query, key}),
        "value_output": ((context,), {value, context}),
        "ffn": ((ffn,), {("ffn_in", "rows"), ffn}),
        "heads": ((context,), {query, key, value, context}),
    }


@pytest.mark.parametrize(
    ("axes", "tied", "untied"), [("inner", 3, 6), ("attention", 4, 8), ("all", 7, 12)]
)
def test_number_of_vectors_in_a_block(axes: str, tied: int, untied: int) -> None:
    assert len(gate_kinds(axes, tie=True, head_gates=False)) == tied
    assert len(gate_kinds(axes, tie=False, head_gates=False)) == untied
