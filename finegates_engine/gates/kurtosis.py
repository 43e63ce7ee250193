"""Weights of the gates in the penalty, from the kurtosis of their activations.

Our reading of "a penalty weighted by the kurtosis of activations" (arXiv 2412.12951): a
dimension that carries rare large values weighs more in its vector's share.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from finegates_engine.gates.model import TextClassifier, iter_gated_layers
from finegates_engine.gates.sparsity import GatePlan

MAX_ROWS = 256
"""Training rows that are looked at."""


@torch.no_grad()
def kurtosis_pressure(
    model: TextClassifier, batches: Iterable[Mapping[str, Tensor]], plan: GatePlan
) -> Tensor:
    """Kurtosis of each gated dimension's activations over its vector's mean, (gates,).

    batches: inputs of the model, of which the first 256 rows are used. Activations are those
    where the gate acts, over unmasked tokens with all gates open: inputs of a column gate,
    outputs of a row gate; a head has the mean over its dimensions. A dimension that never
    changes counts as 1, the least kurtosis there is. Call it before `compact`.
    """
    assert model.gates is not None
    layers = {(index, role): layer for index, role, layer in iter_gated_layers(model)}
    places: dict[tuple[int, str, str], list[str]] = {}
    for key in model.gates.sizes:
        role, side = model.gate_kinds[key].acts[0]
        places.setdefault((int(key.partition("/")[0]), role, side), []).append(key)
    moments = {place: _Moments() for place in places}
    chosen: list[Tensor] = []  # the mask of the batch that is passing
    hooks: list[Any] = []
    for (index, role, side), moment in moments.items():
        watched = partial(_watch, chosen, moment, side)
        hooks.append(layers[index, role].register_forward_hook(watched))
    was_training, gates = model.training, model.gates
    try:
        model.eval()
        model.gates = None  # all open
        for layer in layers.values():
            layer.row_gate = layer.column_gate = None
        rows = 0
        for batch in batches:
            inputs = {name: value[: MAX_ROWS - rows] for name, value in batch.items()}
            chosen[:] = [inputs["attention_mask"].bool()]
            model(**inputs)
            rows += len(chosen[0])
            if rows >= MAX_ROWS:
                break
    finally:
        model.gates = gates
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    values: dict[str, Tensor] = {}
    for place, keys in places.items():
        for key in keys:
            kurtosis = moments[place].kurtosis().view(gates.sizes[key], -1).mean(1)
            values[key] = (kurtosis / kurtosis.mean()).float().cpu()
    pressure = torch.cat([values[key] for key in gates.sizes])
    assert pressure.shape == plan.weights.shape
    return pressure


def _watch(
    mask: list[Tensor], moments: "_Moments", side: str, layer: Any, args: Any, output: Tensor
) -> None:
    moments.add((output if side == "rows" else args[0])[mask[0]])


class _Moments:
    """Sums of powers of values, in fp64."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor | None = None

    def add(self, values: Tensor) -> None:
        """values: (tokens, dimensions)."""
        values = values.double()
        sums = torch.stack([(values**power).sum(0) for power in range(1, 5)])
        self.sums = sums if self.sums is None else self.sums + sums
        self.count += len(values)

    def kurtosis(self) -> Tensor:
        """Fourth central moment over the squared second, (dimensions,); 3 for a Gaussian."""
        assert self.sums is not None
        mean, second, third, fourth = self.sums / self.count
        variance = second - mean**2
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        constant = variance <= 1e-12 * second
        return torch.where(constant, 1.0, central / variance.clamp(min=1e-300) ** 2).clamp(min=1)
