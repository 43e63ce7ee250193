"""The method page's maths against the engine's gates, and its lesson against the maths."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.teaching import gate_maths, lesson, tiny_ffn
from finegates_engine.gates.gate import StochasticGates, kept_probability

stds = st.floats(0.02, 1.0)
mus = st.lists(st.floats(-0.99, 0.99), min_size=1, max_size=6)


def engine_gates(mu, *, std=0.1, hard=False):
    gates = StochasticGates({"a": len(mu)}, noise_std=std, penalty_std=std, hard=hard).double()
    with torch.no_grad():
        gates.logit.copy_(torch.atanh(torch.tensor(mu, dtype=torch.float64)))
    return gates


@given(mu=mus, std=stds)
def test_probability_is_the_engines(mu, std):
    expected = engine_gates(mu, std=std).kept_probability().detach().numpy()
    assert gate_maths.kept_probability(mu, std) == pytest.approx(expected, abs=1e-6)


@given(mu=mus, noise=st.floats(-2, 2))
def test_value_is_the_engines(mu, noise):
    drawn = torch.full((len(mu),), noise, dtype=torch.float64)
    expected = engine_gates(mu).with_noise(drawn).detach().numpy()
    assert gate_maths.value(mu, noise) == pytest.approx(expected, abs=1e-6)


@given(mu=mus, std=st.floats(0.05, 1.0), target=st.floats(0.05, 0.9))
def test_penalty_and_its_gradient_are_the_engines(mu, std, target):
    places = torch.tensor(mu, dtype=torch.float64, requires_grad=True)
    expected = (kept_probability(places, std).mean() - (1 - target)).abs()
    expected.backward()
    assert gate_maths.penalty(mu, std, target) == pytest.approx(expected.item(), abs=1e-6)
    assert gate_maths.penalty_gradient(mu, std, target) == pytest.approx(
        places.grad.numpy(), abs=1e-6
    )


@given(mu=st.floats(-1, 1), std=st.floats(0.05, 1.0))
def test_density_holds_what_the_bars_do_not(mu, std):
    spread = gate_maths.spread(mu, std)
    z, heights = gate_maths.density(mu, std, points=4001)
    assert np.trapezoid(heights, z) == pytest.approx(spread.soft, abs=1e-4)
    assert spread.closed + spread.soft + spread.open == pytest.approx(1)
    assert 1 - spread.closed == pytest.approx(float(gate_maths.kept_probability(mu, std)))


@given(probability=st.floats(0.05, 0.95), std=stds)
def test_location_of_a_probability_is_its_inverse(probability, std):
    mu = gate_maths.mu_of(probability, std)
    assert float(gate_maths.kept_probability(mu, std)) == pytest.approx(probability)


def test_gates_share_the_penalty():
    alone = gate_maths.penalty_gradient([0.1], 0.3, 0.4)
    assert gate_maths.penalty_gradient([0.1, 0.1], 0.3, 0.4).sum() == pytest.approx(alone[0])


@given(
    closed=st.sets(st.integers(0, tiny_ffn.INNER - 1)),
    soft=st.sets(st.integers(0, tiny_ffn.INNER - 1)),
)
def test_fold_of_the_small_layer_is_exact(closed, soft):
    gates = tiny_ffn.gates_of(closed, soft)
    gated = tiny_ffn.gated_output(gates)
    assert tiny_ffn.multiplied(gates).output() == pytest.approx(gated, abs=1e-12)
    assert tiny_ffn.folded(gates).output() == pytest.approx(gated, abs=1e-12)
    assert tiny_ffn.folded(gates).weights == 6 * int((gates > 0).sum())


def test_closing_a_gate_of_the_small_layer_is_not_free():
    before = tiny_ffn.dense().output()
    for dimension in range(tiny_ffn.INNER):
        after = tiny_ffn.gated_output(tiny_ffn.gates_of([dimension]))
        assert np.abs(after - before).max() > 1e-3


def test_lesson_answers_are_true():
    noise, axes, fold, deviations = lesson.steps()
    assert noise.options[noise.answer] == "In 50 of 100"
    assert axes.options[axes.answer] == "64%"
    assert fold.options[fold.answer] == "Not at all"
    assert "30 weights became 18" in fold.reveal
    assert deviations.options[deviations.answer] == "0%"
    assert "Every gate is 0.127" in deviations.reveal
    assert "believes 40%, training has seen 10%" in deviations.reveal
