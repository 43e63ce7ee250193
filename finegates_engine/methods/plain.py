"""Points at nothing removed that need no library: what is trained, beside the head."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from finegates_engine.errors import UserError
from finegates_engine.gates.model import TextClassifier, replace_linears
from finegates_engine.methods.base import Method

CORE_STD = 1e-5
"""Standard deviation of the start values of a core (arXiv 2405.17604, section 3)."""


class Full(Method):
    """Full finetuning: every weight of the model."""

    def prepare(self, model: TextClassifier) -> None:
        """Everything is trained."""
        model.requires_grad_(True)


class BitFit(Method):
    """Every bias of the backbone, those of LayerNorm too (arXiv 2106.10199)."""

    def prepare(self, model: TextClassifier) -> None:
        """Biases are trained."""
        for name, parameter in model.network.named_parameters():
            if name.endswith("bias"):
                parameter.requires_grad_(True)


class RoCoFT(Method):
    """The first rows and columns of each matrix (arXiv 2410.10075)."""

    def prepare(self, model: TextClassifier) -> None:
        """Puts trained differences of rows and columns beside each matrix."""
        rows, columns = int(self.options["rows"]), int(self.options["columns"])
        if not rows and not columns:
            raise UserError("Method 'rocoft' needs rows or columns above 0, got 0 and 0.")

        def partial(index: int, role: str, layer: nn.Linear) -> nn.Module:
            if rows > layer.out_features or columns > layer.in_features:
                raise UserError(
                    f"Method 'rocoft' trains at most {layer.out_features} rows and "
                    f"{layer.in_features} columns of {role}, got {rows} and {columns}."
                )
            return PartialLinear(layer, rows=rows, columns=columns)

        replace_linears(model, partial)


class LoraXS(Method):
    """y = W x + U R S V' x, with U S V' the largest singular directions of W, and R trained.

    arXiv 2405.17604.
    """

    def prepare(self, model: TextClassifier) -> None:
        """Puts a core beside each matrix."""
        generator, rank = torch.Generator().manual_seed(self.config.seed), int(self.options["rank"])
        replace_linears(model, lambda index, role, layer: CoreLinear(layer, rank, generator))


class PartialLinear(nn.Module):
    """A frozen layer whose first rows and columns are trained, as differences from their start."""

    def __init__(self, base_layer: nn.Linear, *, rows: int, columns: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.rows = nn.Parameter(torch.zeros(rows, base_layer.in_features)) if rows else None
        self.columns = (
            nn.Parameter(torch.zeros(base_layer.out_features, columns)) if columns else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in_features) -> (..., out_features)."""
        y: Tensor = self.base_layer(x)
        if self.rows is not None:
            rest = self.base_layer.out_features - len(self.rows)
            y = y + functional.pad(functional.linear(x, self.rows), (0, rest))
        if self.columns is not None:
            y = y + functional.linear(x[..., : self.columns.shape[1]], self.columns)
        return y


class CoreLinear(nn.Module):
    """A frozen layer with a trained core between its own singular directions."""

    up: Tensor
    down: Tensor

    def __init__(self, base_layer: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base_layer = base_layer
        left, values, right = torch.linalg.svd(base_layer.weight.detach(), full_matrices=False)
        rank = min(rank, len(values))
        self.register_buffer("up", left[:, :rank].contiguous(), persistent=False)
        self.register_buffer("down", values[:rank, None] * right[:rank], persistent=False)
        self.core = nn.Parameter(CORE_STD * torch.randn(rank, rank, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in_features) -> (..., out_features)."""
        inner = functional.linear(functional.linear(x, self.down), self.core)
        y: Tensor = self.base_layer(x) + functional.linear(inner, self.up)
        return y
