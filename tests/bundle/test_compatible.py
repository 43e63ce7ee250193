"""The form that transformers loads by itself gives the gated model's outputs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, gate_config, gated_model, inputs
from torch import nn
from transformers import AutoModelForSequenceClassification

from finegates_engine.bundle.compatible import (
    check_compatible,
    compatible_network,
    encoder_weights_in,
    load_compatible,
    save_compatible,
)
from finegates_engine.config import ModelConfig
from finegates_engine.errors import UserError
from finegates_engine.gates.model import TextClassifier

GATES: dict[str, dict[str, Any]] = {
    "inner, tied": {},
    "all axes, untied": {"axes": "all", "tie": False},
    "heads": {"axes": "attention", "head_gates": True},
}


def trained(
    family: str = "bert", *, shares: tuple[float, ...] = (0.3, 0.7), **gates: Any
) -> TextClassifier:
    """Gates closed at random, a share for each block; biases and low-rank updates not 0."""
    config = ModelConfig(low_rank=2, pooling="model")
    model, _ = gated_model(family, gates=gate_config(**gates), model=config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "bias" in name or "low_rank" in name:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
        assert model.gates is not None
        values = {
            key: torch.rand(part.shape, generator=generator) >= shares[int(key.split("/")[0])]
            for key, part in model.gates.split(model.gates.value()).items()
        }
        flat = torch.cat([values[key].float() for key in values])
        model.gate_values = flat * torch.where(torch.arange(len(flat)) % 3 == 0, 0.5, 1.0)
    return model.eval()


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_alone_gives_the_gated_logits(family: str, gates: str, tmp_path: Path) -> None:
    model = trained(family, **GATES[gates])
    save_compatible(compatible_network(model, labels=("no", "yes")), tmp_path)
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert not network.training
    with torch.inference_mode():
        expected = model(**inputs())
        found = network(**inputs()).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(expected[0], expected[1])


def test_every_layer_has_the_widest_ffn_rounded_up(tmp_path: Path) -> None:
    model = trained(shares=(0.9, 0.5))
    network = compatible_network(model, labels=None, round_to=8)
    save_compatible(network, tmp_path)
    loaded = load_compatible(tmp_path, outputs=2)
    width = loaded.dimension("ffn")
    assert width % 8 == 0
    assert width < model.dimension("ffn")
    linear = [m for b in loaded.blocks() for m in b.modules() if isinstance(m, nn.Linear)]
    assert encoder_weights_in(loaded) == sum(m.weight.numel() for m in linear)
    assert json.loads((tmp_path / "config.json").read_text())["intermediate_size"] == width


def test_layer_without_any_ffn_keeps_its_output_bias(tmp_path: Path) -> None:
    model = trained(shares=(1.0, 1.0), axes="inner")
    save_compatible(compatible_network(model, labels=None), tmp_path)
    with torch.inference_mode():
        found = load_compatible(tmp_path, outputs=2)(**inputs())
        torch.testing.assert_close(found, model(**inputs()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "sigmoid"])
def test_constant_of_closed_rows_moves_into_the_bias(activation: str, tmp_path: Path) -> None:
    model = trained(axes="all", tie=False)
    from transformers.activations import ACT2FN

    config: Any = model.network.config
    config.hidden_act = activation
    for block in model.blocks():
        block.intermediate.intermediate_act_fn = ACT2FN[activation]  # type: ignore[union-attr]
    save_compatible(compatible_network(model, labels=None), tmp_path)
    with torch.inference_mode():
        found = load_compatible(tmp_path, outputs=2)(**inputs())
        torch.testing.assert_close(found, model(**inputs()), rtol=0, atol=1e-5)


def test_class_names_are_in_the_config_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    model = trained()
    save_compatible(compatible_network(model, labels=("no", "yes")), tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert json.loads(text)["id2label"] == {"0": "no", "1": "yes"}
    assert "/tmp" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_gated_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = trained()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    width = model.dimension("ffn")
    save_compatible(compatible_network(model, labels=None), tmp_path)
    assert model.dimension("ffn") == width
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_mean_pooling_says_why_not_and_what_to_do() -> None:
    check_compatible("model", "a-run")
    with pytest.raises(
        UserError, match=r"'a-run' averages over tokens.*train with --pooling model"
    ):
        check_compatible("mean", "a-run")
    model, _ = gated_model()
    with pytest.raises(UserError, match="AutoModelForSequenceClassification has no such model"):
        compatible_network(model, labels=None)
