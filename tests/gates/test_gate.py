"""Stochastic gates against closed forms and the paper's released code."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from released_code import EACH_CASE, gates_of
from scipy.stats import norm

from finegates_engine.gates.gate import StochasticGates, kept_probability


def gates_at(mu: list[float], **options: Any) -> StochasticGates:
    gates = StochasticGates({"a": len(mu)}, **options)
    with torch.no_grad():
        gates.logit.copy_(torch.atanh(torch.tensor(mu)))
    return gates


@EACH_CASE
def test_values_and_probabilities_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    gates = gates_of(case)
    values = gates.split(gates.value())
    probabilities = gates.split(gates.kept_probability())
    for name in ("row", "column"):
        np.testing.assert_allclose(values[name].detach(), case[f"{name}_gates"], atol=1e-6)
        np.testing.assert_allclose(
            probabilities[name].detach(), case[f"{name}_open_probability"], atol=1e-6
        )


def test_kept_probability_is_the_gaussian_tail() -> None:
    mu = np.linspace(-1, 1, 9)
    ours = kept_probability(torch.tensor(mu), 0.3).numpy()
    np.testing.assert_allclose(ours, norm.cdf((mu + 0.5) / 0.3), atol=1e-12)


def test_share_of_samples_above_zero_is_the_kept_probability() -> None:
    gates = gates_at([-0.7, -0.5, -0.3, 0.0], noise_std=0.3, penalty_std=0.3)
    generator = torch.Generator().manual_seed(0)
    share = torch.stack([gates.sample(generator) > 0 for _ in range(4000)]).float().mean(0)
    np.testing.assert_allclose(share, gates.kept_probability().detach(), atol=0.03)


def test_value_is_clipped_location() -> None:
    gates = gates_at([-0.9, -0.5, -0.25, 0.0, 0.5, 0.9])
    np.testing.assert_allclose(gates.value().detach(), [0, 0, 0.25, 0.5, 1, 1], atol=1e-6)


def test_clipped_gate_has_gradient_only_where_it_is_soft() -> None:
    gates = gates_at([-0.9, -0.25, 0.9])
    gates.value().sum().backward()  # type: ignore[no-untyped-call]
    assert gates.logit.grad is not None
    np.testing.assert_allclose(gates.logit.grad, [0, 1 - 0.25**2, 0], atol=1e-6)


def test_hard_gate_is_binary_and_has_the_gradient_of_its_location() -> None:
    gates = gates_at([-0.9, -0.25, 0.9], hard=True)
    value = gates.value()
    assert value.tolist() == [0, 1, 1]
    value.sum().backward()  # type: ignore[no-untyped-call]
    assert gates.logit.grad is not None
    np.testing.assert_allclose(gates.logit.grad, 1 - np.array([0.9, 0.25, 0.9]) ** 2, atol=1e-6)


def test_all_gates_start_open() -> None:
    gates = StochasticGates({"a": 2_000_000}, generator=torch.Generator().manual_seed(0))
    assert gates.value().min() == 1
    start = gates.logit.detach()
    assert float(start.mean()) == pytest.approx(1, abs=1e-3)
    assert float(start.std()) == pytest.approx(0.1, abs=1e-3)


def test_one_seed_draws_one_sample() -> None:
    gates = gates_at([0.0] * 50)

    def draw(seed: int) -> torch.Tensor:
        return gates.sample(torch.Generator().manual_seed(seed)).detach()

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert draw(1).std() == pytest.approx(0.1, rel=0.4)


def test_closed_gate_stays_closed_whatever_its_logit() -> None:
    gates = gates_at([0.9, 0.9, 0.9])
    gates.close(torch.tensor([True, False, False]))
    gates.close(torch.tensor([False, False, True]))
    assert gates.value().tolist() == [0, 1, 0]
    assert gates.sample().tolist() == [0, 1, 0]
    assert gates.kept_probability().tolist() == [0, pytest.approx(norm.cdf(2.8)), 0]


def test_fixed_gates_are_binary_without_noise_or_gradient() -> None:
    gates = gates_at([-0.2, 0.0, -0.9], noise_std=1.0)
    gates.fix(torch.tensor([False, True, False]))
    assert gates.value().tolist() == gates.sample().tolist() == [1, 0, 1]
    assert not gates.logit.requires_grad


def test_split_gives_vectors_by_name() -> None:
    gates = StochasticGates({"a": 2, "b": 3})
    parts = gates.split(torch.arange(5))
    assert {name: part.tolist() for name, part in parts.items()} == {"a": [0, 1], "b": [2, 3, 4]}


def test_ranked_logits_keep_the_order_of_importance_and_spread_normally() -> None:
    gates = StochasticGates({"a": 101})
    importance = torch.randperm(101, generator=torch.Generator().manual_seed(0)).float()
    gates.rank(importance)
    assert torch.equal(torch.argsort(gates.logit), torch.argsort(importance))
    middle, upper = torch.quantile(gates.logit.detach(), torch.tensor([0.5, 0.75])).tolist()
    assert middle == pytest.approx(1, abs=1e-3)
    assert upper - middle == pytest.approx(0.3 * norm.ppf(0.75), abs=0.01)
    assert math.isfinite(float(gates.logit.detach().abs().max()))


def test_fixed_gates_that_learn_again_have_their_logits_and_closed_ones_stay() -> None:
    gates = gates_at([-0.2, 0.3, 0.4])
    gates.fix(torch.tensor([True, False, False]))
    assert gates.value().dtype == torch.float32
    assert gates.value().tolist() == [0.0, 1.0, 1.0]
    assert not gates.logit.requires_grad
    gates.learn_again()
    assert gates.logit.requires_grad
    np.testing.assert_allclose(gates.value().detach(), [0.0, 0.8, 0.9], atol=1e-6)


def test_a_generator_decides_where_gates_start() -> None:
    def start(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        return StochasticGates({"a": 3}, generator=generator).logit.tolist()

    assert start(1) == start(1) != start(2)
    assert StochasticGates({"a": 3}).fixed.dtype == torch.bool  # as in files of stored runs
