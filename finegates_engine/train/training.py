"""One training: a config and its data to a trained model. Writes only under its scratch folder."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from finegates_engine.config import RunConfig
from finegates_engine.data.batches import TokenizedSplit, collate
from finegates_engine.data.load import TaskData
from finegates_engine.data.tokens import TaskTokens, task_tokens
from finegates_engine.fold.dimensions import EncoderShape
from finegates_engine.gates.kurtosis import kurtosis_pressure
from finegates_engine.gates.model import TextClassifier, build_model, load_adapter_state
from finegates_engine.gates.sparsity import GatePlan, encoder_shape
from finegates_engine.methods import method_of
from finegates_engine.methods.base import Method
from finegates_engine.methods.calibration import TrainingRows
from finegates_engine.train.adapters import round_trained
from finegates_engine.train.evaluation import EVAL_BATCH, Logits, predict, task_metrics
from finegates_engine.train.opening import CLOCK_FILE, Opening
from finegates_engine.train.progress import Progress

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from finegates_engine.train.trainer import GateTrainer

CHECKPOINT_STEPS = 50
"""Steps between checkpoints at most; each holds only what is trained."""

LOGGED_ROWS = 100
"""Rows in a run's history, about."""

KURTOSIS_ROWS = 256
"""Training rows whose activations weight the penalty, where that is asked for."""


@dataclass(frozen=True)
class Trained:
    """A trained model with what was measured on the way."""

    model: TextClassifier
    method: Method
    """The method, as it ended."""

    shape: EncoderShape
    """Sizes of the dense model, without what the method has added."""

    logits: dict[str, Logits]
    """Validation split -> (rows, outputs)."""

    metrics: dict[str, dict[str, float]]
    """Validation split -> metric -> value."""

    log: list[dict[str, float]]
    """Rows of the Trainer's log."""

    frames: dict[int, Tensor]
    """Snapshots of the gate values, (gates,) uint8, by optimizer step."""

    seconds: float
    """Of the training in this process; less than its whole cost when it was resumed."""

    steps: int
    """Optimizer steps in all."""

    @property
    def plan(self) -> GatePlan | None:
        """What its gates take away; None for a method without gates."""
        return self.method.plan


def fit(
    config: RunConfig,
    data: TaskData,
    folder: Path,
    scratch: Path,
    *,
    tokens: TaskTokens | None = None,
    warm_start: Mapping[str, Tensor] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    report_to: tuple[str, ...] = (),
    opening: Opening | None = None,
) -> Trained:
    """Train one cell, going on from the newest whole checkpoint under `scratch`.

    folder: the backbone's local files. tokens: the rows, where they are tokenised already.
    warm_start: adapter of the run that it starts from: on a path the level before, or that with
    nothing removed for a method that trains no further. report_to: trackers of the Trainer, such
    as "tensorboard". opening: where the open phase is kept for others.

    Raises UserError for a target out of reach or a backbone that is not supported.
    """
    torch.set_num_threads(config.threads)
    if tokens is None:
        tokens = task_tokens(data, folder, config.task.max_tokens)
    model = build_model(folder, config.model, outputs=len(data.labels or "1"), seed=config.seed)
    shape, rows = encoder_shape(model), tokens.splits["train"]
    training = TrainingRows(rows, tokens.pad_id, _variance(model, rows))
    method = method_of(config)
    _prepare(model, method, training, warm_start)
    scores = _Scores(model, data, tokens)
    arguments = _arguments(config, len(rows), scratch, report_to)
    trainer = _trainer(method, training, scores, arguments, on_progress)
    if opening is not None:
        _keep_opening(trainer, opening, scratch)
    seconds = _run(trainer, scratch)
    scores.finish(trainer)
    return Trained(
        model=model,
        method=method,
        shape=shape,
        logits=scores.final,
        metrics={name: scores.metrics(name, logits) for name, logits in scores.final.items()},
        log=trainer.state.log_history,
        frames=trainer.frames,
        seconds=seconds,
        steps=trainer.state.global_step,
    )


class _Scores:
    """Outputs of a model and their metrics: at any moment, and once of the model as stored."""

    def __init__(self, model: TextClassifier, data: TaskData, tokens: TaskTokens) -> None:
        self.model = model
        self.data = data
        self.tokens = tokens
        self.headline = next(iter(data.validation))
        self.final: dict[str, Logits] = {}

    def outputs(self, split: str) -> Logits:
        """Logits on a split, as the model is now."""
        return predict(self.model, self.tokens.splits[split], self.tokens.pad_id)

    def metrics(self, split: str, logits: Logits) -> dict[str, float]:
        """The task's metrics of logits on a validation split, the headline first."""
        return task_metrics(self.data, logits, self.data.validation[split].labels)

    def now(self, trainer: "GateTrainer") -> dict[str, float]:
        """Metrics on the first validation split; after the last step, those that are stored."""
        if trainer.state.global_step >= trainer.state.max_steps:
            self.finish(trainer)
        logits = self.final[self.headline] if self.final else self.outputs(self.headline)
        return self.metrics(self.headline, logits)

    def finish(self, trainer: "GateTrainer") -> None:
        """Make the model what is stored, and keep its outputs on each validation split; once."""
        if not self.final:
            _complete(trainer)
            self.final = {name: self.outputs(name) for name in self.data.validation}


def _trainer(
    method: Method,
    training: TrainingRows,
    scores: _Scores,
    arguments: "TrainingArguments",
    on_progress: Callable[[Progress], None] | None,
) -> "GateTrainer":
    """The Trainer of a prepared model."""
    from finegates_engine.train.trainer import GateTrainer

    config, pad_id = method.config, training.pad_id
    distils = bool(config.gates.distill) and method.plan is not None
    return GateTrainer(
        scores.model,
        config,
        arguments,
        method=method,
        label_variance=training.label_variance,
        evaluator=scores.now,
        teacher=(lambda: torch.from_numpy(scores.outputs("train"))) if distils else None,
        on_progress=on_progress,
        train_dataset=training.split,
        eval_dataset=scores.tokens.splits[scores.headline],
        data_collator=lambda some: collate(some, pad_id, max_tokens=config.task.max_tokens),
    )


def _keep_opening(trainer: "GateTrainer", opening: Opening, scratch: Path) -> None:
    from finegates_engine.train.callbacks import KeepOpening

    trainer.add_callback(KeepOpening(trainer, opening, scratch / CLOCK_FILE))


def _run(trainer: "GateTrainer", scratch: Path) -> float:
    """Train from the newest whole checkpoint to the end; the seconds it took here."""
    from finegates_engine.train.trainer import newest_checkpoint

    begun = time.monotonic()
    if not trainer.method.spec.starts_trained:
        checkpoint = newest_checkpoint(scratch, processes=trainer.args.world_size)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return time.monotonic() - begun


def _complete(trainer: "GateTrainer") -> None:
    """The trained model as it is stored: gates final, values rounded, scores in fp32."""
    trainer.method.end(trainer.classifier)
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if trainer.classifier.gates is not None:
        round_trained(trainer.classifier)


def _prepare(
    model: TextClassifier,
    method: Method,
    rows: TrainingRows,
    warm_start: Mapping[str, Tensor] | None,
) -> None:
    """Start values and what is trained, as the method wants them."""
    config = method.config
    if model.outputs == 1 and model.head is not None:
        nn.init.constant_(model.head.bias, float(rows.split.labels.mean()))
    if not config.train.dropout:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    if config.train.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    method.prepare(model)
    assert warm_start is not None or not method.spec.starts_trained
    if warm_start is not None:
        load_adapter_state(model, dict(warm_start))
        if model.gates is not None:
            model.gates.learn_again()
    if config.gates.kurtosis and method.plan is not None:
        method.plan = replace(method.plan, pressure=_pressure(model, method.plan, rows))
    method.start(model, rows)


def _pressure(model: TextClassifier, plan: GatePlan, training: TrainingRows) -> Tensor:
    batches, rows, pad_id = [], training.split, training.pad_id
    for start in range(0, min(KURTOSIS_ROWS, len(rows)), EVAL_BATCH):
        batch = collate(rows.rows(range(start, min(start + EVAL_BATCH, len(rows)))), pad_id)
        del batch["labels"], batch["row"]
        batches.append(batch)
    return kurtosis_pressure(model, batches, plan)


def _arguments(
    config: RunConfig, rows: int, scratch: Path, report_to: tuple[str, ...]
) -> "TrainingArguments":
    from transformers import TrainingArguments

    train = config.train
    epochs = train.path_epochs if config.path else train.epochs
    steps = int(epochs * -(-rows // (train.batch_size * train.accumulate)))
    has_gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=epochs,
        per_device_train_batch_size=train.batch_size,
        gradient_accumulation_steps=train.accumulate,
        max_grad_norm=train.max_grad_norm,
        bf16=config.model.precision == "bf16",
        use_cpu=not has_gpu,
        logging_steps=max(1, steps // LOGGED_ROWS),
        eval_strategy="epoch",
        save_strategy="steps",
        save_steps=CHECKPOINT_STEPS,
        save_total_limit=2,
        report_to=list(report_to) or "none",
        seed=config.seed,
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=True,  # gates get no gradient once they are fixed
        dataloader_pin_memory=has_gpu,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # DataParallel's copies would share no gates; see torchrun instead
    return arguments


def _variance(model: TextClassifier, rows: TokenizedSplit) -> float:
    """Variance of regression labels, by which their loss is divided; 1 for classes."""
    return max(1e-12, float(np.var(rows.labels))) if model.outputs == 1 else 1.0
