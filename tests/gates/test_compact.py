"""Leaving out what is closed changes no logit and no gradient."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAMILIES, gate_config, gated_model, inputs
from torch import Tensor

from finegates_engine.config import ModelConfig
from finegates_engine.gates.compact import compact
from finegates_engine.gates.model import TextClassifier, iter_gated_layers, trained_parameters

SIZES = {"hidden": 32, "heads": 2, "ffn": 24}
AXES = ("inner", "attention", "all")


def build(family: str, *, rank: int = 2, **gates: Any) -> TextClassifier:
    """Gates that are soft, so that each has a gradient."""
    config = gate_config(**gates)
    model, _ = gated_model(family, gates=config, model=ModelConfig(low_rank=rank), sizes=SIZES)
    assert model.gates is not None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.gates.logit.copy_(0.4 * torch.rand(model.gates.logit.shape, generator=generator))
        for name, value in trained_parameters(model)["low_rank"].items():
            if name.endswith("up"):
                value.copy_(0.05 * torch.randn(value.shape, generator=generator))
    return model


def logits_and_gradients(model: TextClassifier) -> tuple[Tensor, dict[str, Tensor]]:
    parameters = {n: p for part in trained_parameters(model).values() for n, p in part.items()}
    for parameter in parameters.values():
        parameter.grad = None
    logits = model(**inputs())
    logits.square().sum().backward()
    none = torch.zeros(())
    return logits.detach(), {
        name: none if p.grad is None else p.grad for name, p in parameters.items()
    }


def assert_unchanged_by_compact(model: TextClassifier) -> None:
    logits, gradients = logits_and_gradients(model)
    compact(model)
    after, after_gradients = logits_and_gradients(model)
    torch.testing.assert_close(after, logits, rtol=0, atol=1e-6)
    for name, gradient in gradients.items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(
            after_gradients[name].expand_as(gradient), gradient, rtol=0, atol=2e-6 * scale
        )


def close(model: TextClassifier, closed: Tensor) -> None:
    assert model.gates is not None
    model.gates.close(closed)


@given(
    st.sampled_from(FAMILIES),
    st.sampled_from(AXES),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 2]),
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
    st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_random_closed_gates(
    family: str, axes: str, tie: bool, heads: bool, rank: int, shares: list[float], seed: int
) -> None:
    model = build(family, rank=rank, axes=axes, tie=tie, head_gates=heads)
    assert model.gates is not None
    generator = torch.Generator().manual_seed(seed)
    for share in shares:  # compacted again when more is closed
        closed = torch.rand(model.gates.logit.shape, generator=generator) < share
        close(model, closed)
        assert_unchanged_by_compact(model)


def mask(model: TextClassifier, **positions: Any) -> Tensor:
    """Closed where named: block 0's vectors and slices of them."""
    assert model.gates is not None
    closed = torch.zeros(model.gates.logit.shape, dtype=torch.bool)
    for name, chosen in positions.items():
        model.gates.split(closed)[f"0/{name}"][chosen] = True
    return closed


def widths(model: TextClassifier) -> dict[str, int]:
    """Rows computed by each matrix of block 0."""
    found = {}
    for index, role, layer in iter_gated_layers(model):
        if index == 0:
            layer.row_gate = layer.column_gate = None
            weight = layer.base_layer.weight if layer._kept_weight is None else layer._kept_weight
            found[role] = len(weight)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_closed_leaves_everything(family: str) -> None:
    model = build(family)
    assert_unchanged_by_compact(model)
    assert widths(model) == {
        "query": 32, "key": 32, "value": 32, "attention_output": 32, "ffn_in": 24, "ffn_out": 32,
    }  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_a_layer_closed(family: str) -> None:
    model = build(family)
    everything = slice(None)
    close(model, mask(model, query_key=everything, value_output=everything, ffn=everything))
    assert_unchanged_by_compact(model)
    assert widths(model) == {
        "query": 8, "key": 8, "value": 8, "attention_output": 32, "ffn_in": 0, "ffn_out": 32,
    }  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_one_head_closed_goes_with_its_query_and_key(family: str) -> None:
    model = build(family)
    close(model, mask(model, value_output=slice(16, 32)))
    assert_unchanged_by_compact(model)
    assert widths(model)["query"] == widths(model)["value"] == 16


def test_head_gate_removes_its_head() -> None:
    model = build("bert", head_gates=True)
    close(model, mask(model, heads=[0]))
    assert_unchanged_by_compact(model)
    assert widths(model)["query"] == widths(model)["value"] == 16


def test_queries_of_a_head_closed_average_its_values() -> None:
    model = build("bert")
    close(model, mask(model, query_key=slice(0, 16)))
    assert_unchanged_by_compact(model)
    assert widths(model)["value"] == 32


def test_half_of_a_head_closed_is_rounded_up_to_eight() -> None:
    model = build("bert")
    half = [i for i in range(32) if i % 16 < 10]  # 6 of 16 stay
    close(model, mask(model, query_key=half, value_output=half, ffn=slice(0, 5)))
    assert_unchanged_by_compact(model)
    assert widths(model) == {
        "query": 16, "key": 16, "value": 16, "attention_output": 32, "ffn_in": 19, "ffn_out": 32,
    }  # fmt: skip


def test_untied_side_closed_is_enough() -> None:
    model = build("bert", tie=False)
    close(model, mask(model, ffn_in_rows=slice(0, 4), ffn_out_columns=slice(4, 8)))
    assert_unchanged_by_compact(model)
    assert widths(model)["ffn_in"] == 16


def test_training_on_after_compact_keeps_full_shapes() -> None:
    model = build("bert")
    shapes = {n: p.shape for n, p in model.named_parameters()}
    close(model, mask(model, ffn=slice(0, 9)))
    compact(model)
    assert {n: p.shape for n, p in model.named_parameters()} == shapes
