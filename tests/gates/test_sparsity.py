"""Penalty, exact target and counts, against closed forms in NumPy."""

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from tiny_models import dense_model, gate_config, gated_model

from finegates_engine.errors import UserError
from finegates_engine.gates.closing import closed_at_target
from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.sparsity import (
    GatePlan,
    encoder_shape,
    expected_kept,
    gate_masks,
    ladder_of,
    penalty,
    removed_share,
    shift_to_target,
)
from finegates_engine.ladder import folded_weights, folded_widths

HIDDEN, HEADS, FFN, LAYERS = 24, 3, 40, 2
BLOCK_WEIGHTS = 4 * HIDDEN**2 + 2 * HIDDEN * FFN
AXES = ("inner", "attention", "all")
UNITS, ALLOCATIONS = ("gates", "encoder_weights"), ("budget", "vector")
CHOICES = list(itertools.product(AXES, (True, False), UNITS, ALLOCATIONS, (True, False)))
STD = 0.35


@functools.cache
def prepared(
    axes: str, tie: bool, unit: str, allocation: str, head_gates: bool
) -> tuple[TextClassifier, GatePlan]:
    config = gate_config(
        axes=axes,
        tie=tie,
        target_unit=unit,
        allocation=allocation,
        head_gates=head_gates,
        penalty_std=STD,
    )
    return gated_model(gates=config)


def gates_of(model: TextClassifier, seed: int, *, spread: float = 1.0) -> StochasticGates:
    """The model's gates, opened again, with random logits."""
    gates = model.gates
    assert gates is not None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        gates.closed.zero_()
        gates.learn_again()
        gates.logit.copy_(spread * torch.randn(gates.logit.shape, generator=generator))
    return gates


def probabilities(gates: StochasticGates) -> dict[str, NDArray[np.float64]]:
    logits = gates.split(gates.logit.detach().double())
    return {key: norm.cdf((np.tanh(part.numpy()) + 0.5) / STD) for key, part in logits.items()}


def removed_alone(key: str) -> int:
    """Weights that one gate of a vector takes away."""
    name = key.partition("/")[2]
    sides = {
        "query_key": 2 * HIDDEN, "value_output": 2 * HIDDEN, "ffn": 2 * HIDDEN,
        "attention_input": 3 * HIDDEN, "heads": 4 * HIDDEN * (HIDDEN // HEADS),
        "ffn_in_columns": FFN, "ffn_out_rows": FFN,
    }  # fmt: skip
    return sides.get(name, HIDDEN)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_weights_of_gates(choice: Any) -> None:
    model, plan = prepared(*choice)
    assert model.gates is not None
    for key, weights in model.gates.split(plan.weights).items():
        assert set(weights.tolist()) == {removed_alone(key)}, key


def folded_means(
    kept: dict[str, NDArray[np.float64]], pressure: dict[str, NDArray[np.float64]]
) -> list[tuple[float, int]]:
    """(Mean probability to stay, weights) of the dimensions that fold, block by block."""
    spaces = {
        "query_key": ["query_key", "query_rows", "key_rows", "heads"],
        "value_output": ["value_output", "value_rows", "attention_output_columns", "heads"],
        "ffn": ["ffn", "ffn_in_rows", "ffn_out_columns"],
    }
    means = []
    for layer, (space, names) in itertools.product(range(LAYERS), spaces.items()):
        keys = [f"{layer}/{name}" for name in names if f"{layer}/{name}" in kept]
        if not keys:
            continue
        width = FFN if space == "ffn" else HIDDEN
        parts = [kept[key].repeat(width // len(kept[key])) for key in keys]
        weights = sum(pressure[key].repeat(width // len(kept[key])) for key in keys)
        means.append((float(np.average(np.prod(parts, 0), weights=weights)), 2 * HIDDEN * width))
    return means


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "kurtosis"])
def test_penalty_is_its_closed_form(choice: Any, weighted: bool) -> None:
    axes, _, unit, allocation, _ = choice
    model, plan = prepared(*choice)
    gates = gates_of(model, 0)
    if weighted:
        generator = torch.Generator().manual_seed(9)
        pressure = 0.1 + torch.rand(plan.weights.shape, generator=generator)
        plan = dataclasses.replace(plan, pressure=pressure)
    kept = probabilities(gates)
    pressures = {key: part.double().numpy() for key, part in gates.split(plan.pressure).items()}
    target = 0.3
    if unit == "gates":
        means = [
            (
                float(np.average(kept[key], weights=pressures[key])),
                removed_alone(key) * len(kept[key]),
            )
            for key in kept
        ]
    else:
        means = folded_means(kept, pressures)
        target /= 4 * HIDDEN**2 / BLOCK_WEIGHTS if axes == "attention" else 1
    values, weights = np.array(means).T
    if allocation == "budget":
        truth = abs(np.average(values, weights=weights) - (1 - target))
    else:
        truth = np.abs(values - (1 - target)).mean()
    assert float(penalty(gates, plan, 0.3).detach()) == pytest.approx(truth, abs=1e-6)


@given(st.integers(0, 1000), st.sampled_from(CHOICES))
@settings(max_examples=30, deadline=None)
def test_weighted_means_stay_within_0_and_1(seed: int, choice: Any) -> None:
    model, plan = prepared(*choice)
    gates = gates_of(model, seed, spread=3)
    generator = torch.Generator().manual_seed(seed)
    pressure = 100 * torch.rand(plan.weights.shape, generator=generator) ** 4 + 1e-3
    means, _ = expected_kept(gates, dataclasses.replace(plan, pressure=pressure))
    assert float(means.min().detach()) >= 0
    assert float(means.max().detach()) <= 1 + 1e-6


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_penalty_presses_gates_that_count_and_no_closed_one(choice: Any) -> None:
    model, plan = prepared(*choice)
    gates = gates_of(model, 1)
    gates.close(torch.arange(gates.logit.numel()) % 7 == 0)
    (grad,) = torch.autograd.grad(penalty(gates, plan, 0.99), gates.logit)
    assert (grad[gates.closed] == 0).all()
    assert (grad >= 0).all()  # less is kept when logits fall
    assert (grad > 0).any()


def tolerance(gates: StochasticGates, plan: GatePlan) -> float:
    """Half a point, or half the largest step of one gate that is no head's."""
    if plan.config.target_unit == "encoder_weights":
        step = 2 * HIDDEN / (LAYERS * BLOCK_WEIGHTS)
    elif plan.config.allocation == "vector":
        return 0.0
    else:
        alone = [removed_alone(key) for key in gates.sizes if not key.endswith("/heads")]
        step = max(alone) / float(plan.weights.sum())
    return max(0.005, step / 2)


@given(st.integers(0, 10_000), st.floats(0, 0.99), st.sampled_from(CHOICES))
@settings(max_examples=150, deadline=None)
def test_target_is_reached(seed: int, target: float, choice: Any) -> None:
    model, plan = prepared(*choice)
    gates = gates_of(model, seed)
    target *= plan.reachable if plan.config.target_unit == "encoder_weights" else 1
    closed = closed_at_target(gates, plan, target)
    if plan.config.target_unit == "gates" and plan.config.allocation == "vector":
        for part in gates.split(closed).values():
            assert abs(float(part.float().mean()) - target) <= max(0.005, 0.5 / len(part)) + 1e-6
        return
    assert abs(removed_share(gates, plan, closed) - target) <= tolerance(gates, plan) + 1e-6


@given(
    st.integers(0, 10_000),
    st.lists(st.floats(0, 0.95), min_size=2, max_size=4).map(sorted),
    st.sampled_from(CHOICES),
)
@settings(max_examples=60, deadline=None)
def test_levels_of_a_path_are_nested(seed: int, targets: list[float], choice: Any) -> None:
    model, plan = prepared(*choice)
    gates = gates_of(model, seed)
    reach = plan.reachable if plan.config.target_unit == "encoder_weights" else 1
    for number, target in enumerate(targets):
        before = gates.closed.clone()
        closed = closed_at_target(gates, plan, target * reach)
        assert (closed | ~before).all()
        gates.close(closed)
        with torch.no_grad():  # what is learned in between
            generator = torch.Generator().manual_seed(seed + number)
            gates.logit.add_(torch.randn(gates.logit.shape, generator=generator))


def test_lowest_gates_are_closed_and_target_zero_closes_none() -> None:
    model, plan = prepared("inner", True, "gates", "budget", False)
    gates = gates_of(model, 0)
    assert not closed_at_target(gates, plan, 0.0).any()
    closed = closed_at_target(gates, plan, 0.25)
    assert int(closed.sum()) == round(0.25 * len(closed))
    logits = gates.logit.detach()
    assert logits[closed].max() < logits[~closed].min()


def test_head_is_passed_over_where_its_step_is_too_large() -> None:
    model, plan = prepared("inner", True, "encoder_weights", "budget", True)
    gates = gates_of(model, 0)
    with torch.no_grad():  # a head first: 8 % of this tiny encoder
        gates.split(gates.logit.data)["0/heads"][1] = -9
    closed = closed_at_target(gates, plan, 0.02)
    assert not gates.split(closed)["0/heads"].any()
    assert removed_share(gates, plan, closed) == pytest.approx(0.02, abs=tolerance(gates, plan))


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_removed_share_of_encoder_weights_is_the_ladders(choice: Any) -> None:
    model, plan = prepared(*choice)
    gates = gates_of(model, 2)
    gates.close(gates.logit.detach() < -0.5)
    ladder = ladder_of(gates, plan)
    masks = gate_masks(gates, plan, gates.value().detach() == 0)
    left = folded_weights(plan.shape, folded_widths(plan.shape, masks))
    assert ladder.folded_encoder_fraction == 1 - left / (LAYERS * BLOCK_WEIGHTS)
    if plan.config.target_unit == "encoder_weights":
        closed = gates.value().detach() == 0
        assert removed_share(gates, plan, closed) == ladder.folded_encoder_fraction
    assert ladder.gate_sparsity == float((gates.value() == 0).double().mean())


def test_tied_inner_gates_closed_are_weights_removed_of_equal_dimensions() -> None:
    model, plan = prepared("inner", True, "gates", "budget", False)
    gates = gates_of(model, 3)
    closed = closed_at_target(gates, plan, 0.5)
    gates.fix(closed)
    ladder = ladder_of(gates, plan)
    assert ladder.gate_sparsity == 0.5
    heads_gone = ladder.folded_encoder_fraction - 0.5  # a head without values takes its query
    assert 0 <= heads_gone < 0.02


def test_target_out_of_reach_says_what_is_allowed() -> None:
    gates = gate_config(target=0.8, axes="attention", target_unit="encoder_weights")
    with pytest.raises(UserError) as caught:
        gated_model(gates=gates)
    share = 4 * HIDDEN**2 / BLOCK_WEIGHTS
    assert str(caught.value) == (
        f"target must be at most {share:.3f} of encoder_weights with axes='attention' "
        "(attention's share), got 0.8. Lower the target, or use axes 'inner' or 'all'."
    )


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_shift_meets_the_expected_target_and_keeps_the_order(choice: Any) -> None:
    model, plan = prepared(*choice)
    gates = gates_of(model, 4, spread=0.3)
    before = gates.logit.detach().clone()
    target = 0.2
    for _ in range(4):  # a step is at most half a unit of the logits
        shift_to_target(gates, plan, target)
    moved = gates.logit.detach() - before
    assert float(moved.max() - moved.min()) < 1e-5
    means, weights = (part.detach().numpy() for part in expected_kept(gates, plan))
    budget = plan.config.allocation == "budget"
    kept = np.average(means, weights=weights) if budget else means.mean()
    reach = plan.reachable if plan.config.target_unit == "encoder_weights" else 1
    assert 1 - kept == pytest.approx(target / reach, abs=0.002)


def test_encoder_shape_counts_the_dense_model() -> None:
    dense = dense_model()
    _, plan = prepared("all", False, "gates", "budget", True)
    assert plan.shape == encoder_shape(dense)
    assert plan.shape.encoder_weights == LAYERS * BLOCK_WEIGHTS
    assert plan.shape.model_parameters == sum(p.numel() for p in dense.parameters())
