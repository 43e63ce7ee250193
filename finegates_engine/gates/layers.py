"""A linear layer between two gates, with an optional low-rank update."""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class _Gated(torch.autograd.Function):
    """y = r * ((W + s B A) (c * x) + b) for a frozen W, keeping only what its gradients need.

    Kept for the backward pass: x where the column gate or the update is learned, and the
    output before the row gate where that is learned. Gates scale the matrix where it is smaller
    than the activations. W + s B A is kept where it is smaller than x, and made again otherwise.
    Plain autograd keeps both products of each gate, and in place of one product with the merged
    matrix makes three in each direction.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        row: Tensor | None,
        column: Tensor | None,
        down: Tensor | None,
        up: Tensor | None,
    ) -> Tensor:
        kind = x.dtype
        merged = matrix = _merged(weight, down, up, kind)
        inner = x
        if column is not None and x.numel() > matrix.numel():  # the smaller of the two is scaled
            matrix = matrix * column.to(kind)
        elif column is not None:
            inner = x * column.to(kind)
        y = functional.linear(inner, matrix, None if bias is None else bias.to(kind))
        x_needed, _, _, row_needed, column_needed, down_needed, up_needed = ctx.needs_input_grad
        input_needed = column_needed or down_needed or up_needed
        keep = (x_needed or column_needed) and merged.numel() <= x.numel()
        ctx.save_for_backward(
            x if input_needed else None,
            y if row_needed else None,
            merged if keep else None,
            weight,
            row,
            column,
            down,
            up,
        )
        return y if row is None else y * row.to(kind)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, y, merged, weight, row, column, down, up = ctx.saved_tensors
        x_needed, _, bias_needed, row_needed, column_needed, *_ = ctx.needs_input_grad
        (grad_y,) = grads
        kind, tokens = grad_y.dtype, _flat(grad_y)
        flat: Any = None if x is None else _flat(x)
        grad_x = grad_bias = grad_row = grad_column = grad_down = grad_up = None
        if row_needed:
            grad_row = (tokens * _flat(y)).sum(0).to(row.dtype)
        gate: Any = 1 if row is None else row.to(kind)
        if bias_needed:
            grad_bias = tokens.sum(0) * gate
        if down is not None:
            scaled_down = down.to(kind) if column is None else (down * column).to(kind)
            # (rank, tokens) x (tokens, features) is ten times as fast as features x tokens x rank
            grad_up = (((scaled_down @ flat.T) @ tokens) * gate).T.to(up.dtype)
            grad_down = (((up.to(kind).T * gate) @ tokens.T) @ flat).to(down.dtype)
            grad_down = grad_down if column is None else grad_down * column
        if x_needed or column_needed:
            matrix = _merged(weight, down, up, kind) if merged is None else merged
            grad_inner = tokens @ (matrix if row is None else matrix * gate.unsqueeze(1))
            if column_needed:
                grad_column = (grad_inner * flat).sum(0).to(column.dtype)
            if x_needed:
                grad_x = grad_inner if column is None else grad_inner.mul_(column.to(kind))
                grad_x = grad_x.view(*grad_y.shape[:-1], grad_x.shape[-1])
        return grad_x, None, grad_bias, grad_row, grad_column, grad_down, grad_up


_gated: Any = _Gated.apply


def _flat(x: Tensor) -> Tensor:
    """(..., features) -> (tokens, features); the features may be none."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _merged(weight: Tensor, down: Tensor | None, up: Tensor | None, kind: torch.dtype) -> Tensor:
    if down is None or up is None:
        return weight.to(kind)
    return torch.addmm(weight, up.to(weight.dtype), down.to(weight.dtype)).to(kind)


class GatedLinear(nn.Module):
    """y = r * (W (c * x) + b), with W of the wrapped layer (out, in), r (out,), c (in,).

    The model sets `row_gate` and `column_gate` before each forward; None is a gate that is
    not there. With a low-rank update: y = r * ((W + s B A) (c * x) + b), which is how
    "FineGates+LoRA" must be gated for a closed row to be 0 (design, section 3).
    """

    def __init__(
        self,
        base_layer: nn.Linear,
        *,
        rank: int = 0,
        alpha: float = 16.0,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.row_gate: Tensor | None = None
        self.column_gate: Tensor | None = None
        self.scale = alpha / rank if rank else 0.0
        self.dropout = dropout
        self._rows: Tensor | None = None
        self._columns: Tensor | None = None
        self._kept_weight: Tensor | None = None
        if rank:
            out_features, in_features = base_layer.weight.shape
            bound = 1 / math.sqrt(in_features)
            down = torch.empty(rank, in_features).uniform_(-bound, bound, generator=generator)
            self.low_rank_down: nn.Parameter | None = nn.Parameter(down)
            self.low_rank_up: nn.Parameter | None = nn.Parameter(torch.zeros(out_features, rank))
        else:
            self.low_rank_down = self.low_rank_up = None

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"rank={0 if self.low_rank_up is None else self.low_rank_up.shape[1]}"

    def __getstate__(self) -> dict[str, Any]:
        """Without the gates of the last forward, whose graph can be neither copied nor pickled."""
        return {**self.__dict__, "row_gate": None, "column_gate": None}

    def keep(self, *, rows: Tensor | None, columns: Tensor | None) -> None:
        """Compute with these rows and columns alone (int64 indices), None: with all.

        What is left out must be closed; inputs and outputs then have the kept width.
        Trained values keep their full shape, so that checkpoints do not change.
        """
        self._rows, self._columns = rows, columns
        weight = self.base_layer.weight.detach()
        if rows is not None:
            weight = weight[rows]
        if columns is not None:
            weight = weight[:, columns]
        self._kept_weight = None if rows is None and columns is None else weight.contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in_features) -> (..., out_features), or the kept widths after `keep`."""
        weight = self.base_layer.weight if self._kept_weight is None else self._kept_weight
        assert not weight.requires_grad  # the backward pass has no gradient for it
        bias = _take(self.base_layer.bias, self._rows)
        row, column = _take(self.row_gate, self._rows), _take(self.column_gate, self._columns)
        down, up = self._update()
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        with torch.autocast(kind, enabled=False):
            if down is not None and up is not None and self.dropout and self.training:
                return _with_dropout(x, weight, bias, row, column, down, up, self.dropout)
            return cast(Tensor, _gated(x, weight, bias, row, column, down, up))

    def _update(self) -> tuple[Tensor | None, Tensor | None]:
        """A and s B, of the kept columns and rows; None without an update."""
        down, up = self.low_rank_down, self.low_rank_up
        if down is None or up is None:
            return None, None
        columns = down if self._columns is None else down[:, self._columns]
        return columns, self.scale * (up if self._rows is None else up[self._rows])


def _with_dropout(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    row: Tensor | None,
    column: Tensor | None,
    down: Tensor,
    up: Tensor,
    dropout: float,
) -> Tensor:
    """The same with dropout on the input of the update, which then cannot be merged."""
    inner = x if column is None else x * column.to(x.dtype)
    thin = functional.dropout(inner, dropout) @ down.to(x.dtype).T
    bias = None if bias is None else bias.to(x.dtype)
    y = functional.linear(inner, weight.to(x.dtype), bias) + thin @ up.to(x.dtype).T
    return y if row is None else y * row.to(x.dtype)


def _take(values: Tensor | None, index: Tensor | None) -> Tensor | None:
    return values if values is None or index is None else values[index]
