"""Models whose gates have random values, inputs for them, and how far two models are apart."""

from typing import Any

import torch
from tiny_models import gate_config, gated_model
from torch import Tensor

from finegates_engine.config import ModelConfig
from finegates_engine.gates.model import TextClassifier, iter_gated_layers

SIZES = {"hidden": 36, "heads": 3, "ffn": 40}


def random_model(
    family: str = "bert",
    *,
    pooling: Any = "mean",
    axes: str = "all",
    tie: bool = False,
    head_gates: bool = False,
    rank: int = 0,
    closed: float = 0.3,
    soft: bool = True,
    seed: int = 0,
    sizes: dict[str, int] = SIZES,
) -> TextClassifier:
    """Random gates: a share of them closed for good, the others soft, open or clipped to 0."""
    config = ModelConfig(pooling=pooling, low_rank=rank)
    gates = gate_config(axes=axes, tie=tie, head_gates=head_gates)
    model, _ = gated_model(family, gates=gates, model=config, sizes=sizes)
    assert model.gates is not None
    generator = torch.Generator().manual_seed(seed)
    logit = model.gates.logit.data
    if soft:
        logit.uniform_(-0.7, 1.5, generator=generator)
    model.gates.close(torch.rand(logit.shape, generator=generator) < closed)
    for _, _, layer in iter_gated_layers(model):
        if layer.low_rank_up is not None:
            layer.low_rank_up.data.normal_(std=0.1, generator=generator)
    return model.requires_grad_(False)


def padded_inputs(family: str, *, lengths=(8, 5, 1, 3), tokens: int = 9, left: bool = False):
    """Random tokens, every row padded, to another length; token types where there are any."""
    generator = torch.Generator().manual_seed(len(family))
    steps, many = torch.arange(tokens), torch.tensor(lengths).unsqueeze(1)
    mask = steps >= tokens - many if left else steps < many
    ids = torch.randint(1, 60, mask.shape, generator=generator) * mask
    batch = {"input_ids": ids, "attention_mask": mask.long()}
    if family != "distilbert":
        kinds = torch.randint(0, 2, mask.shape, generator=generator)
        batch["token_type_ids"] = kinds * mask
    return batch


@torch.no_grad()
def difference(one: Any, other: Any, batch: dict[str, Tensor]) -> tuple[float, float]:
    """(largest difference of a logit, largest logit)."""
    first, second = one(**batch), other(**batch)
    assert first.dtype == second.dtype == torch.float32
    return float((first - second).abs().max()), float(first.abs().max())
