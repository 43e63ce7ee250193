"""What pruning looks like without folding: every matrix alone, with gather, product, scatter."""

import copy

import torch
from torch import Tensor, nn

from finegates_engine.fold.stored_matrix import GatedMatrix
from finegates_engine.folded.layers import take
from finegates_engine.gates.model import TextClassifier
from finegates_engine.prune.compiled import gated_blocks


class _Naive(nn.Module):
    """One matrix alone."""

    rows: Tensor | None
    columns: Tensor | None
    weight: Tensor
    bias: Tensor

    def __init__(self, matrix: GatedMatrix) -> None:
        super().__init__()
        rows, columns = (
            torch.from_numpy(mask) if mask is not None else None for mask in matrix.masks()
        )
        weight, bias = matrix.folded().float(), matrix.folded_bias().float()
        self.size = len(weight)
        rows = None if rows is None else rows.nonzero().squeeze(1)
        columns = None if columns is None else columns.nonzero().squeeze(1)
        weight = weight if columns is None else weight[:, columns]
        tensors = {
            "rows": rows,
            "columns": columns,
            "weight": (weight if rows is None else weight[rows]).contiguous(),
            "bias": bias if rows is None else bias[rows],
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)"""
        x = x if self.columns is None else take(x, self.columns)
        y = nn.functional.linear(x, self.weight, self.bias)
        if self.rows is None:
            return y
        return y.new_zeros(*y.shape[:-1], self.size).index_copy_(-1, self.rows, y)


def naive_form(plain: TextClassifier, gated: TextClassifier) -> TextClassifier:
    """Hugging Face's module with every gated matrix replaced by its own naive form."""
    model = copy.deepcopy(plain)
    for block, matrices in zip(model.blocks(), gated_blocks(gated), strict=True):
        for role, path in model.architecture.modules.items():
            parent, _, leaf = path.rpartition(".")
            setattr(block.get_submodule(parent), leaf, _Naive(matrices[role]))
    return model.eval()
