"""The operations between which the compiler chooses: picking dimensions, attention, products.

    python benchmarks/layout.py

Shapes of MiniLM, one thread, fp32, interleaved. The last line is one JSON object:
`gather_over_index_select` (how many times as fast, 8 x 64 tokens), `take_macs` (multiply-
accumulates that picking one value costs), `attention_ms` (width -> six layers, 8 x 64 tokens) and
`onednn_over_linear` (packed oneDNN product against `linear`, 64 rows; null where it is missing).
"""

import json
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from torch.nn import functional

from finegates_engine.timing.benchmark import RaceLimits, race
from finegates_engine.timing.latency import latency

HEADS, HIDDEN, LAYERS = 12, 384, 6
WIDTHS = (8, 16, 24, 32)
KEPT, SPREAD = 704, 1152
"""Rows of query, key and value that stay, and values after spreading them to one width."""


def main(
    budget: Annotated[float, typer.Option(help="Seconds for each comparison.")] = 5.0,
    quick: Annotated[bool, typer.Option(help="One second each.")] = False,
) -> None:
    """Time each choice and print it."""
    limits = RaceLimits(budget_seconds=1.0 if quick else budget)
    figures: dict[str, Any] = {}
    for batch in (1, 8):
        picked = _picking(batch, 64, limits)
        attention = _attention(batch, 64, limits)
        print(f"{batch} x 64 tokens, ms: picking {picked}; attention of six layers {attention}")
        figures = {
            "gather_over_index_select": round(picked["index_select"] / picked["gather"], 2),
            "take_macs": round(picked["gather"] / picked["linear"] * KEPT * HIDDEN / SPREAD),
            "attention_ms": attention,
        }
    figures["onednn_over_linear"] = _packed(limits)
    print(json.dumps(figures))


def _milliseconds(calls: dict[str, Callable[[], object]], limits: RaceLimits) -> dict[str, float]:
    timed = race(calls, baseline=next(iter(calls)), limits=limits)
    return {name: round(1e3 * latency(values).median, 3) for name, values in timed.seconds.items()}


def _picking(batch: int, tokens: int, limits: RaceLimits) -> dict[str, float]:
    """Rows that stay, spread to one width; and the product that makes them."""
    x, weight = torch.randn(batch, tokens, HIDDEN), torch.randn(KEPT, HIDDEN)
    y, index = functional.linear(x, weight), torch.randint(0, KEPT, (SPREAD,))
    calls: dict[str, Callable[[], object]] = {
        "gather": lambda: y.gather(-1, index.expand(batch, tokens, -1)),
        "index_select": lambda: y.index_select(-1, index),
        "linear": lambda: functional.linear(x, weight),
    }
    return _milliseconds(calls, limits)


def _attention(batch: int, tokens: int, limits: RaceLimits) -> dict[str, float]:
    """Fused attention over heads of several widths."""
    calls: dict[str, Callable[[], object]] = {}
    for width in WIDTHS:
        heads = torch.randn(3, batch, HEADS, tokens, width)

        def attend(heads: torch.Tensor = heads) -> object:
            return functional.scaled_dot_product_attention(*heads)

        calls[str(width)] = attend
    return {name: round(LAYERS * ms, 2) for name, ms in _milliseconds(calls, limits).items()}


def _packed(limits: RaceLimits) -> float | None:
    """oneDNN's product with packed weights, a private operator of torch, against `linear`."""
    x, weight, bias = torch.randn(64, HIDDEN), torch.randn(4 * HIDDEN, HIDDEN), torch.randn(1536)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
        product = torch.ops.mkldnn._linear_pointwise
        product(x, packed, bias, "none", [], "")
    except (AttributeError, RuntimeError):
        return None
    calls: dict[str, Callable[[], object]] = {
        "linear": lambda: functional.linear(x, weight, bias),
        "packed": lambda: product(x, packed, bias, "none", [], ""),
    }
    found = _milliseconds(calls, limits)
    return round(found["linear"] / found["packed"], 2)


if __name__ == "__main__":
    typer.run(main)
