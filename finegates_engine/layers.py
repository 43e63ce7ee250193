"""A linear layer between two gates, with an optional low-rank update."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _MergedLowRank(torch.autograd.Function):
    """y = x (W + s B A)^T + b with one product forward, and low-rank gradients for A and B.

    The plain form keeps x A^T for the backward pass and adds two thin products and two
    passes over y to the forward; here W + s B A is built once a step instead.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor
    ) -> Tensor:
        merged = torch.addmm(weight, up.to(weight.dtype), down.to(weight.dtype))
        ctx.save_for_backward(x, weight, down, up)
        ctx.has_bias = bias is not None
        return functional.linear(x, merged, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        x, weight, down, up = ctx.saved_tensors
        rows, flat = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        down_, up_ = down.to(grad.dtype), up.to(grad.dtype)
        thin = rows @ up_  # (tokens, rank)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.addmm(rows @ weight.to(grad.dtype), thin, down_).view_as(x)
        grad_down = (thin.T @ flat.to(grad.dtype)).to(down.dtype)
        grad_up = (rows.T @ (flat.to(grad.dtype) @ down_.T)).to(up.dtype)
        grad_bias = rows.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return grad_x, None, grad_bias, grad_down, grad_up


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
        bias = _take(self.base_layer.bias, self._rows)
        column_gate, row_gate = _take(self.column_gate, self._columns), _take(
            self.row_gate, self._rows
        )
        if column_gate is not None:
            x = x * column_gate.to(x.dtype)
        y = self._linear(x, weight, bias)
        return y if row_gate is None else y * row_gate.to(y.dtype)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.low_rank_up is None or self.low_rank_down is None:
            return functional.linear(x, weight, bias)
        down = self.low_rank_down if self._columns is None else self.low_rank_down[:, self._columns]
        up = self.scale * (self.low_rank_up if self._rows is None else self.low_rank_up[self._rows])
        if self.dropout and self.training:
            thin = functional.linear(functional.dropout(x, self.dropout), down)
            return functional.linear(x, weight, bias) + functional.linear(thin, up)
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
            with torch.autocast(x.device.type, enabled=False):
                return _MergedLowRank.apply(x, weight, bias, down, up)  # type: ignore[no-any-return]
        return _MergedLowRank.apply(x, weight, bias, down, up)  # type: ignore[no-any-return]


def _take(values: Tensor | None, index: Tensor | None) -> Tensor | None:
    return values if values is None or index is None else values[index]
