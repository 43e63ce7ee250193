"""What happens around each step of a training: the gates' schedule, and telling of progress."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from finegates_engine.compact import compact
from finegates_engine.config import GateConfig
from finegates_engine.progress import Progress
from finegates_engine.schedule import moment
from finegates_engine.sparsity import closed_at_target, shift_to_target

if TYPE_CHECKING:
    from finegates_engine.trainer import GateTrainer

DUAL_RATE = 0.1
"""Rise of the multiplier a step, per unit of missed share and of the start multiplier."""

REPORT_SECONDS = 0.5

NOISE_STRIDE = 1_000_003
"""Keeps the noise of neighbouring seeds apart; a prime beyond any number of steps."""


class GateSchedule(TrainerCallback):
    """Sets noise, target and phase before each step; closes and compacts when gates are fixed."""

    def __init__(self, trainer: "GateTrainer", start: float) -> None:
        self.trainer = trainer
        self.start = start

    def on_train_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """A resumed training may begin with closed gates."""
        compact(self.trainer.classifier)

    def on_step_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Draws a step's noise from its number, so that a resumed training draws the same."""
        trainer, model = self.trainer, self.trainer.classifier
        config, gates = trainer.config, model.gates
        if gates is None or trainer.plan is None:
            return
        assert model.noise is not None
        model.noise.manual_seed(config.seed * NOISE_STRIDE + state.global_step)
        done = state.global_step / state.max_steps
        now = moment(config.gates, done, start=self.start)
        if now.phase != "open" and trainer.teacher is not None and trainer.teacher_logits is None:
            trainer.teacher_logits = trainer.teacher()
        if now.phase != "open" and self._was_open(config.gates, state):
            self._rank()
        if now.phase == "fixed":
            self._fix()
        trainer.now = now
        gates.noise_std = config.gates.noise_std * now.noise_scale
        if now.phase == "open" and config.gates.start == "fisher":
            gates.noise_std = 0.0  # gradients where every gate is open
        gates.penalty_std = config.gates.penalty_std * now.noise_scale
        self._record(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Holds the expected share at the target, where the penalty alone does not."""
        trainer, gates = self.trainer, self.trainer.classifier.gates
        if gates is None or trainer.plan is None or trainer.now.phase != "learn":
            return
        if trainer.config.gates.controller == "shift":
            shift_to_target(gates, trainer.plan, trainer.now.target)
        elif trainer.config.gates.controller == "dual" and trainer.last_penalty is not None:
            weight = trainer.config.gates.penalty_weight
            trainer.multiplier += DUAL_RATE * weight * float(trainer.last_penalty)

    def on_train_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """A training of too few steps may end before its last phase has begun."""
        if self.trainer.config.gates.finish:
            self._fix()

    def _fix(self) -> None:
        trainer, gates = self.trainer, self.trainer.classifier.gates
        if gates is None or trainer.plan is None or gates.fixed:
            return
        gates.fix(closed_at_target(gates, trainer.plan, trainer.config.gates.target))
        compact(trainer.classifier)

    def on_evaluate(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Ends the training when the score has not risen for the wanted number of epochs."""
        wanted = self.trainer.config.train.early_stop
        if not wanted or self.trainer.now.phase != "fixed" or self.trainer.plan is None:
            return
        scores = [row["score"] for row in state.log_history if row.get("gates_final") == 1]
        if len(scores) > wanted and max(scores[-wanted:]) <= max(scores[:-wanted]):
            control.should_training_stop = True

    def _was_open(self, config: GateConfig, state: Any) -> bool:
        before = (state.global_step - 1) / state.max_steps
        return state.global_step > 0 and moment(config, before, start=self.start).phase == "open"

    def _rank(self) -> None:
        """Order gates by AdamW's running mean of their squared gradients, once it has one."""
        trainer, gates = self.trainer, self.trainer.classifier.gates
        if trainer.config.gates.start != "fisher" or gates is None or gates.fixed:
            return
        seen = trainer.optimizer.state.get(gates.logit, {}).get("exp_avg_sq")
        if seen is not None:
            gates.rank(seen.detach())

    def _record(self, state: Any) -> None:
        wanted = self.trainer.config.gates.history_frames
        due = math.floor(len(self.trainer.frames) * state.max_steps / max(1, wanted))
        if wanted and len(self.trainer.frames) < wanted and state.global_step >= due:
            gates = self.trainer.classifier.gates
            assert gates is not None
            self.trainer.frames.append((gates.value().detach() * 255).round().byte().cpu())


class Reporter(TrainerCallback):
    """Tells a listener of the steps done, at most about twice a second."""

    def __init__(self, listener: Callable[[Progress], None]) -> None:
        self.listener = listener
        self.begun = self.told = 0.0
        self.first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Starts the clock."""
        self.begun, self.first = time.monotonic(), state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Tells the listener."""
        now = time.monotonic()
        if now - self.told < REPORT_SECONDS and state.global_step < state.max_steps:
            return
        self.told = now
        scores = [row["score"] for row in state.log_history if "score" in row]
        rate = (now - self.begun) / max(1, state.global_step - self.first)
        left = rate * (state.max_steps - state.global_step)
        score = scores[-1] if scores else None
        self.listener(Progress(state.global_step, state.max_steps, score, left))
