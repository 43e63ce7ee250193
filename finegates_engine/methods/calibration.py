"""Training rows for scores that need data, the loss of the task, and gradients of gates."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from finegates_engine.data.batches import TokenizedSplit, collate
from finegates_engine.gates.model import TextClassifier


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a training, for calibration."""

    split: TokenizedSplit
    """Tokenised training rows."""

    pad_id: int
    """Token id of padding."""

    label_variance: float = 1.0
    """Variance of regression labels, by which their loss is divided; 1 for classes."""

    def batches(self, rows: int, size: int, *, seed: int) -> Iterator[dict[str, Tensor]]:
        """`rows` rows drawn without return, in batches of `size`; those of like length together.

        Each batch has the inputs of the model and its labels, (batch,). The same seed gives the
        same batches in the same order.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self.split), generator=generator)[:rows].tolist()
        lengths = self.split.lengths
        chosen.sort(key=lambda row: lengths[row])
        for start in range(0, len(chosen), size):
            batch = collate(self.split.rows(chosen[start : start + size]), self.pad_id)
            del batch["row"]
            yield batch


def task_loss(logits: Tensor, labels: Tensor, *, label_variance: float = 1.0) -> Tensor:
    """Cross entropy, or the squared error over the labels' variance; a scalar.

    logits: (batch, outputs), one output for regression.
    """
    if logits.shape[1] == 1:
        return functional.mse_loss(logits.squeeze(-1), labels.float()) / label_variance
    return functional.cross_entropy(logits, labels)


def moved(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The batch on another device."""
    return {name: value.to(device) for name, value in batch.items()}


def gate_gradients(
    model: TextClassifier, rows: TrainingRows, *, count: int, size: int, seed: int
) -> Iterator[Tensor]:
    """For each batch, the derivative of its mean loss by each gate at 1, (gates,).

    Closed gates stay at 0 and have derivative 0. Without dropout; nothing else gets a gradient.
    """
    assert model.gates is not None
    device, closed = model.gates.logit.device, model.gates.closed
    was_training = model.training
    model.eval()
    try:
        for batch in rows.batches(count, size, seed=seed):
            inputs = moved(batch, device)
            labels = inputs.pop("labels")
            values = torch.ones_like(model.gates.logit).requires_grad_(True)
            model.gate_values = values.masked_fill(closed, 0)
            loss = task_loss(model(**inputs), labels, label_variance=rows.label_variance)
            yield torch.autograd.grad(loss, values)[0]
    finally:
        model.gate_values = None
        model.train(was_training)
