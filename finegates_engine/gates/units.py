"""Gates that close together, so that all heads of a layer keep one width."""

import torch
from torch import Tensor

from finegates_engine.errors import UserError
from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.sparsity import GatePlan

_OF_HEADS = ("query_key", "value_output")


@torch.no_grad()
def closing_units(gates: StochasticGates, plan: GatePlan, order: Tensor) -> tuple[Tensor, Tensor]:
    """Which gates close together, and when: (units, order), one value for each gate.

    order: (gates,), the lowest close first. Without `head_step` every gate is a unit of its own.
    With it the dimensions of each head are taken in their own order, and the n-th `head_step` of
    them, of all heads of a layer, for query and key as for value and output, are one unit, whose
    place is the mean of theirs. Raises UserError where keys have other gates than values.
    """
    units, step = torch.arange(len(order)), plan.config.head_step
    if not step:
        return units, order
    places = gates.split(torch.arange(len(order)))
    for layer in range(plan.shape.layers):
        parts = [places[f"{layer}/{name}"] for name in _OF_HEADS]
        if len(parts[0]) != len(parts[1]):
            raise UserError(
                "head_step needs as many gates for query and key as for value and output, which "
                "rotary models do not have. Leave it at 0."
            )
        dimensions = torch.cat([part.view(plan.shape.key_value_heads, -1) for part in parts])
        ranks = torch.argsort(torch.argsort(order[dimensions], dim=1, stable=True), dim=1)
        units[dimensions] = parts[0][0] + ranks // step
    counts = torch.bincount(units, minlength=len(order)).clamp(min=1)
    means = torch.zeros(len(order), dtype=order.dtype).index_add_(0, units, order) / counts
    return units, means[units]
