"""Gates that close together: heads of one width in every layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import gate_config, gated_model

from finegates_engine.errors import UserError
from finegates_engine.gates.closing import closed_at_target
from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.sparsity import GatePlan, removed_share
from finegates_engine.gates.units import closing_units

HEADS, HEAD_SIZE, LAYERS = 3, 8, 2


def prepared(step: int, seed: int = 0) -> tuple[StochasticGates, GatePlan]:
    config = gate_config(head_step=step, target_unit="encoder_weights")
    model, plan = gated_model(gates=config)
    assert model.gates is not None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.gates.logit.copy_(torch.randn(model.gates.logit.shape, generator=generator))
    return model.gates, plan


def widths(gates: StochasticGates, closed: torch.Tensor) -> list[set[int]]:
    """Dimensions that stay in the heads, of their keys and of their values, of each layer."""
    parts = gates.split(~closed)
    return [
        {
            int(head.sum())
            for name in ("query_key", "value_output")
            for head in parts[f"{layer}/{name}"].view(HEADS, HEAD_SIZE)
        }
        for layer in range(LAYERS)
    ]


@given(st.integers(0, 10_000), st.floats(0, 0.9), st.sampled_from([1, 2, 3, 8]))
@settings(max_examples=80, deadline=None)
def test_heads_of_a_layer_keep_one_width(seed: int, target: float, step: int) -> None:
    gates, plan = prepared(step, seed)
    closed = closed_at_target(gates, plan, target)
    for (width,) in widths(gates, closed):
        assert (HEAD_SIZE - width) % step == 0 or width == 0
    assert removed_share(gates, plan, closed) == pytest.approx(target, abs=0.03)


def test_in_each_head_the_lowest_gates_close() -> None:
    gates, plan = prepared(2)
    closed = gates.split(closed_at_target(gates, plan, 0.5))
    logits = gates.split(gates.logit.detach())
    for name in closed:
        if not name.endswith("ffn"):
            for head, shut in zip(logits[name].view(3, 8), closed[name].view(3, 8), strict=True):
                assert not shut.any() or shut.all() or head[shut].max() < head[~shut].min()


def test_levels_of_a_path_are_nested() -> None:
    gates, plan = prepared(2)
    low = closed_at_target(gates, plan, 0.3)
    gates.close(low)
    with torch.no_grad():
        gates.logit.copy_(-gates.logit)
    high = closed_at_target(gates, plan, 0.6)
    assert (high | ~low).all()
    assert all(len(each) == 1 for each in widths(gates, high))


def test_a_unit_s_place_is_the_mean_of_its_gates() -> None:
    gates, plan = prepared(3)
    order = gates.logit.detach()
    units, places = closing_units(gates, plan, order)
    assert len(units.unique()) == 2 * (-(-HEAD_SIZE // 3)) + gates.split(order)["0/ffn"].numel() * 2
    for unit in units.unique():
        members = units == unit
        torch.testing.assert_close(places[members], order[members].mean().expand(members.sum()))


def test_without_a_step_every_gate_is_its_own() -> None:
    gates, plan = prepared(0)
    units, places = closing_units(gates, plan, gates.logit.detach())
    assert torch.equal(units, torch.arange(len(units)))
    assert torch.equal(places, gates.logit.detach())


def test_keys_with_other_gates_than_values_are_refused() -> None:
    gates, plan = prepared(2)
    sizes = {name: size // 2 if "query_key" in name else size for name, size in gates.sizes.items()}
    rotary = StochasticGates(sizes)
    with pytest.raises(UserError, match="as many gates for query and key as for value"):
        closing_units(rotary, plan, rotary.logit.detach())
