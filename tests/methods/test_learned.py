"""Gates of the learned rivals: each against its closed form."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import logistic
from tiny_models import backbone_folder, gate_config, gated_model

from finegates_engine.config import GateConfig, RunConfig, from_json
from finegates_engine.gates.gate import ScoredGates
from finegates_engine.gates.model import TextClassifier, build_model
from finegates_engine.gates.schedule import Moment
from finegates_engine.methods import method_of
from finegates_engine.methods.base import GateMethod
from finegates_engine.methods.calibration import TrainingRows
from finegates_engine.methods.fisher import MEMORY, ROUNDS, FisherGates
from finegates_engine.methods.group_lasso import FactorGates, GroupLasso
from finegates_engine.methods.hard_concrete import (
    START,
    HardConcrete,
    HardConcreteGates,
    expected_removed,
)
from finegates_engine.methods.movement import Movement

SIZES = {"0/ffn": 6}
ROWS: Any = TrainingRows(None, 0)  # type: ignore[arg-type]


def prepared(name: str, **gates: Any) -> tuple[GateMethod, TextClassifier]:
    config = from_json({"method": name, "gates": {"target": 0.5, **gates}})
    model = build_model(backbone_folder("bert"), config.model, outputs=2, seed=0)
    method = method_of(config)
    method.prepare(model)
    method.start(model, ROWS)
    assert isinstance(method, GateMethod)
    return method, model


def trainer(model: TextClassifier, now: Moment) -> Any:
    state = SimpleNamespace(max_steps=100)
    return SimpleNamespace(
        classifier=model, now=now, last_penalty=None, multiplier=1.0, state=state
    )


def learn(target: float) -> Moment:
    return Moment("learn", target, 1.0)


# Movement


def test_a_masked_gate_is_0_and_its_score_still_gets_the_gates_gradient() -> None:
    gates = ScoredGates(SIZES)
    gates.masked[:3] = True
    upstream = torch.arange(1.0, 7.0)
    value = gates.sample()
    (value * upstream).sum().backward()
    assert value.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(gates.logit.grad, upstream)


def test_scores_are_the_sum_of_minus_gradient_under_plain_descent() -> None:
    gates = ScoredGates(SIZES)
    optimizer = torch.optim.SGD([gates.logit], lr=0.5)
    total = np.zeros(6)
    for step in range(4):
        upstream = torch.sin(torch.arange(6.0) + step)
        optimizer.zero_grad()
        (gates.sample() * upstream).sum().backward()
        optimizer.step()
        total -= 0.5 * upstream.numpy()
    np.testing.assert_allclose(gates.logit.detach().numpy(), total, rtol=1e-5)


def test_movement_masks_the_lowest_scores_up_to_the_schedules_target() -> None:
    method, model = prepared("movement")
    gates = model.gates
    assert isinstance(method, Movement)
    assert isinstance(gates, ScoredGates)
    count = gates.logit.numel()
    with torch.no_grad():
        gates.logit.copy_(torch.randperm(count, generator=torch.Generator().manual_seed(0)))
    method.begin_step(trainer(model, learn(0.25)), learn(0.25), None)
    masked = gates.masked
    assert float(masked.float().mean()) == pytest.approx(0.25, abs=0.01)
    assert gates.logit[masked].max() < gates.logit[~masked].min()
    assert not gates.fixed
    method.begin_step(trainer(model, learn(0.5)), Moment("fixed", 0.5, 1.0), None)
    assert gates.fixed
    assert bool((gates.closed | ~masked).all())


# FineGates, closed step by step


def scored(**gates: Any) -> tuple[FisherGates, TextClassifier]:
    changes = {"learn": "fisher", "open_start": 0.2, "ramp": 0.2, "finish": 0.6, **gates}
    method, model = prepared("finegates", **changes)
    assert isinstance(method, FisherGates)
    return method, model


def test_a_gates_score_is_its_running_squared_gradient_over_the_weights_it_removes() -> None:
    method, model = scored(head_gates=True)
    assert model.gates is not None
    assert method.plan is not None
    truth = np.zeros(model.gates.logit.numel())
    for step in range(3):
        gradient = torch.sin(torch.arange(len(truth)) + step)
        model.gates.logit.grad = gradient.clone()
        method.end_step(trainer(model, learn(0.2)))
        truth = MEMORY * truth + (1 - MEMORY) * gradient.numpy() ** 2 / method.plan.weights.numpy()
    np.testing.assert_allclose(model.gates.logit.detach().numpy(), truth, rtol=1e-5)
    assert len(method.plan.weights.unique()) > 1  # a head's gate removes more than another


def test_the_optimiser_leaves_scores_alone() -> None:
    method, _ = scored()
    assert method.rates()["gates"] == 0.0


def test_gates_of_least_score_close_as_the_target_rises_and_never_open_again() -> None:
    method, model = scored()
    gates = model.gates
    assert gates is not None
    count = gates.logit.numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        gates.logit.copy_(order)
    method.begin_step(trainer(model, learn(0.25)), learn(0.25), None)
    early = gates.closed.clone()
    assert float(early.float().mean()) == pytest.approx(0.25, abs=0.02)
    assert order[early].max() < order[~early].min()
    with torch.no_grad():
        gates.logit.copy_(-order)  # the others would go now
    method.begin_step(trainer(model, learn(0.4)), learn(0.4), None)
    assert bool(gates.closed[early].all())
    assert float(gates.closed.float().mean()) == pytest.approx(0.4, abs=0.02)


def test_a_rise_of_less_than_a_round_closes_nothing() -> None:
    method, model = scored()
    assert model.gates is not None
    small = 0.9 * 0.5 / ROUNDS
    method.begin_step(trainer(model, learn(small)), learn(small), None)
    assert not bool(model.gates.closed.any())


# L0


def test_hard_concrete_probability_is_that_of_its_samples() -> None:
    gates = HardConcreteGates(SIZES)
    gates.pressed = True
    with torch.no_grad():
        gates.logit.copy_(torch.linspace(-3, 3, 6))
    generator = torch.Generator().manual_seed(0)
    samples = torch.stack([gates.sample(generator) for _ in range(4000)])
    shares = (samples > 0).float().mean(0).detach().numpy()
    beta = 2 / 3
    closed_form = logistic.cdf(np.linspace(-3, 3, 6) - beta * math.log(0.1 / 1.1))
    np.testing.assert_allclose(gates.kept_probability().detach().numpy(), closed_form, rtol=1e-5)
    np.testing.assert_allclose(shares, closed_form, atol=0.03)
    assert 0 <= float(samples.min()) <= float(samples.max()) <= 1


def test_hard_concrete_values_are_stretched_and_clipped() -> None:
    gates = HardConcreteGates(SIZES)
    assert gates.sample().tolist() == [1.0] * 6  # not pressed yet
    gates.pressed = True
    with torch.no_grad():
        gates.logit.copy_(torch.tensor([-9.0, -1.0, 0.0, 1.0, 2.0, 9.0]))
    expected = np.clip(logistic.cdf([-9, -1, 0, 1, 2, 9]) * 1.2 - 0.1, 0, 1)
    np.testing.assert_allclose(gates.value().detach().numpy(), expected, atol=1e-6)


def test_the_lagrangian_presses_towards_the_target_from_both_sides() -> None:
    method, model = prepared("l0")
    assert isinstance(method, HardConcrete)
    gates = model.gates
    assert gates is not None
    assert method.plan is not None
    removed = float(expected_removed(gates, method.plan).detach())
    kept = logistic.cdf(START - 2 / 3 * math.log(0.1 / 1.1))
    assert removed == pytest.approx(1 - kept, abs=1e-5)
    for target, sign in ((0.4, -1), (0.0, 1)):
        method.multipliers.zero_()
        watched = trainer(model, learn(target))
        first = method.penalty(watched)
        assert float(first.detach()) == 0
        method.end_step(watched)
        gap = removed - target
        assert method.multipliers.tolist() == pytest.approx([10 * gap, 10 * gap**2], rel=1e-5)
        second = method.penalty(watched)
        (slope,) = torch.autograd.grad(second, gates.logit)
        assert float(second.detach()) == pytest.approx(10 * gap**2 + 10 * gap**4, rel=1e-4)
        assert bool((slope * sign < 0).all())  # down a slope: too little removed, logits fall


def test_multipliers_survive_a_checkpoint() -> None:
    method, model = prepared("l0")
    assert isinstance(method, HardConcrete)
    watched = trainer(model, learn(0.4))
    method.penalty(watched)
    method.end_step(watched)
    other, _ = prepared("l0")
    other.load_state(method.state())
    assert torch.equal(other.multipliers, method.multipliers)  # type: ignore[attr-defined]


# Group lasso


def test_a_proximal_step_takes_a_constant_off_the_norm_of_each_group() -> None:
    method, model = prepared("group-lasso")
    assert isinstance(method, GroupLasso)
    gates = model.gates
    assert isinstance(gates, FactorGates)
    weights = [
        model.blocks()[0].get_submodule(model.architecture.modules[role]).base_layer.weight.detach()
        for role in ("ffn_in", "ffn_out")
    ]
    norms = torch.sqrt((weights[0] ** 2).sum(1) + (weights[1] ** 2).sum(0))
    method.end_step(trainer(model, learn(0.3)))
    gone = gates.split(1 - gates.logit.detach())["0/ffn"]
    # 100 steps, 0.15 of them in the learning phase: 1 / 15 of the mean norm a step
    expected = float(method.norms.mean()) / 15 / norms
    np.testing.assert_allclose(gone.numpy(), expected.numpy(), rtol=1e-4)


def test_shrinkage_ends_at_the_target_and_factors_stay_in_0_to_1() -> None:
    method, model = prepared("group-lasso")
    gates = model.gates
    assert isinstance(gates, FactorGates)
    count = gates.logit.numel()
    with torch.no_grad():
        gates.logit.copy_(torch.where(torch.arange(count) % 2 == 0, 0.0, 1.5))
    method.end_step(trainer(model, learn(0.4)))
    assert set(gates.logit.tolist()) == {0.0, 1.0}
    assert gates.value().tolist() == [1.0] * count  # not pressed
    gates.pressed = True
    assert gates.value().tolist() == [0.0, 1.0] * (count // 2)


def test_gates_at_0_close_in_the_order_of_their_norms() -> None:
    method, model = prepared("group-lasso")
    assert isinstance(method, GroupLasso)
    assert isinstance(model.gates, FactorGates)
    with torch.no_grad():
        model.gates.logit.zero_()
        model.gates.logit[0] = 1e-3  # above all others whatever its norm is
    order = method.importance(model).detach().argsort()
    assert order[-1] == 0
    assert order[:-1].tolist() == [i for i in method.norms.argsort().tolist() if i]


def test_rates_of_the_gates_are_the_methods_own() -> None:
    for name, rate in (("l0", 0.1), ("group-lasso", 0.02), ("movement", 3e-3)):
        assert method_of(RunConfig(method=name)).rates()["gates"] == rate


def test_gates_are_open_before_they_are_pressed() -> None:
    for name in ("movement", "l0", "group-lasso"):
        method, model = prepared(name)
        now = Moment("open", 0.0, 1.0)
        method.begin_step(trainer(model, now), now, None)
        assert model.gates is not None
        assert set(model.gates.sample().tolist()) == {1.0}


def test_only_the_configs_own_gates_are_taken() -> None:
    paper = GateConfig(axes="all", tie=False)
    expected, _ = gated_model(gates=gate_config(axes="all", tie=False))
    for name in ("movement", "l0", "group-lasso"):
        _, model = prepared(name, axes=paper.axes, tie=paper.tie)
        assert model.gates is not None
        assert expected.gates is not None
        assert model.gates.sizes == expected.gates.sizes
