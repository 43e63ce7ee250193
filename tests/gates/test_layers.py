"""One gated linear layer: the released code's numbers, and plain autograd in fp64."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from released_code import EACH_CASE, gates_of
from torch import Tensor, nn
from torch.nn import functional

from finegates_engine.config import GateConfig
from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.layers import GatedLinear
from finegates_engine.gates.sparsity import GatePlan, penalty
from finegates_engine.ladder import EncoderShape, count_ladder


def parity_layer(case: dict[str, Any]) -> tuple[GatedLinear, StochasticGates, Tensor]:
    base = nn.Linear(12, 8)
    with torch.no_grad():
        base.weight.copy_(torch.tensor(case["weight"]))
        base.bias.copy_(torch.tensor(case["bias"]))
    base.weight.requires_grad_(False)
    return GatedLinear(base), gates_of(case), torch.tensor(case["x"])


def apply(layer: GatedLinear, gates: StochasticGates, flat: Tensor, x: Tensor) -> Tensor:
    values = gates.split(flat)
    layer.row_gate, layer.column_gate = values["row"], values["column"]
    return layer(x)  # type: ignore[no-any-return]


# One FFN matrix of 8 x 12 stands for the layer.
SHAPE = EncoderShape(
    layers=1, hidden=12, heads=1, key_value_heads=1, head_size=12, ffn=8, model_parameters=1000
)


def reference_penalty(gates: StochasticGates, target: float) -> Tensor:
    config = GateConfig(target_unit="gates", allocation="vector")
    return penalty(gates, GatePlan(SHAPE, config, {}, torch.ones(20), torch.ones(20)), target)


@EACH_CASE
def test_output_in_evaluation_is_that_of_the_released_code(case: dict[str, Any]) -> None:
    layer, gates, x = parity_layer(case)
    y = apply(layer, gates, gates.value(), x)
    np.testing.assert_allclose(y.detach(), case["y_evaluation"], atol=1e-6)


@EACH_CASE
def test_output_with_the_given_noise_is_that_of_the_released_code(case: dict[str, Any]) -> None:
    layer, gates, x = parity_layer(case)
    noise = torch.tensor(case["row_noise"] + case["column_noise"])
    y = apply(layer, gates, gates.with_noise(noise), x)
    np.testing.assert_allclose(y.detach(), case["y_training"], atol=1e-6)


@EACH_CASE
def test_penalty_and_removed_weights_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    _, gates, _ = parity_layer(case)
    distance = reference_penalty(gates, case["target"]).detach()
    assert float(distance) == pytest.approx(case["penalty"], abs=1e-6)
    kept = {name: (part > 0).numpy() for name, part in gates.split(gates.value().detach()).items()}
    ladder = count_ladder(
        SHAPE,
        [{"ffn_in": (kept["row"], kept["column"])}],
        target=None,
        target_unit=None,
        gates_closed=0,
        gates_total=20,
    )
    assert ladder.gated_weights - ladder.gated_weights_kept == case["removed_weights"]


@EACH_CASE
def test_gradients_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    layer, gates, x = parity_layer(case)
    y = apply(layer, gates, gates.value(), x)
    ((y**2).mean() + 50 * reference_penalty(gates, case["target"])).backward()  # type: ignore[no-untyped-call]
    assert gates.logit.grad is not None
    grads = gates.split(gates.logit.grad)
    np.testing.assert_allclose(grads["row"], case["row_logit_gradient"], atol=1e-6)
    np.testing.assert_allclose(grads["column"], case["column_logit_gradient"], atol=1e-6)
    np.testing.assert_allclose(layer.base_layer.bias.grad, case["bias_gradient"], atol=1e-6)


def random_layer(
    *, rank: int, bias: bool = True, dropout: float = 0.0, dtype: torch.dtype = torch.float64
) -> GatedLinear:
    """5 in, 3 out; the update is not at its start value of 0."""
    generator = torch.Generator().manual_seed(0)
    base = nn.Linear(5, 3, bias=bias)
    base.weight.requires_grad_(False)
    layer = GatedLinear(base, rank=rank, alpha=4.0, dropout=dropout)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).to(dtype)
    return layer


def plain(layer: GatedLinear, x: Tensor) -> Tensor:
    """The definition, term by term."""
    inner = x if layer.column_gate is None else x * layer.column_gate
    y = functional.linear(inner, layer.base_layer.weight, layer.base_layer.bias)
    if layer.low_rank_up is not None and layer.low_rank_down is not None:
        y = y + layer.scale * (inner @ layer.low_rank_down.T @ layer.low_rank_up.T)
    return y if layer.row_gate is None else y * layer.row_gate


def set_gates(layer: GatedLinear, row: bool, column: bool) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    kind = layer.base_layer.weight.dtype
    layer.row_gate = torch.rand(3, generator=generator).to(kind).requires_grad_() if row else None
    layer.column_gate = (
        torch.rand(5, generator=generator).to(kind).requires_grad_() if column else None
    )
    return [gate for gate in (layer.row_gate, layer.column_gate) if gate is not None]


@pytest.mark.parametrize("tokens", [1, 8], ids=["scale_input", "scale_matrix"])
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_output_and_gradients_equal_plain_autograd(
    tokens: int, rank: int, bias: bool, row: int, column: int
) -> None:
    layer = random_layer(rank=rank, bias=bias)
    learned = set_gates(layer, bool(row), bool(column))
    learned += [p for p in layer.parameters() if p.requires_grad]
    x = torch.randn(2, tokens, 5, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():  # exact zeros and ones among the gates
        for gate in (layer.row_gate, layer.column_gate):
            if gate is not None:
                gate[0], gate[1] = 0, 1
    weights = torch.randn(2, tokens, 3, dtype=torch.float64)
    ours, truth = layer(x), plain(layer, x)
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12)
    ours_grads = torch.autograd.grad((ours * weights).sum(), [x, *learned])
    truth_grads = torch.autograd.grad((truth * weights).sum(), [x, *learned])
    for one, other in zip(ours_grads, truth_grads, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 2])
def test_gradients_equal_finite_differences(rank: int) -> None:
    layer = random_layer(rank=rank)
    gates = set_gates(layer, True, True)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    trained = [p for p in layer.parameters() if p.requires_grad]

    def run(x: Tensor, row: Tensor, column: Tensor, *_: Tensor) -> Any:
        layer.row_gate, layer.column_gate = row, column
        return layer(x)

    assert torch.autograd.gradcheck(run, (x, *gates, *trained))


def test_input_that_needs_no_gradient_gives_the_same_gradients() -> None:
    layer = random_layer(rank=2)
    learned = set_gates(layer, True, True)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    ours = torch.autograd.grad(layer(x).sum(), learned)
    truth = torch.autograd.grad(plain(layer, x).sum(), learned)
    for one, other in zip(ours, truth, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_update_at_its_start_value_changes_nothing() -> None:
    base = nn.Linear(5, 3)
    base.weight.requires_grad_(False)
    layer, x = GatedLinear(base, rank=2), torch.randn(4, 5)
    torch.testing.assert_close(layer(x), base(x), rtol=0, atol=1e-6)


def test_dropout_of_the_update_is_unbiased_and_off_in_evaluation() -> None:
    layer = random_layer(rank=2, dropout=0.5)
    set_gates(layer, True, True)
    x = torch.randn(6, 5, dtype=torch.float64)
    torch.testing.assert_close(layer.eval()(x), plain(layer, x), rtol=0, atol=1e-12)
    layer.train()
    torch.manual_seed(0)
    drawn = torch.stack([layer(x).detach() for _ in range(4000)])
    assert drawn.std(0).max() > 0.1
    error = (drawn.mean(0) - plain(layer, x)).abs() / (drawn.std(0) / 4000**0.5 + 1e-9)
    assert float(error.detach().max()) < 5


def test_dropout_leaves_the_base_layer_alone() -> None:
    layer = random_layer(rank=2, dropout=0.9).train()
    torch.nn.init.zeros_(layer.low_rank_up)  # type: ignore[arg-type]
    x = torch.randn(6, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), layer.base_layer(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dropout", [0.0, 1e-9])
def test_autocast_to_bf16_stays_near_fp32_with_fp32_gradients(dropout: float) -> None:
    layer = random_layer(rank=2, dropout=dropout, dtype=torch.float32).train()
    learned = set_gates(layer, True, True)
    learned += [p for p in layer.parameters() if p.requires_grad]
    x = torch.randn(64, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer(x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), plain(layer, x), rtol=0.05, atol=0.1)
    ours = torch.autograd.grad(low.float().mean(), learned)
    truth = torch.autograd.grad(plain(layer, x).mean(), learned)
    for one, other in zip(ours, truth, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02)


def saved_shapes(layer: GatedLinear, x: Tensor) -> list[tuple[int, ...]]:
    saved: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    return [shape for shape in saved if shape[0] == len(x)]


def test_only_what_gradients_need_is_saved() -> None:
    layer, x = random_layer(rank=0), torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    assert saved_shapes(layer, x) == []
    set_gates(layer, True, False)
    assert saved_shapes(layer, x) == [(7, 3)]
    set_gates(layer, False, True)
    assert saved_shapes(layer, x) == [(7, 5)]
    layer.column_gate = torch.ones(5, dtype=torch.float64)  # fixed
    assert saved_shapes(layer, x) == []
    with_update = random_layer(rank=2)
    assert saved_shapes(with_update, x) == [(7, 5)]


def test_kept_rows_and_columns_give_that_part_of_the_output() -> None:
    layer = random_layer(rank=2)
    set_gates(layer, True, True)
    x = torch.randn(4, 5, dtype=torch.float64)
    rows, columns = torch.tensor([0, 2]), torch.tensor([1, 2, 4])
    with torch.no_grad():
        assert layer.column_gate is not None
        layer.column_gate[[0, 3]] = 0
    whole = layer(x)
    layer.keep(rows=rows, columns=columns)
    torch.testing.assert_close(layer(x[:, columns]), whole[:, rows], rtol=0, atol=1e-12)
    layer.keep(rows=None, columns=None)
    torch.testing.assert_close(layer(x), whole, rtol=0, atol=0)


def test_layer_can_be_copied_after_a_forward() -> None:
    layer = random_layer(rank=0)
    row = torch.rand(3, dtype=torch.float64, requires_grad=True)
    layer.row_gate = row * 2  # part of a graph
    layer(torch.randn(2, 5, dtype=torch.float64))
    copied = copy.deepcopy(layer)
    assert copied.row_gate is None
    assert torch.equal(copied.base_layer.weight, layer.base_layer.weight)
