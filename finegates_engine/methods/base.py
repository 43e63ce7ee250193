"""What a method is: what it puts into the model, and what it does around each training step."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finegates_engine.config import RunConfig
from finegates_engine.gates.closing import closed_at_target
from finegates_engine.gates.compact import compact
from finegates_engine.gates.model import TextClassifier, add_gates
from finegates_engine.gates.schedule import Moment, moment
from finegates_engine.gates.sparsity import GatePlan, plan_gates
from finegates_engine.method_table import options_of, spec_of
from finegates_engine.methods.calibration import TrainingRows

if TYPE_CHECKING:
    from finegates_engine.train.trainer import GateTrainer


class Method:
    """One method in one training. This one trains the head of a frozen model, and nothing else."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.spec = spec_of(config.method)
        self.options = options_of(config.method, config.method_options)
        self.plan: GatePlan | None = None
        self.weights_left: int | None = None
        """Linear weights left in the blocks, where a method without gates takes some away."""

    def prepare(self, model: TextClassifier) -> None:
        """Put into the frozen model what is trained. Raises UserError where it does not fit."""

    def start(self, model: TextClassifier, rows: TrainingRows) -> None:
        """Called once after `prepare` and any warm start, before the first step or a resume."""

    def rates(self) -> dict[str, float]:
        """Learning rate of each part of the trained values (`model.PARTS`)."""
        train = self.config.train
        scale = train.path_rate if self.config.path else 1.0
        rates = {
            "gates": train.gate_lr,
            "biases": train.bias_lr,
            "low_rank": train.low_rank_lr,
            "head": train.head_lr,
            "backbone": self.options.get("rate", train.backbone_lr),
        }
        return {part: scale * rate for part, rate in rates.items()}

    def moment(self, done: float, *, start: float) -> Moment:
        """Phase and target after a share `done` of the training; start: share closed before."""
        return moment(self.config, done, start=start)

    def begin_step(self, trainer: "GateTrainer", now: Moment, before: Moment | None) -> None:
        """Called before each step. before: the moment of the step before; None: the first."""

    def penalty(self, trainer: "GateTrainer") -> Tensor | None:
        """What is added to the loss of a training batch; a scalar."""
        return None

    def end_step(self, trainer: "GateTrainer") -> None:
        """Called after each step of the optimiser, before gradients are cleared."""

    def end(self, model: TextClassifier) -> None:
        """Called after the last step, perhaps more than once."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the trained values."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""


class GateMethod(Method):
    """A method that closes gates: they end exactly 0 or 1, at the target."""

    def prepare(self, model: TextClassifier) -> None:
        """Puts gates around the frozen matrices."""
        add_gates(model, self.config.gates, self.config.model, seed=self.config.seed)
        self.plan = plan_gates(model, self.config.gates)

    def importance(self, model: TextClassifier) -> Tensor | None:
        """Order in which gates stay, (gates,), the lowest close first. None: that of the logits."""
        return None

    def begin_step(self, trainer: "GateTrainer", now: Moment, before: Moment | None) -> None:
        """Fixes the gates when it is time."""
        if now.phase == "fixed":
            self.fix(trainer.classifier)

    @torch.no_grad()
    def fix(self, model: TextClassifier) -> None:
        """Close the least important gates at the exact target, set the others to 1, for good."""
        gates = model.gates
        assert gates is not None
        assert self.plan is not None
        if gates.fixed:
            return
        with torch.enable_grad():
            importance = self.importance(model)
        if importance is not None:
            gates.rank(importance)
        gates.fix(closed_at_target(gates, self.plan, self.config.gates.target))
        compact(model)

    def end(self, model: TextClassifier) -> None:
        """A training of too few steps may end before its last phase has begun."""
        self.fix(model)
