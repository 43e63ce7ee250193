"""FineGates' gates closed step by step, by the Fisher information that each one has at the time."""

from typing import TYPE_CHECKING

import torch

from finegates_engine.gates.closing import closed_at_target
from finegates_engine.gates.compact import compact
from finegates_engine.gates.gate import ScoredGates
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.schedule import Moment
from finegates_engine.gates.sparsity import removed_share
from finegates_engine.methods.base import GateMethod

if TYPE_CHECKING:
    from finegates_engine.train.trainer import GateTrainer

MEMORY = 0.95
"""Of the running mean of squared gradients, a step: about the last twenty batches."""

ROUNDS = 16
"""Gates close in this many equal parts of the target at the most; each costs a new layout."""


class FisherGates(GateMethod):
    """Closes gates for good along the rising target, those that say least about the task first.

    The score of a gate is the running mean of its squared gradient (its Fisher information, as in
    Kwon et al. 2022, arXiv 2204.09656), over the weights that it removes alone. It is measured on
    what is still open, so that a gate whose work has gone to it is scored anew. Nothing is drawn,
    and what is closed is no longer computed.
    """

    def prepare(self, model: TextClassifier) -> None:
        """Gates with scores."""
        super().prepare(model)
        assert model.gates is not None
        model.gates = ScoredGates(model.gates.sizes)

    def rates(self) -> dict[str, float]:
        """The optimiser leaves the scores alone."""
        return super().rates() | {"gates": 0.0}

    def begin_step(self, trainer: "GateTrainer", now: Moment, before: Moment | None) -> None:
        """Closes what is due; fixes the gates when it is time."""
        gates, plan = trainer.classifier.gates, self.plan
        assert gates is not None
        assert plan is not None
        if now.phase == "learn" and not gates.fixed:
            due = now.target - removed_share(gates, plan, gates.closed)
            if due >= plan.config.target / ROUNDS:
                gates.close(closed_at_target(gates, plan, now.target))
                compact(trainer.classifier)
        super().begin_step(trainer, now, before)

    @torch.no_grad()
    def end_step(self, trainer: "GateTrainer") -> None:
        """Keeps the scores; the optimiser has not cleared the gradients yet."""
        gates, plan = trainer.classifier.gates, self.plan
        assert gates is not None
        assert plan is not None
        if gates.fixed or gates.logit.grad is None:
            return
        information = gates.logit.grad**2 / plan.weights.to(gates.logit.device)
        gates.logit.lerp_(information, 1 - MEMORY)
