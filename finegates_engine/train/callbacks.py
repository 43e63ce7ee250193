"""What happens around each step of a training: the method's schedule, and telling of progress."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from finegates_engine.gates.compact import compact
from finegates_engine.gates.schedule import Moment
from finegates_engine.results import MAX_FRAMES
from finegates_engine.train.opening import Opening
from finegates_engine.train.progress import Progress

if TYPE_CHECKING:
    from finegates_engine.train.trainer import GateTrainer

REPORT_SECONDS = 0.5

NOISE_STRIDE = 1_000_003
"""Keeps the noise of neighbouring seeds apart; a prime beyond any number of steps."""


class MethodSchedule(TrainerCallback):
    """Sets phase and target before each step, lets the method act, fixes the gates in time."""

    def __init__(self, trainer: "GateTrainer", start: float) -> None:
        self.trainer = trainer
        self.start = start

    def on_train_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """A resumed training may begin with closed gates."""
        compact(self.trainer.classifier)

    def on_step_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Draws a step's noise from its number, so that a resumed training draws the same."""
        trainer, model = self.trainer, self.trainer.classifier
        if model.noise is not None:
            model.noise.manual_seed(trainer.config.seed * NOISE_STRIDE + state.global_step)
        now = self._moment(state, state.global_step)
        if now.phase != "open" and trainer.teacher is not None and trainer.teacher_logits is None:
            trainer.teacher_logits = trainer.teacher()
        before = self._moment(state, state.global_step - 1) if state.global_step else None
        trainer.method.begin_step(trainer, now, before)
        trainer.now = now
        self._record(state)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Lets the method act on what the optimiser has done; gradients are still there."""
        self.trainer.method.end_step(self.trainer)

    def _moment(self, state: Any, step: int) -> Moment:
        return self.trainer.method.moment(step / state.max_steps, start=self.start)

    def on_evaluate(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Ends the training when the score has not risen for the wanted number of epochs."""
        wanted = self.trainer.config.train.early_stop
        if not wanted or self.trainer.now.phase != "fixed" or self.trainer.method.plan is None:
            return
        scores = [row["score"] for row in state.log_history if row.get("gates_final") == 1]
        if len(scores) > wanted and max(scores[-wanted:]) <= max(scores[:-wanted]):
            control.should_training_stop = True

    def _record(self, state: Any) -> None:
        """Keep the gates at the steps that cut the training into `history_frames` equal parts."""
        wanted, gates = self.trainer.config.gates.history_frames, self.trainer.classifier.gates
        if gates is None or not wanted:
            return
        frames, steps = self.trainer.frames, state.max_steps
        number = -(-(max(frames, default=-1) + 1) * wanted // steps)
        if len(frames) == MAX_FRAMES:  # resumed with another number of them, more than once
            return
        if number < wanted and state.global_step >= number * steps // wanted:
            frames[state.global_step] = (gates.value().detach() * 255).round().byte().cpu()


class KeepOpening(TrainerCallback):
    """Saves a checkpoint at the end of the open phase, and keeps it for cells that begin alike."""

    def __init__(self, trainer: "GateTrainer", opening: Opening, clock: Path) -> None:
        self.trainer = trainer
        self.opening = opening
        self.clock = clock
        self.ended_at: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Asks for the checkpoint after the last open step."""
        after = self.trainer.method.moment(state.global_step / state.max_steps, start=0.0)
        if self.trainer.now.phase == "open" and after.phase != "open":
            self.ended_at, control.should_save = state.global_step, True

    def on_save(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Keeps it."""
        if state.global_step == self.ended_at:
            name = f"checkpoint-{state.global_step}"
            self.opening.keep(Path(args.output_dir) / name, self.clock)


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
