"""Movement pruning: scores learned through a straight-through mask of the best gates."""

from typing import TYPE_CHECKING

from finegates_engine.gates.closing import closed_at_target
from finegates_engine.gates.gate import ScoredGates
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.schedule import Moment
from finegates_engine.methods.base import GateMethod

if TYPE_CHECKING:
    from finegates_engine.train.trainer import GateTrainer


class Movement(GateMethod):
    """Structured movement pruning (Sanh et al. 2020, arXiv 2005.07683; Lagunas et al. 2021).

    A score falls while the gradient wants its gate smaller. The base weights stay frozen here:
    what moves is the gate. The scores' order does not depend on their learning rate. The mask is
    that of the rising target (`ramp`), after an open phase (`open_start`) that collects scores.
    """

    def prepare(self, model: TextClassifier) -> None:
        """Gates with scores."""
        super().prepare(model)
        assert model.gates is not None
        model.gates = ScoredGates(model.gates.sizes)

    def begin_step(self, trainer: "GateTrainer", now: Moment, before: Moment | None) -> None:
        """Masks the gates with the lowest scores."""
        gates = trainer.classifier.gates
        assert isinstance(gates, ScoredGates)
        assert self.plan is not None
        if now.phase == "learn" and not gates.fixed:
            gates.masked.copy_(closed_at_target(gates, self.plan, now.target))
        super().begin_step(trainer, now, before)
