"""A matrix with its gates, and the smaller one that is stored in its place."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finegates_engine.folded.layers import Matrix, MatrixSpec

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class GatedMatrix:
    """One matrix with its gates: y = rows * (weight @ (columns * x) + bias), fp64 tensors."""

    weight: Tensor
    """(out, in), with a low-rank update merged."""
    bias: Tensor | None
    rows: Tensor | None
    """(out,) values in [0, 1]; None: not gated."""
    columns: Tensor | None
    """(in,)"""

    def folded(self) -> Tensor:
        """diag(rows) @ weight @ diag(columns), (out, in)."""
        weight = self.weight if self.rows is None else self.weight * self.rows[:, None]
        return weight if self.columns is None else weight * self.columns

    def folded_bias(self) -> Tensor:
        """rows * bias, (out,); zeros without a bias."""
        bias = torch.zeros_like(self.weight[:, 0]) if self.bias is None else self.bias
        return bias if self.rows is None else bias * self.rows

    def masks(self) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """(rows kept, columns kept)."""
        return kept_mask(self.rows), kept_mask(self.columns)


GatedBlock = Mapping[str, GatedMatrix]
"""Role -> matrix of one block; the roles of `folding.EncoderShape.matrices`."""


@dataclass(frozen=True)
class StoredMatrix:
    """A matrix as it is stored, with the dimensions that are picked around it."""

    weight: Tensor
    bias: Tensor | None
    take_in: Indices | None = None
    take_out: Indices | None = None


def gathered(stored: StoredMatrix, columns: Indices | None, round_to: int) -> StoredMatrix:
    """With these columns alone, filled up with zeros; of none, one of zeros stays."""
    if columns is None:
        return stored
    weight = stored.weight[:, torch.from_numpy(columns)]
    size = min(rounded_up(max(len(columns), 1), round_to), stored.weight.shape[1])
    filled = np.concatenate([columns, np.zeros(size - len(columns), dtype=np.int64)])
    return StoredMatrix(filled_up(weight.T, size).T, stored.bias, filled, stored.take_out)


def scattered(stored: StoredMatrix, rows: Indices | None, round_to: int) -> StoredMatrix:
    """With these rows alone, whose outputs are spread over zeros after the product."""
    if rows is None:
        return stored
    assert stored.bias is not None
    places = np.full(len(stored.weight), len(rows), dtype=np.int64)
    places[rows] = np.arange(len(rows))
    size = min(rounded_up(len(rows) + 1, round_to), len(stored.weight))
    index = torch.from_numpy(rows)
    weight, bias = filled_up(stored.weight[index], size), filled_up(stored.bias[index], size)
    return StoredMatrix(weight, bias, stored.take_in, places)


def spec_of(stored: StoredMatrix | None) -> MatrixSpec:
    """Its sizes; of nothing, all 0."""
    if stored is None:
        return MatrixSpec(rows=0, columns=0, bias=False)
    return MatrixSpec(
        rows=stored.weight.shape[0],
        columns=stored.weight.shape[1],
        bias=stored.bias is not None,
        take_in=0 if stored.take_in is None else len(stored.take_in),
        take_out=0 if stored.take_out is None else len(stored.take_out),
    )


@torch.no_grad()
def copy_into(matrix: Matrix, stored: StoredMatrix) -> None:
    """Set the values of a matrix that was made from `spec_of(stored)`, in its own dtype."""
    matrix.weight.copy_(stored.weight)
    if matrix.bias is not None and stored.bias is not None:
        matrix.bias.copy_(stored.bias)
    for target, index in ((matrix.take_in, stored.take_in), (matrix.take_out, stored.take_out)):
        if target is not None and index is not None:
            target.copy_(torch.from_numpy(index))


def filled_up(values: Tensor, size: int) -> Tensor:
    """The first dimension filled up with zeros to `size`."""
    return torch.cat([values, values.new_zeros(size - len(values), *values.shape[1:])])


def rounded_up(value: int, multiple: int) -> int:
    """The smallest multiple that is not below `value`."""
    return -(-value // multiple) * multiple


def kept_mask(gate: Tensor | None) -> NDArray[np.bool_] | None:
    """True where a gate is above 0; None where there are no gates."""
    return None if gate is None else (gate > 0).numpy()
