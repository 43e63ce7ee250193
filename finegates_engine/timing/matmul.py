"""The product with a single matrix against sparsity: what removing rows and columns saves at best.

At rate s a share s of the rows and of the columns leaves, so (1 - s)^2 of the weights stay: the
figure of arXiv 2412.12951. Inputs of pruned forms are already picked: no gather is in these times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from finegates_engine.errors import UserError
from finegates_engine.timing.backends import DTYPES
from finegates_engine.timing.benchmark import RaceLimits, race
from finegates_engine.timing.latency import Latency, Speedup, latency, speedup

DENSE = "dense"
FORMS = ("removed", "rounded", "zeros")
"""Rows and columns really removed; the widths rounded up to ROUND_TO; zeros left in their place."""

ROUND_TO = 16
LARGEST = 16384


@dataclass(frozen=True, kw_only=True)
class MatmulPoint:
    """One matrix at one rate."""

    rows: int
    columns: int
    rate: float
    """Share of the rows, and of the columns, that are removed."""

    tokens: int
    """Vectors that are multiplied at once."""

    ideal: float
    """Speed-up if time fell as the weights do: 1 / (1 - rate)^2."""

    widths: dict[str, tuple[int, int]]
    """Form to the rows and columns of the matrix that is multiplied."""

    latency: dict[str, Latency]
    """Dense and each form to the seconds of one product."""

    speedup: dict[str, Speedup]
    """Form to how many times as fast as dense."""


def parse_size(text: str) -> tuple[int, int]:
    """`1536x384` as (rows, columns). Raises UserError for anything else."""
    parts = text.lower().split("x")
    if len(parts) == 2 and all(part.isdecimal() and len(part) <= 5 for part in parts):
        rows, columns = (int(part) for part in parts)
        if min(rows, columns) >= 1 and max(rows, columns) <= LARGEST:
            return rows, columns
    raise UserError(
        f"A matrix must be rows x columns, each from 1 to {LARGEST:,}, such as 1536x384, "
        f"got {text!r}."
    )


def kept_widths(size: int, rate: float) -> tuple[int, int]:
    """(kept, kept and rounded up to ROUND_TO) of `size` dimensions, of which `rate` leave."""
    if not 0 <= rate < 1:
        raise UserError(f"A rate must be in [0, 1), got {rate:g}.")
    kept = max(1, round(size * (1 - rate)))
    return kept, min(size, -(-kept // ROUND_TO) * ROUND_TO)


def matmul_point(
    size: tuple[int, int],
    rate: float,
    *,
    tokens: int = 64,
    device: str = "cpu",
    precision: str = "fp32",
    threads: int = 1,
    limits: RaceLimits | None = None,
    seed: int = 0,
    stop: Callable[[], bool] | None = None,
) -> MatmulPoint | None:
    """Time `x @ W.T + b` for a random W of `size` = (rows, columns), dense and in each form.

    None: stopped before there were rounds enough. Raises UserError for a rate outside [0, 1).
    """
    widths = _widths(size, rate)
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(tokens, size[1], generator=generator).to(device, DTYPES[precision])
    weight = torch.randn(size, generator=generator).to(inputs)
    run = race(
        _products(inputs, weight, widths),
        baseline=DENSE,
        device=device,
        threads=threads,
        limits=limits or RaceLimits(budget_seconds=5.0),
        seed=seed,
        stop=stop,
    )
    if run.ended == "stopped":
        return None
    dense = run.seconds[DENSE]
    return MatmulPoint(
        rows=size[0],
        columns=size[1],
        rate=rate,
        tokens=tokens,
        ideal=1 / (1 - rate) ** 2,
        widths=widths,
        latency={name: latency(values) for name, values in run.seconds.items()},
        speedup={name: speedup(dense, run.seconds[name]) for name in FORMS},
    )


def _widths(size: tuple[int, int], rate: float) -> dict[str, tuple[int, int]]:
    """Each form to the rows and columns that are multiplied."""
    (rows, rounded_rows), (columns, rounded_columns) = (kept_widths(n, rate) for n in size)
    return {"removed": (rows, columns), "rounded": (rounded_rows, rounded_columns), "zeros": size}


def _products(
    inputs: Tensor, weight: Tensor, widths: Mapping[str, tuple[int, int]]
) -> dict[str, Callable[[], Tensor]]:
    """The dense product, and that of each form."""
    rows, columns = widths["removed"]
    zeros = weight.clone()
    zeros[rows:], zeros[:, columns:] = 0, 0
    return {
        DENSE: _product(inputs, weight, widths["zeros"]),
        "removed": _product(inputs, weight, widths["removed"]),
        "rounded": _product(inputs, zeros, widths["rounded"]),
        "zeros": _product(inputs, zeros, widths["zeros"]),
    }


def matmul_curve(
    sizes: Sequence[tuple[int, int]],
    rates: Sequence[float],
    *,
    tokens: int = 64,
    device: str = "cpu",
    precision: str = "fp32",
    threads: int = 1,
    budget_seconds: float = 60.0,
    on_point: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[MatmulPoint]:
    """A point for each size and rate; the budget is shared alike. on_point: (done, all)."""
    places = [(size, rate) for size in sizes for rate in rates]
    limits = replace(RaceLimits(), budget_seconds=budget_seconds / max(1, len(places)))
    points = []
    for number, (size, rate) in enumerate(places, start=1):
        point = matmul_point(
            size,
            rate,
            tokens=tokens,
            device=device,
            precision=precision,
            threads=threads,
            limits=limits,
            stop=stop,
        )
        if point is None:
            break
        points.append(point)
        if on_point is not None:
            on_point(number, len(places))
    return points


def _product(inputs: Tensor, weight: Tensor, widths: tuple[int, int]) -> Callable[[], Tensor]:
    """The product with the first `widths` rows and columns, in memory of their own."""
    rows, columns = widths
    x = inputs[:, :columns].clone(memory_format=torch.contiguous_format)
    part = weight[:rows, :columns].clone(memory_format=torch.contiguous_format)
    bias = torch.zeros(rows).to(part)
    return lambda: functional.linear(x, part, bias)
