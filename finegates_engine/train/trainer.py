"""Hugging Face's Trainer with a method's penalty and schedule, and small checkpoints."""

import json
import math
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, Trainer, TrainingArguments

from finegates_engine.config import RunConfig
from finegates_engine.gates.model import (
    PARTS,
    TextClassifier,
    adapter_state,
    load_adapter_state,
    trained_parameters,
)
from finegates_engine.gates.schedule import Moment
from finegates_engine.methods.base import Method
from finegates_engine.methods.calibration import task_loss
from finegates_engine.train.callbacks import MethodSchedule, Reporter
from finegates_engine.train.progress import Progress
from finegates_engine.train.sampler import BucketSampler

STATE_FILE = "trained.safetensors"
CHECKPOINTS = "checkpoint-[0-9]*"
METHOD_STATE = "method."
"""How names of a method's own state begin in a checkpoint."""


class GateTrainer(Trainer):
    """Trainer whose loss adds the penalty of a method, which also acts around each step.

    evaluator: gives the metrics of the validation rows, the headline first. teacher: called once
    gates are pressed, gives logits (rows, outputs). on_progress: told of steps done.
    """

    optimizer: Any
    lr_scheduler: Any
    control: Any

    def __init__(
        self,
        model: TextClassifier,
        config: RunConfig,
        args: TrainingArguments,
        *,
        method: Method,
        label_variance: float,
        evaluator: Callable[["GateTrainer"], dict[str, float]],
        teacher: Callable[[], Tensor] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        **options: Any,
    ) -> None:
        self.config = config
        self.method = method
        self.label_variance = label_variance
        self.evaluator = evaluator
        self.teacher = teacher
        self.teacher_logits: Tensor | None = None
        self.multiplier = config.gates.penalty_weight
        start = config.path[-1] if config.path else 0.0
        self.now = Moment("open", start, 1.0)
        self.last_penalty: Tensor | None = None
        self.frames: dict[int, Tensor] = {}
        super().__init__(model=model, args=args, **options)
        self.remove_callback(PrinterCallback)
        self.add_callback(MethodSchedule(self, start))
        if on_progress is not None:
            self.add_callback(Reporter(on_progress))

    @property
    def classifier(self) -> TextClassifier:
        """The model without any wrapper of accelerate."""
        return cast(TextClassifier, self.model)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Task loss, plus penalty and distillation in training. A scalar."""
        inputs = dict(inputs)
        labels, rows = inputs.pop("labels"), inputs.pop("row")
        logits = model(**inputs)
        loss = task_loss(logits, labels, label_variance=self.label_variance)
        if model.training and self.teacher_logits is not None:
            target = self.teacher_logits.to(logits.device)[rows]
            loss = loss + self.config.gates.distill * self._distance(logits, target)
        extra = self.method.penalty(self) if model.training else None
        if extra is not None:
            loss = loss + extra
        return (loss, logits) if return_outputs else loss

    def _distance(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.classifier.outputs == 1:
            return functional.mse_loss(logits, target) / self.label_variance
        return functional.kl_div(
            logits.log_softmax(-1), target.log_softmax(-1), log_target=True, reduction="batchmean"
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = cast(Any, self.train_dataset)
        a_step = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return BucketSampler(rows.lengths, a_step, seed=self.args.seed)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with one group for each kind of trained value."""
        if self.optimizer is None:
            rates, decay = self.method.rates(), self.config.train.weight_decay
            parts = trained_parameters(self.classifier)
            groups = [
                {
                    "params": list(parts[part].values()),
                    "lr": rates[part],
                    "weight_decay": 0.0 if part in ("gates", "biases") else decay,
                    "part": part,
                }
                for part in PARTS
                if parts[part]
            ]
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return cast(torch.optim.Optimizer, self.optimizer)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Rates over the steps; those of the gates stay constant while gates are learned."""
        if self.lr_scheduler is None:
            optimizer = self.optimizer if optimizer is None else optimizer
            factor = _rate_factor(self.config, num_training_steps)
            constant = _warm_only(self.config, num_training_steps)
            factors = [constant if g["part"] == "gates" else factor for g in optimizer.param_groups]
            self.lr_scheduler = LambdaLR(optimizer, factors)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """Metrics of the validation rows, logged and passed to the callbacks."""
        values = self.evaluator(self)
        metrics = {f"eval_{name}": value for name, value in values.items()}
        final = float(self.method.plan is None or self.now.phase == "fixed")
        self.log({"score": next(iter(values.values())), "gates_final": final, **metrics})
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the state of the gates to what is logged."""
        gates = self.classifier.gates
        if gates is not None:
            value = gates.value().detach()
            closed = float((value == 0).float().mean())
            logs["gates_closed"] = closed
            logs["gates_soft"] = float((value < 1).float().mean()) - closed
            logs["target"] = self.now.target
            if self.last_penalty is not None:
                logs["penalty"] = float(self.last_penalty)
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Only what was trained: the frozen weights are in the backbone's own files."""
        folder = Path(output_dir or cast(str, self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        state = adapter_state(self.classifier)
        state["schedule.multiplier"] = torch.tensor(self.multiplier, dtype=torch.float64)
        if self.frames:
            state["history.steps"] = torch.tensor(list(self.frames))
            state["history.frames"] = torch.stack(list(self.frames.values()))
        if self.teacher_logits is not None:
            state["teacher.logits"] = self.teacher_logits.cpu()
        state |= {METHOD_STATE + name: value for name, value in self.method.state().items()}
        save_file(state, folder / STATE_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        state = load_file(Path(resume_from_checkpoint) / STATE_FILE)
        self.multiplier = float(state.pop("schedule.multiplier"))
        steps, frames = state.pop("history.steps", None), state.pop("history.frames", None)
        if self.config.gates.history_frames and steps is not None and frames is not None:
            self.frames = dict(zip(steps.tolist(), frames, strict=True))
        self.teacher_logits = state.pop("teacher.logits", None)
        own = [name for name in state if name.startswith(METHOD_STATE)]
        self.method.load_state({name.removeprefix(METHOD_STATE): state.pop(name) for name in own})
        load_adapter_state(self.classifier, state)


def _warm_only(config: RunConfig, steps: int) -> Callable[[int], float]:
    warm = max(1.0, config.train.warmup * steps)
    return lambda step: min(1.0, (step + 1) / warm)


def _rate_factor(config: RunConfig, steps: int) -> Callable[[int], float]:
    rise = _warm_only(config, steps)

    def factor(step: int) -> float:
        left = max(0.0, 1 - step / steps)
        if config.train.lr_schedule == "linear":
            return rise(step) * left
        if config.train.lr_schedule == "cosine":
            return rise(step) * 0.5 * (1 + math.cos(math.pi * (1 - left)))
        return rise(step)

    return factor


def newest_checkpoint(folder: Path, *, processes: int = 1) -> Path | None:
    """The last checkpoint that was written whole by the processes that share a training, or None.

    The first process writes `trainer_state.json` last, so a checkpoint that was left unfinished has
    none that parses. Each of the others writes the state of its random numbers when it is ready.
    """

    def step(path: Path) -> int:
        return int(path.name.removeprefix("checkpoint-"))

    whole = [path for path in folder.glob(CHECKPOINTS) if _is_whole(path, processes)]
    return max(whole, key=step, default=None)


def remove_unfinished(folder: Path, *, processes: int = 1) -> None:
    """Remove the checkpoints that are not whole."""
    for path in folder.glob(CHECKPOINTS):
        if not _is_whole(path, processes):
            shutil.rmtree(path, ignore_errors=True)


def _is_whole(checkpoint: Path, processes: int) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    ranks = range(processes) if processes > 1 else ()
    return all(zipfile.is_zipfile(checkpoint / f"rng_state_{rank}.pth") for rank in ranks)
