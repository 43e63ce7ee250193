"""Tiny random models of each supported architecture, saved as folders, with inputs for them."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from finegates_engine.config import GateConfig, ModelConfig, from_json
from finegates_engine.gates.model import TextClassifier, add_gates, build_model, trained_parameters
from finegates_engine.gates.sparsity import GatePlan, plan_gates

FAMILIES = ("bert", "roberta", "distilbert")
_KEEP: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def backbone_folder(family: str, *, hidden: int = 24, heads: int = 3, ffn: int = 40) -> Path:
    """Two blocks with random weights and biases that are not 0."""
    from transformers import AutoModel, BertConfig, DistilBertConfig, RobertaConfig

    common: dict[str, Any] = {"vocab_size": 60, "max_position_embeddings": 40, "pad_token_id": 0}
    if family == "distilbert":
        config: Any = DistilBertConfig(
            dim=hidden, n_heads=heads, hidden_dim=ffn, n_layers=2, **common
        )
    else:
        kind = BertConfig if family == "bert" else RobertaConfig
        config = kind(
            hidden_size=hidden,
            num_attention_heads=heads,
            intermediate_size=ffn,
            num_hidden_layers=2,
            **common,
        )
    _KEEP.append(tempfile.TemporaryDirectory())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = AutoModel.from_config(config)
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(_KEEP[-1].name)
    return Path(_KEEP[-1].name)


def dense_model(family: str = "bert", *, pooling: str = "mean", **sizes: int) -> TextClassifier:
    """The model without gates, in evaluation."""
    config = ModelConfig(pooling=pooling)  # type: ignore[arg-type]
    return build_model(backbone_folder(family, **sizes), config, outputs=2, seed=0).eval()


def gated_model(
    family: str = "bert",
    *,
    gates: GateConfig | None = None,
    model: ModelConfig | None = None,
    sizes: dict[str, int] | None = None,
) -> tuple[TextClassifier, GatePlan]:
    """The same backbone and head with gates, in evaluation."""
    gates, model = gates or gate_config(), model or ModelConfig(low_rank=0)
    built = build_model(backbone_folder(family, **(sizes or {})), model, outputs=2, seed=0)
    add_gates(built, gates, model, seed=0)
    return built.eval(), plan_gates(built, gates)


def inputs(*, rows: int = 3, tokens: int = 7) -> dict[str, Tensor]:
    """Random tokens; each row is one token shorter than the one before."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(1, 60, (rows, tokens), generator=generator)
    mask = torch.arange(tokens) < (tokens - torch.arange(rows)).unsqueeze(1)
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def gate_config(**changes: Any) -> GateConfig:
    """Tied inner gates with a target in gates and no schedule, whatever the defaults are."""
    values = {
        "target": 0.2,
        "target_unit": "gates",
        "axes": "inner",
        "tie": True,
        "head_gates": False,
        "allocation": "budget",
        "relaxation": "clip",
        "start": "equal",
        "controller": "fixed",
        "open_start": 0.0,
        "ramp": 0.0,
        "finish": 0.0,
        "anneal": False,
    }
    return from_json({"gates": values | changes}).gates


def train_some_steps(model: TextClassifier, steps: int = 3) -> torch.optim.Optimizer:
    """Train all that is trained, at a high rate, and return the optimiser."""
    parts = trained_parameters(model)
    optimizer = torch.optim.AdamW([p for part in parts.values() for p in part.values()], lr=0.1)
    model.train()
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(**inputs()), torch.tensor([0, 1, 1]))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return optimizer
