"""Low-rank factors: best approximations, at the wanted share of weights."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import backbone_folder, dense_model, inputs
from torch import nn

from finegates_engine.config import from_json
from finegates_engine.fold.dimensions import EncoderShape
from finegates_engine.gates.model import TextClassifier, build_model
from finegates_engine.methods import method_of
from finegates_engine.methods.svd import FactoredLinear, count_factored, kept_ranks

SHAPES = st.lists(st.tuples(st.integers(4, 24), st.integers(4, 24)), min_size=1, max_size=6)


def weights_left(ranks: list[int | None], shapes: list[tuple[int, int]]) -> int:
    return sum(
        a * b if rank is None else rank * (a + b)
        for rank, (a, b) in zip(ranks, shapes, strict=True)
    )


def spectra(shapes: list[tuple[int, int]], seed: int) -> list[torch.Tensor]:
    generator = np.random.default_rng(seed)
    return [
        torch.from_numpy(np.sort(generator.exponential(size=min(shape)))[::-1].copy())
        for shape in shapes
    ]


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.floats(0, 0.95), st.sampled_from(["budget", "vector"]), st.integers(0, 99))
def test_ranks_are_within_one_direction_of_the_target(
    shapes: list[tuple[int, int]], target: float, allocation: Any, seed: int
) -> None:
    ranks = kept_ranks(spectra(shapes, seed), shapes, target, allocation=allocation)
    total = sum(a * b for a, b in shapes)
    gap = abs(weights_left(ranks, shapes) - (1 - target) * total)
    assert gap <= max(a + b for a, b in shapes)
    assert all(
        rank is None or rank * (a + b) < a * b for rank, (a, b) in zip(ranks, shapes, strict=True)
    )


def test_as_one_budget_the_directions_with_the_most_energy_stay() -> None:
    steep = torch.tensor([10.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    flat = torch.ones(8)
    ranks = kept_ranks([steep, flat], [(8, 8), (8, 8)], 0.5, allocation="budget")
    assert ranks == [1, 3]
    even = kept_ranks([steep, flat], [(8, 8), (8, 8)], 0.5, allocation="vector")
    assert even == [2, 2]


def test_at_nothing_removed_every_matrix_stays_whole() -> None:
    for allocation in ("budget", "vector"):
        assert kept_ranks(spectra([(8, 8), (8, 12)], 0), [(8, 8), (8, 12)], 0.0,
                          allocation=allocation) == [None, None]  # type: ignore[arg-type]  # fmt: skip


def test_factors_are_the_best_approximation_of_their_rank() -> None:
    layer = nn.Linear(7, 5)
    thin = FactoredLinear(layer, 2)
    left, values, right = np.linalg.svd(layer.weight.detach().numpy(), full_matrices=False)
    best = (left[:, :2] * values[:2]) @ right[:2]
    np.testing.assert_allclose((thin.up @ thin.down).detach().numpy(), best, atol=1e-6)
    x = torch.randn(3, 7)
    expected = x.numpy() @ best.T + layer.bias.detach().numpy()
    np.testing.assert_allclose(thin(x).detach().numpy(), expected, atol=1e-5)


def prepared(target: float) -> tuple[Any, TextClassifier]:
    config = from_json({"method": "svd", "gates": {"target": target}})
    model = build_model(backbone_folder("bert"), config.model, outputs=2, seed=0)
    method = method_of(config)
    method.prepare(model)
    return method, model.eval()


def test_a_model_with_nothing_removed_is_the_model() -> None:
    method, model = prepared(0.0)
    torch.testing.assert_close(model(**inputs()), dense_model()(**inputs()))
    assert method.weights_left == 2 * (4 * 24 * 24 + 2 * 24 * 40)


def test_weights_left_are_those_of_the_model() -> None:
    method, model = prepared(0.5)
    held = sum(
        p.numel() for block in model.blocks() for name, p in block.named_parameters() if p.ndim == 2
    )
    assert method.weights_left == held
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_ladder_counts_weights_and_products_that_are_gone() -> None:
    shape = EncoderShape(
        layers=1, hidden=8, heads=2, key_value_heads=2, head_size=4, ffn=16, model_parameters=1000
    )
    ladder = count_factored(shape, 384, target=0.25, target_unit="encoder_weights")
    assert shape.encoder_weights == 512
    assert ladder.folded_encoder_fraction == 0.25
    assert ladder.removed_model_fraction == 128 / 1000
    assert ladder.dense_macs_per_token - ladder.macs_per_token == 128
    assert ladder.gate_sparsity is None


@pytest.mark.parametrize("unit", ["gates"])
def test_a_target_in_gates_is_refused(unit: str) -> None:
    from finegates_engine.errors import UserError
    from finegates_engine.sweep.plan import plan_sweep

    config = from_json({"method": "svd", "gates": {"target_unit": unit}})
    with pytest.raises(UserError, match="Method 'svd' closes no gates"):
        plan_sweep(config, (0.2,), (0,))
