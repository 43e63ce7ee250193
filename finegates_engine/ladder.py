"""The ladder from the target asked for to what leaves the model: arithmetic on counts. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from finegates_engine.errors import UserError, unknown
from finegates_engine.fold.dimensions import (
    MACS_TOKENS,
    EncoderShape,
    LayerMasks,
    LayerWidths,
    folded_weights,
    folded_widths,
    macs_per_token,
)
from finegates_engine.validation import MOST_COUNT

__all__ = [
    "RUNGS",
    "EncoderShape",
    "Ladder",
    "LayerMasks",
    "LayerWidths",
    "RungSpec",
    "check_ladder",
    "count_ladder",
    "folded_weights",
    "folded_widths",
    "macs_per_token",
    "target_axis_title",
]


@dataclass(frozen=True)
class RungSpec:
    """How a rung of the ladder is called and read."""

    label: str
    unit: Literal["share", "MACs", "bytes", "ms"]
    better: Literal["higher", "lower"]
    axis_title: str


RUNGS: dict[str, RungSpec] = {
    "target": RungSpec("Target", "share", "higher", "Target (share asked for)"),
    "gate_sparsity": RungSpec("Gates closed", "share", "higher", "Gates closed (share of gates)"),
    "removed_weight_fraction": RungSpec(
        "Weights removed", "share", "higher", "Weights removed (share of the gated matrices)"
    ),
    "folded_encoder_fraction": RungSpec(
        "Encoder weights removed", "share", "higher", "Encoder weights removed (share of all)"
    ),
    "stored_weight_fraction": RungSpec(
        "Weights stored", "share", "lower", "Encoder weights stored (share of dense)"
    ),
    "removed_model_fraction": RungSpec(
        "Model removed", "share", "higher", "Parameters removed (share of the whole model)"
    ),
    "macs_per_token": RungSpec("MACs", "MACs", "lower", "Multiply-accumulates (MACs per token)"),
    "file_bytes": RungSpec("Size on disk", "bytes", "lower", "Size on disk (bytes)"),
    "latency_ms": RungSpec("Latency", "ms", "lower", "Latency of one call (ms)"),
}


def target_axis_title(target_unit: str) -> str:
    """The axis title of the target, which always says its unit (`RunConfig.gates.target_unit`)."""
    units = {"encoder_weights": "encoder weights", "gates": "gates"}
    if target_unit not in units:
        raise unknown("target unit", target_unit, units)
    return f"Target (share of {units[target_unit]})"


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Every rung for one model, and the counts behind it. None: not there, or not measured."""

    target: float | None
    """Share asked for, in [0, 1), in target_unit. None: nothing was to be removed."""
    target_unit: Literal["encoder_weights", "gates"] | None
    gates_closed: int
    gates_total: int
    gated_weights_kept: int
    """Sum of kept rows x kept columns over the gated matrices."""
    gated_weights: int
    """Sum of rows x columns over the gated matrices."""
    folded_weights: int
    """Linear weights of the blocks after folding."""
    encoder_weights: int
    """Linear weights of the dense blocks."""
    model_parameters: int
    """All parameters of the dense model."""
    macs_tokens: int
    """Tokens of the row for the two rungs in MACs."""
    macs_per_token: float
    dense_macs_per_token: float
    gate_sparsity: float | None
    removed_weight_fraction: float | None
    folded_encoder_fraction: float
    removed_model_fraction: float
    stored_weight_fraction: float | None = None
    file_bytes: int | None = None
    latency_ms: float | None = None


def count_ladder(
    shape: EncoderShape,
    masks: Sequence[LayerMasks],
    *,
    target: float | None,
    target_unit: Literal["encoder_weights", "gates"] | None,
    gates_closed: int,
    gates_total: int,
    tokens: int = MACS_TOKENS,
) -> Ladder:
    """The ladder of a gated model, up to the rungs that need a compiled form.

    Gates are counted by the caller, since a tied gate has several sides. A matrix with a gated
    side enters `removed_weight_fraction`; with none at all, that rung is None.
    """
    if not 0 <= gates_closed <= gates_total:
        raise UserError(f"gates_closed must be in [0, {gates_total}], got {gates_closed}.")
    widths = folded_widths(shape, masks)
    left, dense = folded_weights(shape, widths), shape.encoder_weights
    kept, gated = _gated_weights(shape, masks)
    return Ladder(
        target=target,
        target_unit=target_unit,
        gates_closed=gates_closed,
        gates_total=gates_total,
        gated_weights_kept=kept,
        gated_weights=gated,
        folded_weights=left,
        encoder_weights=dense,
        model_parameters=shape.model_parameters,
        macs_tokens=tokens,
        macs_per_token=macs_per_token(shape, widths, tokens=tokens),
        dense_macs_per_token=macs_per_token(
            shape, folded_widths(shape, [{}] * shape.layers), tokens=tokens
        ),
        gate_sparsity=gates_closed / gates_total if gates_total else None,
        removed_weight_fraction=1 - kept / gated if gated else None,
        folded_encoder_fraction=1 - left / dense,
        removed_model_fraction=(dense - left) / shape.model_parameters,
    )


def check_ladder(ladder: Ladder) -> None:
    """Raises ValueError for a number that no model has."""
    shares = [name for name, rung in RUNGS.items() if rung.unit == "share"]
    for field in fields(ladder):
        value = getattr(ladder, field.name)
        if value is None or isinstance(value, str):
            continue
        low, high = (-10.0, 1.0) if field.name in shares else (0.0, float(MOST_COUNT))
        if not low <= value <= high:
            raise ValueError(
                f"ladder.{field.name} must be in [{low:g}, {high:g}], got {str(value)[:40]}"
            )


def _gated_weights(shape: EncoderShape, masks: Sequence[LayerMasks]) -> tuple[int, int]:
    """(kept rows x kept columns, rows x columns), summed over matrices with a gated side."""
    kept = total = 0
    sizes = shape.matrices()
    for layer in masks:
        for role, (rows, columns) in layer.items():
            if rows is None and columns is None:
                continue
            size = sizes[role]
            kept_rows = size[0] if rows is None else int(rows.sum())
            kept_columns = size[1] if columns is None else int(columns.sum())
            kept += kept_rows * kept_columns
            total += size[0] * size[1]
    return kept, total
