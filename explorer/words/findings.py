"""The sentence above the trade-off: computed from the levels that are shown. No Streamlit."""

from typing import Any

import pandas as pd

from explorer.look.numbers import points_text, range_text, value_text
from explorer.look.theme import method_style
from explorer.words.levels import curve_label
from finegates_engine.analysis.intervals import Interval
from finegates_engine.analysis.tradeoff import ZERO, is_baseline, quantity, share_words
from finegates_engine.metrics import METRICS

_HALF = (0.45, 0.55)
_NOUNS = {
    "target": "of what was asked for",
    "gate_sparsity": "of the gates",
    "removed_weight_fraction": "of the gated weights",
    "folded_encoder_fraction": "of the encoder",
    "removed_model_fraction": "of the model",
}


def headline_level(levels: pd.DataFrame, x: str, y: str) -> int | None:
    """Index of the level that the title speaks of: FineGates', about half removed, by the most
    seeds. Of several it is the nearest to half, not the best."""
    shown = levels[~is_baseline(levels) & (levels["folded_encoder_fraction"] > ZERO)]
    shown = shown[~shown["method"].map(lambda name: method_style(name).control)]
    shown = shown[shown[y].notna() & shown[x].notna()]
    if shown.empty:
        return None
    share = shown["folded_encoder_fraction"]
    near = shown[share.between(*_HALF)]
    if near.empty:
        near = shown[(share - 0.5).abs() == (share - 0.5).abs().min()]
    ranked = near.assign(
        plain=near["variant"] == "",
        own=near["method"] == "finegates",
        far=(near["folded_encoder_fraction"] - 0.5).abs().round(2),
    ).sort_values(
        ["own", "plain", "seeds", "far", y],
        ascending=[False, False, False, True, quantity(y).better == "lower"],
    )
    return int(str(ranked.index[0]))


def reference_level(levels: pd.DataFrame, level: "pd.Series[Any]") -> int | None:
    """Index of what a level is compared with: nothing removed, of its own curve or method."""
    zero = levels[levels["folded_encoder_fraction"] <= ZERO]
    zero = zero[(zero["task"] == level["task"]) & (zero["backbone"] == level["backbone"])]
    for chosen in (
        zero[zero["curve"] == level["curve"]],
        zero[(zero["method"] == level["method"]) & (zero["variant"] == "")],
        zero[is_baseline(levels).reindex(zero.index)],
    ):
        if not chosen.empty:
            return int(str(chosen.sort_values("seeds", ascending=False).index[0]))
    return None


def finding(
    level: "pd.Series[Any] | None",
    reference: "pd.Series[Any] | None",
    difference: Interval | str | None,
    x: str,
    y: str,
) -> tuple[str, str]:
    """(title, subtitle) of the figure: what is found, with what it is compared."""
    what, of = quantity(y), _NOUNS.get(x, _NOUNS["folded_encoder_fraction"])
    if level is None:
        return f"{what.label} against {quantity(x).label.lower()}", ""
    share = level[x] if x in _NOUNS else level["folded_encoder_fraction"]
    removed = f"{share_words(share)} {of}"
    who = curve_label(level)
    if reference is None:
        return (
            f"{removed} gone: {what.label} {value_text(level[y], what)}",
            f"{who}. There is no run with nothing removed to compare with.",
        )
    if not y.startswith("metrics."):
        value, before = value_text(level[y], what), value_text(reference[y], what)
        return f"{what.label}: {value} with {removed.lower()} gone, {before} with all kept", who
    return _score_finding(level, reference, difference, removed, who, y)


def _score_finding(
    level: "pd.Series[Any]",
    reference: "pd.Series[Any]",
    difference: Interval | str | None,
    removed: str,
    who: str,
    y: str,
) -> tuple[str, str]:
    spec = METRICS[y.split(".", 2)[2]]
    sign = -1 if spec.better == "higher" else 1
    cost = sign * (level[y] - reference[y]) / spec.point
    label = spec.label.lower() if spec.label.istitle() and " " not in spec.label else spec.label
    title = f"{removed} goes for {points_text(cost)} of {label}"
    if cost <= 0:
        title = f"{removed} goes without a loss of {label}"
    if cost < 0 and isinstance(difference, Interval) and difference.excludes_zero:
        title = f"{removed} goes and {label} is {points_text(-cost)} better"
    same = reference["method"] == level["method"]
    compared = f"{who}: {level[y]:.3f} against {reference[y]:.3f} "
    compared += "with nothing removed" if same else f"of {curve_label(reference)}"
    if not isinstance(difference, Interval):
        return title, f"{compared}."
    low, high = sorted(sign * v / spec.point for v in (difference.low, difference.high))
    seeds = "one seed, rows only" if difference.seeds == 1 else f"{difference.seeds} seeds"
    clear = "" if difference.excludes_zero else ", which contains 0"
    name, value = ("cost", cost) if cost >= 0 else ("gain", -cost)
    low, high = (low, high) if cost >= 0 else (-high, -low)
    interval = f"{name} {points_text(value)}, 95% interval {range_text(low, high)} ({seeds}){clear}"
    return title, f"{compared}; {interval}."
