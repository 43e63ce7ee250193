"""L0 masks: hard-concrete gates whose expected share is held at the target by multipliers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from finegates_engine.config import RunConfig
from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.schedule import Moment
from finegates_engine.gates.sparsity import GatePlan, expected_kept
from finegates_engine.methods.base import GateMethod

if TYPE_CHECKING:
    from finegates_engine.train.trainer import GateTrainer

TEMPERATURE = 2 / 3  # arXiv 1712.01312, section 4
LOW, HIGH = -0.1, 1.1
START = 2.5
"""First logits: gates are then kept with probability 0.98."""

TINY = 1e-6


class HardConcreteGates(StochasticGates):
    """Gates drawn from the hard-concrete distribution of `logit`, (gates,), once `pressed`.

    Louizos et al. 2018, arXiv 1712.01312: a stretched and clipped binary concrete value.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__(sizes, noise_std=0.0)
        nn.init.constant_(self.logit, START)
        self.pressed = False

    def value(self) -> Tensor:
        """Values without noise, (gates,), in [0, 1]."""
        if self.fixed or not self.pressed:
            return (~self.closed).to(self.logit.dtype)
        return self._stretched(torch.sigmoid(self.logit))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Values with noise, (gates,), in [0, 1]; the noise is drawn on the generator's device."""
        if self.fixed or not self.pressed:
            return self.value()
        device = generator.device if generator is not None else torch.device("cpu")
        share = torch.rand(self.logit.shape, generator=generator, device=device)
        noise = torch.logit(share.clamp(TINY, 1 - TINY)).to(self.logit.device)
        return self._stretched(torch.sigmoid((noise + self.logit) / TEMPERATURE))

    def _stretched(self, share: Tensor) -> Tensor:
        return (share * (HIGH - LOW) + LOW).clamp(0, 1).masked_fill(self.closed, 0)

    def kept_probability(self) -> Tensor:
        """Probability of each gate to be above 0, (gates,)."""
        probability = torch.sigmoid(self.logit - TEMPERATURE * math.log(-LOW / HIGH))
        return probability.masked_fill(self.closed, 0)


class HardConcrete(GateMethod):
    """L0 masks with a Lagrangian target, as in CoFi (Xia et al. 2022, arXiv 2204.00408).

    Its masks alone: base weights stay frozen, there is no distillation, and the gates are those
    of the configuration instead of CoFi's heads, layers and dimensions. Added to the loss is
    a (removed - target) + b (removed - target)^2, with a and b raised by gradient ascent. After
    the learning phase gates are fixed in the order of their logits.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.multipliers = torch.zeros(2, dtype=torch.float64)
        self.gap = 0.0

    def prepare(self, model: TextClassifier) -> None:
        """Gates with the hard-concrete distribution."""
        super().prepare(model)
        assert model.gates is not None
        model.gates = HardConcreteGates(model.gates.sizes)

    def rates(self) -> dict[str, float]:
        """Its gates need a higher rate: their logits travel from 2.5 to below -2."""
        return super().rates() | {"gates": self.options["rate"]}

    def begin_step(self, trainer: "GateTrainer", now: Moment, before: Moment | None) -> None:
        """Gates are open until they are pressed."""
        gates = trainer.classifier.gates
        assert isinstance(gates, HardConcreteGates)
        gates.pressed = now.phase == "learn"
        super().begin_step(trainer, now, before)

    def penalty(self, trainer: "GateTrainer") -> Tensor | None:
        """The two terms of the Lagrangian."""
        gates = trainer.classifier.gates
        if trainer.now.phase != "learn" or gates is None or gates.fixed:
            return None
        assert self.plan is not None
        gap = expected_removed(gates, self.plan) - trainer.now.target
        self.gap = float(gap.detach())
        trainer.last_penalty = gap.detach().abs()
        first, second = self.multipliers.tolist()
        penalty: Tensor = first * gap + second * gap**2
        return penalty

    def end_step(self, trainer: "GateTrainer") -> None:
        """Raises the multipliers while the target is missed."""
        if trainer.now.phase == "learn":
            steps = torch.tensor([self.gap, self.gap**2], dtype=torch.float64)
            self.multipliers += self.options["ascent"] * steps

    def state(self) -> dict[str, Tensor]:
        """The multipliers."""
        return {"multipliers": self.multipliers}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.multipliers = state["multipliers"]


def expected_removed(gates: StochasticGates, plan: GatePlan) -> Tensor:
    """Expected share removed, in the target's unit; a scalar with a gradient."""
    means, weights = expected_kept(gates, plan)
    reach = plan.reachable if plan.config.target_unit == "encoder_weights" else 1.0
    if plan.config.allocation == "budget":
        return reach * (1 - (means * weights).sum() / weights.sum())
    return reach * (1 - means.mean())
