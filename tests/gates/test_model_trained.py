"""What of a model is trained, what is frozen, and the adapter that holds the first."""

from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, dense_model, gate_config, gated_model, inputs, train_some_steps

from finegates_engine.config import ModelConfig
from finegates_engine.gates.model import (
    PARTS,
    adapter_state,
    load_adapter_state,
    trained_parameters,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_weight_does_not_move(family: str) -> None:
    gates = gate_config(axes="all", relaxation="hard")
    model, _ = gated_model(family, gates=gates, model=ModelConfig(low_rank=2))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = train_some_steps(model)
    trained = {id(p) for part in trained_parameters(model).values() for p in part.values()}
    for name, parameter in model.named_parameters():
        if id(parameter) in trained:
            assert not torch.equal(parameter, before[name]), name
        else:
            assert torch.equal(parameter, before[name]), name
            assert parameter.grad is None
            assert parameter not in optimizer.state
    assert len(optimizer.state) == len(trained)


@pytest.mark.parametrize("pooling", ["mean", "model"])
@pytest.mark.parametrize("family", FAMILIES)
def test_trained_values_are_gates_biases_updates_and_head(family: str, pooling: Any) -> None:
    config = ModelConfig(pooling=pooling, low_rank=2)
    model, _ = gated_model(family, gates=gate_config(), model=config)
    parts = trained_parameters(model)
    assert tuple(parts) == PARTS
    assert list(parts["gates"]) == ["gates.logit"]
    assert len(parts["biases"]) == 12
    assert len(parts["low_rank"]) == 24
    assert parts["backbone"] == {}
    names = {name.removeprefix("network.") for name in parts["head"]}
    expected = {
        "bert": {"bert.pooler.dense.weight", "bert.pooler.dense.bias"},
        "roberta": {"classifier.dense.weight", "classifier.dense.bias"},
        "distilbert": {"pre_classifier.weight", "pre_classifier.bias"},
    }[family]
    last = "classifier.out_proj" if family == "roberta" else "classifier"
    expected |= {f"{last}.weight", f"{last}.bias"}
    assert names == (expected if pooling == "model" else {"head.weight", "head.bias"})


def test_biases_stay_frozen_where_asked() -> None:
    model, _ = gated_model(gates=gate_config(), model=ModelConfig(train_biases=False))
    assert trained_parameters(model)["biases"] == {}


def test_without_gates_only_the_head_is_trained() -> None:
    parts = trained_parameters(dense_model())
    assert {name: len(part) for name, part in parts.items() if part} == {"head": 2}


def test_adapter_round_trip_gives_the_same_logits() -> None:
    config = ModelConfig(low_rank=2)
    model, _ = gated_model(gates=gate_config(), model=config)
    train_some_steps(model)
    assert model.gates is not None
    model.gates.close(torch.arange(model.gates.logit.numel()) % 5 == 0)
    state = {name: value.clone() for name, value in adapter_state(model).items()}
    other, _ = gated_model(gates=gate_config(), model=config)
    load_adapter_state(other, state)
    assert torch.equal(other(**inputs()), model.eval()(**inputs()))
    assert other.gates is not None
    assert torch.equal(state["gates.value"], other.gates.value().detach())


def test_adapter_of_fixed_gates_stops_their_learning() -> None:
    model, _ = gated_model(gates=gate_config())
    assert model.gates is not None
    model.gates.fix(torch.rand(model.gates.logit.shape) < 0.5)
    other, _ = gated_model(gates=gate_config())
    load_adapter_state(other, adapter_state(model))
    assert other.gates is not None
    assert bool(other.gates.fixed)
    assert not other.gates.logit.requires_grad


def test_adapter_of_another_model_is_refused() -> None:
    model, _ = gated_model(gates=gate_config(), model=ModelConfig(low_rank=2))
    state = adapter_state(model)
    plain, _ = gated_model(gates=gate_config())
    with pytest.raises(ValueError, match=r"unknown \['blocks.0.attention_output.low_rank_down'"):
        load_adapter_state(plain, state)
    missing = {name: value for name, value in state.items() if name != "head.bias"}
    with pytest.raises(ValueError, match=r"missing \['head.bias'\]"):
        load_adapter_state(model, missing)
    with pytest.raises(ValueError, match=r"head.bias has shape \(3,\), the model needs \(2,\)"):
        load_adapter_state(model, {**state, "head.bias": torch.zeros(3)})
