"""Logits and metrics of a model on the rows of a split."""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from finegates_engine.data.batches import TokenizedSplit, collate
from finegates_engine.data.load import TaskData
from finegates_engine.folded import FoldedClassifier
from finegates_engine.gates.model import TextClassifier
from finegates_engine.metrics import compute_metrics

EVAL_BATCH = 64

Logits = npt.NDArray[np.float32]


@torch.inference_mode()
def predict(model: TextClassifier | FoldedClassifier, rows: TokenizedSplit, pad_id: int) -> Logits:
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


def task_metrics(data: TaskData, logits: Logits, labels: npt.NDArray[Any]) -> dict[str, float]:
    """The task's metrics by name, the headline first. logits: (rows, outputs)."""
    return compute_metrics(cast(tuple[str, ...], data.spec.metrics), logits, labels)
