"""Low-rank SVD of each matrix at the wanted share of weights; then everything is trained."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from finegates_engine.fold.dimensions import EncoderShape
from finegates_engine.gates.model import TextClassifier, replace_linears
from finegates_engine.ladder import Ladder, count_ladder
from finegates_engine.methods.base import Method


class FactoredLinear(nn.Module):
    """y = U (V x) + b, with U V the best approximation of a layer's matrix of that rank."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        left, values, right = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
        root = values[:rank].sqrt()
        self.up = nn.Parameter((left[:, :rank] * root).contiguous())
        self.down = nn.Parameter((root.unsqueeze(1) * right[:rank]).contiguous())
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in_features) -> (..., out_features)."""
        return functional.linear(functional.linear(x, self.down), self.up, self.bias)


class LowRank(Method):
    """SVD, then finetuning of all weights, as in PELA (arXiv 2310.10700).

    With allocation "vector" every matrix keeps the same share of its weights; as one budget, the
    directions with the largest share of their matrix's energy a weight stay. A matrix whose two
    factors would hold no fewer weights than itself stays whole.
    """

    def prepare(self, model: TextClassifier) -> None:
        """Factors the matrices; everything is trained."""
        layers: dict[tuple[int, str], nn.Linear] = {}
        replace_linears(model, lambda index, role, layer: layers.update({(index, role): layer}))
        spectra = [torch.linalg.svdvals(layer.weight.detach()) for layer in layers.values()]
        shapes = [(layer.out_features, layer.in_features) for layer in layers.values()]
        gates = self.config.gates
        ranks = kept_ranks(spectra, shapes, gates.target, allocation=gates.allocation)
        chosen = dict(zip(layers, ranks, strict=True))

        def factored(index: int, role: str, layer: nn.Linear) -> nn.Module | None:
            rank = chosen[index, role]
            return None if rank is None else FactoredLinear(layer, rank)

        replace_linears(model, factored)
        model.requires_grad_(True)
        self.weights_left = sum(
            a * b if rank is None else rank * (a + b)
            for rank, (a, b) in zip(ranks, shapes, strict=True)
        )


def kept_ranks(
    spectra: Sequence[Tensor],
    shapes: Sequence[tuple[int, int]],
    target: float,
    *,
    allocation: Literal["budget", "vector"],
) -> list[int | None]:
    """Rank of each matrix, None for one that stays whole, at the nearest share to the target.

    spectra: singular values of each matrix, falling. shapes: (out, in). target: share of all
    weights that goes.
    """
    scores, costs, owners = [], [], []
    for number, (values, (a, b)) in enumerate(zip(spectra, shapes, strict=True)):
        steps = torch.arange(1, len(values) + 1)
        held = (steps * (a + b)).clamp(max=a * b)  # from there on the whole matrix is cheaper
        energy = values.double() ** 2
        even = -steps * (a + b) / (a * b)
        scores.append(energy / energy.sum() / (a + b) if allocation == "budget" else even.double())
        costs.append(held.diff(prepend=torch.zeros(1, dtype=held.dtype)))
        owners.append(torch.full_like(steps, number))
    order = torch.argsort(torch.cat(scores), descending=True, stable=True)
    held = torch.cat(costs)[order].cumsum(0)
    wanted = (1 - target) * sum(a * b for a, b in shapes)
    count = int((held - wanted).abs().argmin()) + 1
    kept = torch.bincount(torch.cat(owners)[order[:count]], minlength=len(shapes)).tolist()
    return [
        None if rank * (a + b) >= a * b else rank for rank, (a, b) in zip(kept, shapes, strict=True)
    ]


def count_factored(
    shape: EncoderShape,
    weights_left: int,
    *,
    target: float,
    target_unit: Literal["encoder_weights", "gates"],
) -> Ladder:
    """The ladder of an encoder whose matrices hold `weights_left` weights and keep their widths."""
    dense = count_ladder(
        shape,
        [{}] * shape.layers,
        target=target,
        target_unit=target_unit,
        gates_closed=0,
        gates_total=0,
    )
    gone = shape.encoder_weights - weights_left
    return dataclasses.replace(
        dense,
        folded_weights=weights_left,
        folded_encoder_fraction=gone / shape.encoder_weights,
        removed_model_fraction=gone / shape.model_parameters,
        macs_per_token=dense.macs_per_token - gone,
    )
