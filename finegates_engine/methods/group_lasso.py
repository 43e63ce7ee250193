"""Group lasso on gates: the norm of what each scales shrinks by a constant a step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.model import TextClassifier, iter_gated_layers
from finegates_engine.gates.schedule import Moment
from finegates_engine.gates.sparsity import removed_share
from finegates_engine.methods.base import GateMethod
from finegates_engine.methods.calibration import TrainingRows
from finegates_engine.methods.one_shot import effective_weight, removed_norms

if TYPE_CHECKING:
    from finegates_engine.train.trainer import GateTrainer


TIE = 1e-5
"""Weight of the norms in the order of factors: far below a step of any factor."""

TINY = 1e-12


class FactorGates(StochasticGates):
    """Gates that are a factor in [0, 1], kept in `logit`, 1 at first; learned once `pressed`."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__(sizes, noise_std=0.0)
        nn.init.ones_(self.logit)
        self.pressed = False

    def value(self) -> Tensor:
        """Values, (gates,), in [0, 1]."""
        if self.fixed or not self.pressed:
            return (~self.closed).to(self.logit.dtype)
        return self.logit.masked_fill(self.closed, 0)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """The same: there is no noise."""
        return self.value()


class GroupLasso(GateMethod):
    """Group lasso on rows and columns (Wen et al. 2016, arXiv 1608.03665), on frozen weights.

    The norm of a group under its gate z is z times the norm of its weights. The proximal step
    takes a constant off that norm, so that small groups are gone first unless the loss holds them.
    It is taken after each step of the learning phase, as long as less than the schedule's target
    is at 0; a group of mean norm that nothing holds is gone after 1 / `strength` of the phase.
    Then gates are fixed in the order of their factors, those at 0 in that of their norms; the ones
    that stay are 1 again, without the shrinkage.
    """

    norms: Tensor
    """Of the weights that each gate removes, (gates,)."""

    def prepare(self, model: TextClassifier) -> None:
        """Gates that are factors."""
        super().prepare(model)
        assert model.gates is not None
        model.gates = FactorGates(model.gates.sizes)

    def start(self, model: TextClassifier, rows: TrainingRows) -> None:
        """Takes the norms of the groups."""
        squares = {(i, role): effective_weight(la) ** 2 for i, role, la in iter_gated_layers(model)}
        self.norms = removed_norms(model, squares)

    def importance(self, model: TextClassifier) -> Tensor:
        """Factors; those that are equal in the order of their norms."""
        assert model.gates is not None
        norms = self.norms.to(model.gates.logit.device)
        return model.gates.logit + TIE * norms / norms.max()

    def rates(self) -> dict[str, float]:
        """Its gates need a higher rate: they travel from 1 to 0."""
        return super().rates() | {"gates": self.options["rate"]}

    def begin_step(self, trainer: "GateTrainer", now: Moment, before: Moment | None) -> None:
        """Gates are open until they are pressed."""
        gates = trainer.classifier.gates
        assert isinstance(gates, FactorGates)
        gates.pressed = now.phase == "learn"
        super().begin_step(trainer, now, before)

    @torch.no_grad()
    def end_step(self, trainer: "GateTrainer") -> None:
        """The proximal step, and back into [0, 1]."""
        gates = trainer.classifier.gates
        if trainer.now.phase != "learn" or gates is None or gates.fixed:
            return
        assert self.plan is not None
        if removed_share(gates, self.plan, gates.logit == 0) < trainer.now.target:
            norms = self.norms.to(gates.logit.device)
            phase = self.config.phases.learning * trainer.state.max_steps
            step = self.options["strength"] / max(1.0, phase)
            gates.logit.sub_(step * norms.mean() / norms.clamp(min=TINY))
        gates.logit.clamp_(0, 1)
