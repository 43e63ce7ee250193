"""The penalty that closes gates, the exact target, and counts for the ladder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from finegates_engine.architectures import GateKind, gate_kinds
from finegates_engine.config import GateConfig
from finegates_engine.errors import UserError
from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.model import TextClassifier, head_parameters
from finegates_engine.ladder import (
    EncoderShape,
    Ladder,
    LayerMasks,
    count_ladder,
    folded_weights,
    folded_widths,
)

TOLERANCE = 0.005
"""A target is reached to within this share: half a point."""

_SPACES = {
    "query_key": (("query", "rows"), ("key", "rows")),
    "value_output": (("value", "rows"), ("attention_output", "columns")),
    "ffn": (("ffn_in", "rows"), ("ffn_out", "columns")),
}
"""Dimensions that leave by folding: they are gone when either side is closed."""


def encoder_shape(model: TextClassifier) -> EncoderShape:
    """Sizes of the dense model, for counting."""
    hidden, heads = model.dimension("hidden"), model.dimension("heads")
    parameters = sum(p.numel() for p in model.parameters())
    if model.gates is not None:
        parameters -= model.gates.logit.numel()
        parameters -= sum(p.numel() for n, p in model.named_parameters() if "low_rank_" in n)
    return EncoderShape(
        layers=len(model.blocks()),
        hidden=hidden,
        heads=heads,
        key_value_heads=heads,
        head_size=hidden // heads,
        ffn=model.dimension("ffn"),
        ffn_matrices=2,
        model_parameters=parameters,
        act_at_zero_is_zero=_activation_at_zero(model) == 0,
        head_weights=sum(p.numel() for _, p in head_parameters(model) if p.ndim > 1),
    )


def _activation_at_zero(model: TextClassifier) -> float:
    from transformers.activations import ACT2FN

    name = getattr(cast(Any, model.network.config), model.architecture.fields["activation"])
    return float(ACT2FN[name](torch.zeros(())))


@dataclass(frozen=True)
class GatePlan:
    """What the gates of one model take away, prepared once."""

    shape: EncoderShape
    """Sizes of the dense model."""

    config: GateConfig
    """Target, unit and allocation."""

    kinds: Mapping[str, GateKind]
    """Gate vectors of one block."""

    weights: Tensor
    """Weights that each gate removes alone, (gates,), fp32."""

    pressure: Tensor
    """Weight of each gate in its vector's mean, (gates,), each vector's mean 1: kurtosis or 1."""

    @property
    def reachable(self) -> float:
        """Share of the encoder's weights that can leave by folding with these axes."""
        attention = 4 * self.shape.hidden**2
        block = attention + 2 * self.shape.hidden * self.shape.ffn
        return attention / block if self.config.axes == "attention" else 1.0


def plan_gates(model: TextClassifier, config: GateConfig) -> GatePlan:
    """Counts that the penalty needs. Raises UserError for a target out of reach."""
    assert model.gates is not None
    shape = encoder_shape(model)
    kinds = gate_kinds(config.axes, tie=config.tie, head_gates=config.head_gates)
    other: dict[str, dict[str, int]] = {"rows": {}, "columns": {}}
    for role in ("query", "key", "value", "attention_output"):
        other["rows"][role] = other["columns"][role] = shape.hidden
    other["rows"]["ffn_in"], other["columns"]["ffn_in"] = shape.hidden, shape.ffn
    other["rows"]["ffn_out"], other["columns"]["ffn_out"] = shape.ffn, shape.hidden
    parts = []
    for key, size in model.gates.sizes.items():
        kind = kinds[_kind_name(key, kinds)]
        alone = sum(other[side][role] for role, side in kind.removes) * model.gate_dims[key]
        parts.append(torch.full((size,), float(alone)))
    weights = torch.cat(parts)
    plan = GatePlan(shape, config, kinds, weights, torch.ones_like(weights))
    if config.target_unit == "encoder_weights" and config.target > plan.reachable:
        raise UserError(
            f"target must be at most {plan.reachable:.3f} of encoder_weights with "
            f"axes={config.axes!r} (attention's share), got {config.target:g}. "
            "Lower the target, or use axes 'inner' or 'all'."
        )
    return plan


def _kind_name(key: str, kinds: Mapping[str, GateKind]) -> str:
    name = key.partition("/")[2]
    return next(kind for kind in kinds if kind.replace(".", "_") == name)


def penalty(gates: StochasticGates, plan: GatePlan, target: float | Tensor) -> Tensor:
    """Distance of the expected share removed from the target; a scalar, without lambda.

    Per gate vector, the mean of |mean P - (1 - target)| (arXiv 2602.09169, released code); as
    one budget, |sum w P / sum w - (1 - target)|. In encoder weights, P is that of the folded
    dimensions, which stay only while both of their sides are open.
    """
    means, weights = expected_kept(gates, plan)
    if plan.config.target_unit == "encoder_weights":
        target = target / plan.reachable
    if plan.config.allocation == "budget":
        return ((means * weights).sum() / weights.sum() - (1 - target)).abs()
    return (means - (1 - target)).abs().mean()


def expected_kept(
    gates: StochasticGates, plan: GatePlan, spaces: list["_Space"] | None = None
) -> tuple[Tensor, Tensor]:
    """Mean probability of being kept and weights, (vectors,) each, in the target's unit.

    spaces: what `_spaces` gives, for a caller that asks many times.
    """
    probability = gates.kept_probability()
    if plan.config.target_unit == "gates":
        device = probability.device
        kept, weights = gates.split(probability), gates.split(plan.weights.to(device))
        pressure = gates.split(plan.pressure.to(device))
        means = [_weighted_mean(kept[key], pressure[key]) for key in kept]
        return torch.stack(means), torch.stack([w.sum() for w in weights.values()])
    spaces = _spaces(gates, plan) if spaces is None else spaces
    return _expected_folded(spaces, gates.split(probability), gates.logit.device)


@dataclass(frozen=True)
class _Space:
    """One space of folded dimensions of one block, as far as it does not change in training."""

    acting: tuple[tuple[str, int], ...]
    """Gate vectors on either side, and the dimensions of each of their gates."""

    pressed: Tensor
    """Weight of each dimension in the mean, (dimensions,)."""

    pressed_sum: Tensor

    weight: float
    """Weights of the space's two matrices."""


def _spaces(gates: StochasticGates, plan: GatePlan) -> list[_Space]:
    spaces = []
    pressure = gates.split(plan.pressure.to(gates.logit.device))
    size = plan.shape.head_size
    for layer in range(plan.shape.layers):
        for space, sides in _SPACES.items():
            acting = tuple(
                (f"{layer}/{name.replace('.', '_')}", size if kind.per_head else 1)
                for name, kind in plan.kinds.items()
                if any(side in kind.removes for side in sides)
            )
            if not acting:
                continue
            width = plan.shape.ffn if space == "ffn" else plan.shape.hidden
            pressed = torch.zeros(width).to(gates.logit)
            for key, repeats in acting:
                pressed = pressed + pressure[key].repeat_interleave(repeats)
            weight = 2.0 * plan.shape.hidden * width
            spaces.append(_Space(acting, pressed, pressed.sum(), weight))
    return spaces


def _expected_folded(
    spaces: list[_Space], kept: Mapping[str, Tensor], device: torch.device
) -> tuple[Tensor, Tensor]:
    means = []
    for space in spaces:
        product: Tensor | None = None
        for key, repeats in space.acting:
            part = kept[key] if repeats == 1 else kept[key].repeat_interleave(repeats)
            product = part if product is None else product * part
        assert product is not None
        means.append((product * space.pressed).sum() / space.pressed_sum)
    return torch.stack(means), torch.tensor([space.weight for space in spaces], device=device)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum()


def removed_share(gates: StochasticGates, plan: GatePlan, closed: Tensor) -> float:
    """Share that is removed when `closed`, (gates,), are: in the target's unit, exact."""
    if plan.config.target_unit == "encoder_weights":
        widths = folded_widths(plan.shape, gate_masks(gates, plan, closed))
        return 1 - folded_weights(plan.shape, widths) / plan.shape.encoder_weights
    weights = plan.weights if plan.config.allocation == "budget" else torch.ones_like(plan.weights)
    return float(weights[closed.cpu()].sum() / weights.sum())


def gate_masks(gates: StochasticGates, plan: GatePlan, closed: Tensor) -> list[LayerMasks]:
    """For each block, role -> (rows kept, columns kept) as the ladder counts them."""
    kept = {key: value.numpy() for key, value in gates.split(~closed.cpu()).items()}
    masks: list[LayerMasks] = []
    for layer in range(plan.shape.layers):
        sides: dict[tuple[str, str], np.ndarray] = {}
        for name, kind in plan.kinds.items():
            mask = kept[f"{layer}/{name.replace('.', '_')}"]
            if kind.per_head:
                mask = mask.repeat(plan.shape.head_size)
            for place in kind.removes:
                sides[place] = sides[place] & mask if place in sides else mask
        roles = {role for role, _ in sides}
        masks.append(
            {r: (sides.get((r, "rows")), sides.get((r, "columns"))) for r in sorted(roles)}
        )
    return masks


@torch.no_grad()
def shift_to_target(gates: StochasticGates, plan: GatePlan, target: float) -> None:
    """Add one number to all logits so that the expected share removed is `target`.

    The projection of ProbMask (arXiv 2105.10938) for Gaussian gates; found by bisection.
    """
    original = gates.logit.detach().clone()
    spaces = _spaces(gates, plan) if plan.config.target_unit == "encoder_weights" else None
    low, high = -0.5, 0.5
    for _ in range(12):
        middle = (low + high) / 2
        gates.logit.copy_(original + middle)
        means, weights = expected_kept(gates, plan, spaces)
        if plan.config.allocation == "budget":
            kept = float((means * weights).sum() / weights.sum())
        else:
            kept = float(means.mean())
        reach = plan.reachable if plan.config.target_unit == "encoder_weights" else 1.0
        if 1 - kept > target / reach:
            low = middle
        else:
            high = middle
    gates.logit.copy_(original + high)


def ladder_of(gates: StochasticGates, plan: GatePlan) -> Ladder:
    """Every rung that can be counted from the gates' values in evaluation."""
    closed = gates.value().detach().cpu() == 0
    return count_ladder(
        plan.shape,
        gate_masks(gates, plan, closed),
        target=plan.config.target,
        target_unit=plan.config.target_unit,
        gates_closed=int(closed.sum()),
        gates_total=closed.numel(),
    )
