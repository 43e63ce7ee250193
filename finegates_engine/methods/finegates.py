"""FineGates: stochastic gates, ranked by Fisher information, learned, then fixed."""

from typing import TYPE_CHECKING

from torch import Tensor

from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.schedule import Moment
from finegates_engine.gates.sparsity import penalty, shift_to_target
from finegates_engine.gates.units import closing_units
from finegates_engine.methods.base import GateMethod

if TYPE_CHECKING:
    from finegates_engine.train.trainer import GateTrainer

DUAL_RATE = 0.1
"""Rise of the multiplier a step, per unit of missed share and of the start multiplier."""


class FineGates(GateMethod):
    """Stochastic gates under a penalty (arXiv 2412.12951, 2602.09169)."""

    def begin_step(self, trainer: "GateTrainer", now: Moment, before: Moment | None) -> None:
        """Ranks gates at the end of the open phase; sets the noise of the step."""
        config, gates = self.config.gates, trainer.classifier.gates
        assert gates is not None
        if now.phase != "open" and before is not None and before.phase == "open":
            self._rank(trainer)
        super().begin_step(trainer, now, before)
        gates.noise_std = config.noise_std * now.noise_scale
        if now.phase == "open" and config.start == "fisher":
            gates.noise_std = 0.0  # gradients where every gate is open
        gates.penalty_std = config.penalty_std * now.noise_scale

    def _rank(self, trainer: "GateTrainer") -> None:
        """Order gates by AdamW's running mean of their squared gradients, once it has one."""
        gates = trainer.classifier.gates
        if self.config.gates.start != "fisher" or gates is None or gates.fixed:
            return
        seen = trainer.optimizer.state.get(gates.logit, {}).get("exp_avg_sq")
        if seen is not None:
            assert self.plan is not None
            gates.rank(closing_units(gates, self.plan, seen.detach().cpu())[1])

    def penalty(self, trainer: "GateTrainer") -> Tensor | None:
        """The multiplier times the distance of the expected share from the target."""
        gates = trainer.classifier.gates
        if trainer.now.phase != "learn" or gates is None or gates.fixed:
            return None
        assert self.plan is not None
        distance = penalty(gates, self.plan, trainer.now.target)
        trainer.last_penalty = distance.detach()
        return None if self.config.gates.controller == "shift" else trainer.multiplier * distance

    def end_step(self, trainer: "GateTrainer") -> None:
        """Holds the expected share at the target, where the penalty alone does not."""
        config, gates = self.config.gates, trainer.classifier.gates
        if trainer.now.phase != "learn" or gates is None:
            return
        assert self.plan is not None
        if config.controller == "shift":
            shift_to_target(gates, self.plan, trainer.now.target)
        elif config.controller == "dual" and trainer.last_penalty is not None:
            trainer.multiplier += DUAL_RATE * config.penalty_weight * float(trainer.last_penalty)

    def end(self, model: TextClassifier) -> None:
        """Without a last phase the gates stay as they were learned."""
        if self.config.phases.finish:
            self.fix(model)
