"""Measure the parity of a compiled run over its whole validation rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finegates_engine.data.batches import TokenizedSplit, collate
from finegates_engine.data.load import TaskData, load_task, text_hashes, tokenize
from finegates_engine.environment import collect_environment
from finegates_engine.errors import UserError
from finegates_engine.fold.block import FoldOptions
from finegates_engine.folded import FoldedClassifier
from finegates_engine.parity import (
    STORED_BOUND,
    Certificate,
    Form,
    Parity,
    alone_bound,
    compare,
    options_of,
)
from finegates_engine.prune.compiled import CompiledRun
from finegates_engine.results import probability_columns
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.train.cell import probabilities
from finegates_engine.train.evaluation import predict, task_metrics

ALONE_ROWS = 32
"""Rows that are also run alone, without padding."""

Logits = dict[str, NDArray[np.float32]]
"""Validation split -> (rows, outputs)."""

Predictor = Callable[[TokenizedSplit, int], NDArray[np.float32]]
"""(rows of a split, id of the padding token) -> logits (rows, outputs)."""


def task_of(run: StoredRun, data: Path | None = None) -> TaskData:
    """The rows that a run was scored on. data: where they are now, if elsewhere.

    Raises UserError where they cannot be loaded, or are others than the run's.
    """
    from dataclasses import replace

    config = run.config.task if data is None else replace(run.config.task, data=str(data))
    try:
        loaded = load_task(config)
    except UserError as error:
        raise UserError(f"{error} Pass --data with the rows of run {run.run_id!r}.") from error
    if loaded.data_hash != run.record.identity.data_hash:
        raise UserError(
            f"The rows of task {config.name!r} in {config.data or 'the hub'} are not those of run "
            f"{run.run_id!r} (hash {loaded.data_hash[:12]}, it needs "
            f"{run.record.identity.data_hash[:12]}). Pass --data with the rows it was trained on."
        )
    return loaded


def certify(
    compiled: CompiledRun, data: TaskData, options: FoldOptions, tokenizer: Any
) -> tuple[Certificate, Logits]:
    """The certificate of a compiled run, and the gated model's logits that it was held against.

    data: the rows the run was scored on (`task_of`).
    """
    rows = tokenize(data, tokenizer, compiled.run.config.task.max_tokens)
    splits = {name: rows[name] for name in data.validation}
    pad_id = int(tokenizer.pad_token_id)
    gated = {name: predict(compiled.gated, split, pad_id) for name, split in splits.items()}
    folded = {name: predict(compiled.folded, split, pad_id) for name, split in splits.items()}
    parity = compare(stacked(gated), stacked(folded), form="torch")
    first = next(iter(splits))
    alone = _alone_difference(compiled.folded, splits[first], folded[first], pad_id)
    stored = _stored_difference(compiled.run, data, gated)
    certificate = Certificate(
        run_id=compiled.run.run_id,
        kept_hash=compiled.kept_hash,
        options=options_of(options),
        torch=parity,
        alone_difference=alone,
        stored_difference=stored,
        metrics={
            name: dict(task_metrics(data, folded[name], split.labels))
            for name, split in data.validation.items()
        },
        stored_weight_fraction=compiled.stored_weight_fraction,
        file_bytes=tensor_bytes(compiled.folded),
        dense_file_bytes=tensor_bytes(compiled.dense),
        environment=collect_environment(),
        passed=parity.passed and alone <= alone_bound(parity) and stored <= STORED_BOUND,
    )
    return certificate, gated


def parity_of(
    form: Form,
    predictor: Predictor,
    run: StoredRun,
    data: TaskData,
    tokenizer: Any,
    gated: Logits,
) -> Parity:
    """Parity of another form of the folded model over the same rows.

    predictor: its logits on the rows of one split. gated: the gated model's, from `certify`.
    """
    rows = tokenize(data, tokenizer, run.config.task.max_tokens)
    found = {name: predictor(rows[name], int(tokenizer.pad_token_id)) for name in gated}
    return compare(stacked(gated), stacked(found), form=form)


def stacked(logits: Logits) -> NDArray[np.float32]:
    """All splits below each other, (rows, outputs)."""
    return np.concatenate(list(logits.values()))


def tensor_bytes(model: FoldedClassifier) -> int:
    """Bytes of the model's weights and indices, without the file's header."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


@torch.inference_mode()
def _alone_difference(
    model: FoldedClassifier, rows: TokenizedSplit, batched: NDArray[np.float32], pad_id: int
) -> float:
    """Largest logit difference between rows alone, unpadded, and in their padded batches."""
    chosen = np.linspace(0, len(rows) - 1, min(ALONE_ROWS, len(rows))).astype(int).tolist()
    worst = 0.0
    for index in chosen:
        batch = collate(rows.rows([index]), pad_id)
        del batch["labels"], batch["row"]
        length = len(rows.input_ids[index])
        logits = model(**{name: value[:, :length] for name, value in batch.items()}).numpy()[0]
        worst = max(worst, float(np.abs(logits - batched[index]).max()))
    return worst


def _stored_difference(run: StoredRun, data: TaskData, gated: Logits) -> float:
    """Largest difference of a probability or score from the predictions stored with the run."""
    stored, worst = run.predictions, 0.0
    for name, split in data.validation.items():
        part = stored[stored["split"] == name]
        if part["text_hash"].tolist() != list(text_hashes(split)):
            raise UserError(f"The stored predictions of run {run.run_id!r} are of other rows.")
        columns = probability_columns(part)
        found = probabilities(gated[name]) if columns else gated[name]
        expected = part[columns or ["score"]].to_numpy(dtype=np.float64)
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst
