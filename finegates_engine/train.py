"""One run: a config and its data to a result. Writes only under the scratch folder it is given."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from finegates_engine.batches import TokenizedSplit, collate
from finegates_engine.config import RunConfig
from finegates_engine.data import TaskData, tokenize
from finegates_engine.errors import UserError
from finegates_engine.metrics import compute_metrics
from finegates_engine.model import (
    TextClassifier,
    add_gates,
    build_model,
    load_adapter_state,
    trained_parameters,
)
from finegates_engine.sparsity import GatePlan, closed_at_target, plan_gates

EVAL_BATCH = 64
CHECKPOINT_STEPS = 50
"""Steps between checkpoints at most; each holds only what is trained."""


@dataclass(frozen=True)
class Progress:
    """Where a training is, for a bar or a page."""

    step: int
    """Steps done."""

    steps: int
    """Steps planned."""

    score: float | None
    """Last score of the headline metric."""

    seconds_left: float | None
    """Estimate, from the steps of this process."""


@dataclass(frozen=True)
class Trained:
    """A trained model with what was measured on the way."""

    model: TextClassifier
    plan: GatePlan | None
    logits: dict[str, npt.NDArray[np.float32]]
    """Validation split -> (rows, outputs)."""

    metrics: dict[str, dict[str, float]]
    """Validation split -> metric -> value."""

    log: list[dict[str, float]]
    """Rows of the Trainer's log."""

    frames: list[Tensor]
    """Snapshots of the gate values, (gates,) uint8."""

    seconds: float
    steps: int


def fit(
    config: RunConfig,
    data: TaskData,
    folder: Path,
    scratch: Path,
    *,
    warm_start: dict[str, Tensor] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    report_to: tuple[str, ...] = (),
) -> Trained:
    """Train one cell, going on from the newest whole checkpoint under `scratch`.

    folder: the backbone's local files. warm_start: adapter of the level before, on a path.
    report_to: trackers of the Trainer, such as "tensorboard".
    """
    from transformers import AutoTokenizer

    torch.set_num_threads(config.threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    splits = tokenize(data, tokenizer, config.task.max_tokens)
    outputs = 1 if data.labels is None else len(data.labels)
    model = build_model(folder, config.model, outputs=outputs, seed=config.seed)
    plan = _prepare(model, config, data, warm_start)
    pad_id = int(tokenizer.pad_token_id)

    def evaluate() -> dict[str, float]:
        name, split = next(iter(data.validation.items()))
        logits = predict(model, splits[name], pad_id)
        return _metrics(data, logits, split.labels)

    def teacher() -> Tensor:
        return torch.from_numpy(predict(model, splits["train"], pad_id))

    trainer = _trainer(config, model, plan, splits["train"], scratch, pad_id, evaluate, teacher,
                       report_to, on_progress)
    begun = time.monotonic()
    from finegates_engine.trainer import newest_checkpoint

    checkpoint = newest_checkpoint(scratch)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - begun
    logits = {name: predict(model, splits[name], pad_id) for name in data.validation}
    metrics = {
        name: _metrics(data, logits[name], split.labels) for name, split in data.validation.items()
    }
    return Trained(
        model, plan, logits, metrics, trainer.state.log_history, trainer.frames,
        seconds, trainer.state.global_step,
    )


def _prepare(
    model: TextClassifier, config: RunConfig, data: TaskData, warm_start: dict[str, Tensor] | None
) -> GatePlan | None:
    """Gates, start values and what is trained, as the method wants them."""
    with torch.no_grad():
        if model.outputs == 1 and model.head is not None:
            model.head.bias.fill_(float(data.train.labels.mean()))
    if not config.train.dropout:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    if config.train.gradient_checkpointing:
        model.network.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    if config.method == "full":
        model.requires_grad_(True)
        return None
    gates = add_gates(model, config.gates, config.model, seed=config.seed)
    plan = plan_gates(model, config.gates)
    if warm_start is not None:
        load_adapter_state(model, warm_start)
        gates.fixed.fill_(False)
        gates.logit.requires_grad_(True)
    if config.method == "random":
        generator = torch.Generator().manual_seed(config.seed)
        with torch.no_grad():
            gates.logit.copy_(torch.rand(gates.logit.shape, generator=generator))
        gates.fix(closed_at_target(gates, plan, config.gates.target))
    return plan


def _trainer(
    config: RunConfig,
    model: TextClassifier,
    plan: GatePlan | None,
    rows: TokenizedSplit,
    scratch: Path,
    pad_id: int,
    evaluate: Callable[[], dict[str, float]],
    teacher: Callable[[], Tensor],
    report_to: tuple[str, ...],
    on_progress: Callable[[Progress], None] | None,
) -> Any:
    from transformers import TrainingArguments

    from finegates_engine.trainer import GateTrainer

    train = config.train
    epochs = train.path_epochs if config.path else train.epochs
    a_step = train.batch_size * train.accumulate
    epoch_steps = -(-len(rows) // a_step)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=epochs,
        per_device_train_batch_size=train.batch_size,
        gradient_accumulation_steps=train.accumulate,
        max_grad_norm=train.max_grad_norm,
        bf16=config.model.precision == "bf16",
        train_sampling_strategy="group_by_length",
        logging_steps=max(1, int(epoch_steps * epochs) // 100),
        eval_strategy="epoch",
        save_strategy="steps",
        save_steps=CHECKPOINT_STEPS,
        save_total_limit=2,
        report_to=list(report_to) or "none",
        seed=config.seed,
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    start = config.path[-1] if config.path else 0.0
    distill = config.gates.distill and plan is not None
    trainer = GateTrainer(
        model, config, arguments, plan=plan,
        label_variance=float(np.var(rows.labels)) if model.outputs == 1 else 1.0,
        evaluator=evaluate, teacher=teacher if distill else None, start=start,
        train_dataset=rows, eval_dataset=rows, data_collator=lambda batch: collate(batch, pad_id),
    )
    return trainer


@torch.inference_mode()
def predict(
    model: TextClassifier, rows: TokenizedSplit, pad_id: int
) -> npt.NDArray[np.float32]:
    """Logits of all rows in evaluation, (rows, outputs), in the order of the rows.

    Rows of like length share a batch, which changes nothing but the time.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    order = np.argsort(rows.lengths, kind="stable")
    logits = np.zeros((len(rows), model.outputs), dtype=np.float32)
    for start in range(0, len(order), EVAL_BATCH):
        chosen = order[start : start + EVAL_BATCH]
        batch = collate(rows.rows(chosen.tolist()), pad_id)
        del batch["labels"], batch["row"]
        output = model(**{name: value.to(device) for name, value in batch.items()})
        logits[chosen] = output.float().cpu().numpy()
    model.train(was_training)
    return logits


def _metrics(
    data: TaskData, logits: npt.NDArray[np.float32], labels: npt.NDArray[Any]
) -> dict[str, float]:
    return compute_metrics(data.spec.metrics or (), logits, labels)
