"""Gates in a whole model: nothing changes at the start, and only the right values are trained."""

import copy
import functools
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import (
    FAMILIES,
    backbone_folder,
    dense_model,
    gate_config,
    gated_model,
    inputs,
    train_some_steps,
)
from torch import Tensor, nn

from finegates_engine.config import ModelConfig
from finegates_engine.errors import UserError
from finegates_engine.gates.model import (
    TextClassifier,
    add_gates,
    build_model,
    iter_gated_layers,
    trained_parameters,
)

CHOICES = list(itertools.product(("inner", "attention", "all"), (True, False), (True, False)))


@functools.cache
def dense_logits(family: str, pooling: str) -> Tensor:
    with torch.no_grad():
        return dense_model(family, pooling=pooling)(**inputs())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["mean", "model"])
@pytest.mark.parametrize(("axes", "tie", "head_gates"), CHOICES)
def test_all_open_gates_reproduce_the_base_model(
    family: str, pooling: Any, axes: str, tie: bool, head_gates: bool
) -> None:
    gates = gate_config(axes=axes, tie=tie, head_gates=head_gates)
    for rank in (0, 4):
        config = ModelConfig(pooling=pooling, low_rank=rank)
        model, _ = gated_model(family, gates=gates, model=config)
        assert model.gates is not None
        assert model.gates.value().min() == 1
        with torch.no_grad():
            logits = model(**inputs())
        torch.testing.assert_close(logits, dense_logits(family, pooling), rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_without_bias_reproduce_the_base_model(family: str) -> None:
    folder, config = backbone_folder(family), ModelConfig(low_rank=2)
    model = build_model(folder, config, outputs=2, seed=0).eval()
    for block in model.blocks():
        for path in model.architecture.modules.values():
            block.get_submodule(path).bias = None  # type: ignore[assignment]
    with torch.no_grad():
        before = model(**inputs())
        add_gates(model, gate_config(axes="all", tie=False), config, seed=0)
        after = model(**inputs())
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    assert trained_parameters(model)["biases"] == {}


def test_closed_gates_do_change_the_logits() -> None:
    model, _ = gated_model(gates=gate_config())
    assert model.gates is not None
    before = model(**inputs()).detach()
    model.gates.close(torch.rand(model.gates.logit.shape) < 0.5)
    assert (model(**inputs()) - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("axes", "tie", "head_gates", "gates"),
    [
        # a block of width 24 with 3 heads and an FFN of 40
        ("inner", True, False, 24 + 24 + 40),
        ("inner", False, False, 4 * 24 + 2 * 40),
        ("attention", True, False, 4 * 24),
        ("attention", False, False, 8 * 24),
        ("all", True, False, 6 * 24 + 40),
        ("all", False, False, 10 * 24 + 2 * 40),
        ("inner", True, True, 24 + 24 + 40 + 3),
        ("all", False, True, 10 * 24 + 2 * 40 + 3),
    ],
)
def test_number_of_gates(axes: str, tie: bool, head_gates: bool, gates: int) -> None:
    model, _ = gated_model(gates=gate_config(axes=axes, tie=tie, head_gates=head_gates))
    assert model.gates is not None
    assert model.gates.logit.numel() == 2 * gates


def test_layers_come_in_the_order_of_the_data() -> None:
    model, _ = gated_model(gates=gate_config())
    roles = [(index, role) for index, role, _ in iter_gated_layers(model)]
    one = ["query", "key", "value", "attention_output", "ffn_in", "ffn_out"]
    assert roles == [(index, role) for index in range(2) for role in one]


def close(model: TextClassifier, key: str, positions: list[int]) -> None:
    assert model.gates is not None
    closed = torch.zeros(model.gates.logit.shape, dtype=torch.bool)
    model.gates.split(closed)[key][positions] = True
    model.gates.close(closed)


@pytest.mark.parametrize("family", FAMILIES)
def test_closed_head_gate_is_a_head_whose_context_is_zero(family: str) -> None:
    by_head, _ = gated_model(family, gates=gate_config(head_gates=True))
    by_dimension, _ = gated_model(family, gates=gate_config())
    close(by_head, "1/heads", [2])
    close(by_dimension, "1/value_output", list(range(16, 24)))
    torch.testing.assert_close(by_head(**inputs()), by_dimension(**inputs()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("tied", "untied"),
    [
        ("query_key", ["query_rows", "key_rows"]),
        ("value_output", ["value_rows", "attention_output_columns"]),
        ("ffn", ["ffn_in_rows", "ffn_out_columns"]),
    ],
)
def test_closed_tied_gate_is_both_untied_sides_closed(tied: str, untied: list[str]) -> None:
    one, _ = gated_model(gates=gate_config(tie=True))
    for sides in (untied, untied[:1], untied[1:]):
        other, _ = gated_model(gates=gate_config(tie=False))
        close(one, f"0/{tied}", [0, 3, 20])
        for side in sides:
            close(other, f"0/{side}", [0, 3, 20])
        torch.testing.assert_close(one(**inputs()), other(**inputs()), rtol=0, atol=1e-6)


def test_soft_gates_of_a_side_multiply() -> None:
    model, _ = gated_model(gates=gate_config(head_gates=True))
    assert model.gates is not None
    with torch.no_grad():
        parts = model.gates.split(model.gates.logit.data)
        parts["0/value_output"].fill_(float(torch.atanh(torch.tensor(-0.1))))
        parts["0/heads"].fill_(float(torch.atanh(torch.tensor(-0.25))))
        model(**inputs())
    layers = {(index, role): layer for index, role, layer in iter_gated_layers(model)}
    gate = layers[0, "attention_output"].column_gate
    assert gate is not None
    torch.testing.assert_close(gate, torch.full((24,), 0.4 * 0.25))


@pytest.mark.parametrize("pooling", ["mean", "model"])
@pytest.mark.parametrize("family", FAMILIES)
def test_row_alone_and_in_a_padded_batch_agree(family: str, pooling: Any) -> None:
    model = dense_model(family, pooling=pooling)
    batch = inputs()
    with torch.no_grad():
        together = model(**batch)
        for row, mask in enumerate(batch["attention_mask"]):
            length = int(mask.sum())
            alone = model(batch["input_ids"][row : row + 1, :length], mask[None, :length])
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-5)


def test_head_depends_on_the_seed_alone() -> None:
    def head(seed: int) -> Tensor:
        torch.rand(seed + 1)
        model = build_model(backbone_folder("bert"), ModelConfig(), outputs=2, seed=seed)
        assert model.head is not None
        return model.head.weight

    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


def test_unsupported_model_is_named_with_the_supported_ones(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match=r"'gpt2' is not supported\. Supported: bert, distil"):
        build_model(tmp_path, ModelConfig(), outputs=2, seed=0)


def test_model_can_be_copied_after_a_training_step() -> None:
    model, _ = gated_model(gates=gate_config(axes="all"))
    train_some_steps(model, 1)
    model(**inputs())
    copied = copy.deepcopy(model)
    assert torch.equal(copied.eval()(**inputs()), model.eval()(**inputs()))


def gradients(model: TextClassifier) -> dict[str, Tensor]:
    model(**inputs()).square().mean().backward()
    parts = trained_parameters(model).values()
    return {n: p.grad for part in parts for n, p in part.items() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_gives_the_same_gradients(family: str) -> None:
    config = ModelConfig(low_rank=2)
    results = []
    for checkpointing in (False, True):
        model, _ = gated_model(family, gates=gate_config(axes="all"), model=config)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.network.gradient_checkpointing_enable(  # type: ignore[operator]
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        model.train()
        assert model.noise is not None
        model.noise.manual_seed(0)
        results.append(gradients(model))
    assert results[0].keys() == results[1].keys()
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=0, atol=1e-6)


def test_autocast_to_bf16_keeps_logits_and_gradients_in_fp32() -> None:
    model, _ = gated_model(gates=gate_config(axes="all"), model=ModelConfig(low_rank=2))
    exact = model(**inputs()).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(**inputs())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact, rtol=0, atol=0.05)
    logits.square().mean().backward()
    for part in trained_parameters(model).values():
        for name, parameter in part.items():
            assert parameter.grad is not None, name
            assert parameter.grad.dtype == torch.float32
