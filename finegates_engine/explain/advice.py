"""Why a pruned run is no faster, and what to change, in words. No torch."""

from collections.abc import Sequence

from finegates_engine.explain.explanation import (
    PARTS,
    SCALED,
    Explanation,
    LayerForm,
    PartTime,
    Trial,
)

LEAST_GAIN = 0.02
"""A change is worth a mention from this gain on."""

_HEAVY = {"attention": 0.1, "python": 0.1, "embeddings": 0.05}
"""Part -> share of the pruned time from which it is worth a remark."""


def largest_gap(found: Explanation) -> PartTime | None:
    """The part that loses most against its expected time, beyond its error. None: no part."""
    lost = [part for part in found.parts if part.gap_ms > part.error_ms]
    return max(lost, key=lambda part: part.gap_ms, default=None)


def gap_text(found: Explanation) -> str:
    """The largest gap in words, with its likely cause."""
    part = largest_gap(found)
    if part is None:
        return "No part takes measurably longer than its arithmetic."
    lost = f"{part.gap_ms:.2g} of {found.pruned_ms:.3g} ms"
    if part.part == "take":
        spread = sum(layer.spread for layer in found.layers)
        where = f", in {spread} of {len(found.layers)} layers" if spread else ""
        return f"Picking and spreading dimensions costs {lost}{where}."
    name = PARTS[part.part]
    return f"{name}: {lost} more than its arithmetic. {_cause(found, part)}".rstrip()


def _cause(found: Explanation, part: PartTime) -> str:
    if part.part == "attention":
        return _attention_cause(found.layers)
    if part.part == "python":
        return (
            "A call has a fixed cost: an empty model of the same operations takes "
            f"{found.fixed_ms[1]:.2g} ms."
        )
    work = part.work
    if work is None or part.part not in SCALED:
        return "No weights are in it."
    if part.part == "qkv":
        padded = [layer for layer in found.layers if not layer.spread]
        worst = max(padded, key=lambda layer: layer.qkv_rows - layer.rows_left, default=None)
        if worst is not None and worst.qkv_rows > worst.rows_left:
            return (
                f"Heads of several widths are filled up with zeros: {worst.rows_left} rows to "
                f"{worst.qkv_rows} in layer {found.layers.index(worst)}."
            )
    more = work.stored / work.left - 1 if work.left else 0.0
    if more > LEAST_GAIN:
        return f"Widths are filled up with zeros, {100 * more:.0f}% more than is left."
    if part.part in ("ffn_in", "ffn_out") and any(layer.stored_ffn % 8 for layer in found.layers):
        return "FFN widths are odd: no multiples of 8."
    return "Its matrices are smaller, and small ones are multiplied less fast."


def _attention_cause(layers: Sequence[LayerForm]) -> str:
    worst = max(layers, key=lambda layer: layer.padded_rows - layer.rows_left)
    if worst.padded_rows <= worst.rows_left:
        return "Its softmax does not shrink with the heads' widths."
    return (
        f"Heads differ, and are computed as wide as the widest: {worst.rows_left} rows as "
        f"{worst.padded_rows} in layer {layers.index(worst)}. Softmax does not shrink at all."
    )


def worthwhile(found: Explanation) -> list[Trial]:
    """Changes with a measured gain, the largest first."""
    good = [t for t in found.trials if t.gain.low > 1 and t.gain.value >= 1 + LEAST_GAIN]
    return sorted(good, key=lambda trial: -trial.gain.value)


def remarks(found: Explanation) -> list[str]:
    """What no change of the run mends, where it weighs; said with this setting's own numbers."""
    lines = []
    share = {part.part: part.pruned_ms / found.pruned_ms for part in found.parts}
    if share["attention"] >= 0.1:
        lines.append(
            f"Attention between tokens is {_percent(share['attention'])} of the pruned time at "
            f"{found.setting.tokens} tokens, and grows with their square: shorter rows save most."
        )
    if share["python"] >= 0.1:
        lines.append(
            f"{_percent(share['python'])} of the pruned time is Python and dispatch, the same for "
            "any batch: more rows a call share it."
        )
    if share["embeddings"] >= 0.05:
        lines.append(
            f"Embeddings take {_percent(share['embeddings'])} of the pruned time; gates cannot "
            "remove them."
        )
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
