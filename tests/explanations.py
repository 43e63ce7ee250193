"""An explanation to change one thing of."""

import dataclasses
from typing import Any

from finegates_engine.explain.explanation import (
    PARTS,
    Explanation,
    LayerForm,
    PartWork,
    Trial,
    combine,
)
from finegates_engine.timing.latency import Speedup
from finegates_engine.timing.stored import Machine, Setting

DENSE_MS = dict.fromkeys(PARTS, 0.0) | {
    "qkv": 4.0,
    "attention": 1.0,
    "ffn_in": 2.0,
    "ffn_out": 2.0,
    "python": 1.0,
}
PRUNED_MS = dict.fromkeys(PARTS, 0.0) | {
    "qkv": 2.0,
    "attention": 0.5,
    "ffn_in": 1.0,
    "ffn_out": 1.0,
    "python": 1.0,
}


def half(dense: int = 100, stored: int = 50) -> PartWork:
    return PartWork(dense=dense, left=50, stored=stored)


def layer(**changes: Any) -> LayerForm:
    """Two heads with all that is left of them in place."""
    values: dict[str, Any] = {
        "query": (4, 4),
        "value": (4, 4),
        "heads": 2,
        "width": 4,
        "ffn": 16,
        "stored_ffn": 16,
        "qkv_rows": 24,
        "spread": False,
    }
    return LayerForm(**values | changes)


def explanation(
    *, error_ms: float = 0.01, work: dict[str, PartWork] | None = None, **pruned_ms: float
) -> Explanation:
    """Ten ms dense, five and a half pruned; nothing lost but what is given."""
    after = PRUNED_MS | pruned_ms
    names = ("qkv", "attention", "attention_output", "ffn_in", "activation", "ffn_out")
    works = dict.fromkeys(names, half()) | (work or {})
    whole = sum(after.values())
    gain = sum(DENSE_MS.values()) / whole
    return Explanation(
        run_id="mrpc-finegates-t0.50-s0-0123456789ab",
        setting=Setting(batch=1, tokens=64),
        machine=Machine(
            platform="Linux",
            cpu="a CPU",
            cores=2,
            accelerator=None,
            versions={"torch": "2.13.0"},
            wait_policy=None,
        ),
        parts=combine(
            {name: (ms, 0.0) for name, ms in DENSE_MS.items()},
            {name: (ms, error_ms) for name, ms in after.items()},
            works,
        ),
        layers=(layer(), layer()),
        dense_ms=sum(DENSE_MS.values()),
        pruned_ms=whole,
        speedup=Speedup(value=gain, low=gain - 0.1, high=gain + 0.1),
        mac_ratio=2.0,
        efficiency=gain / 2,
        fixed_ms=(0.4, 0.5),
        slowed=(1.05, 1.1),
        clock="thread",
        trials=(),
        not_tried={},
        inputs="random ids",
        rounds=30,
        load=0.5,
    )


def trial(name: str, gain: float, low: float, **changes: Any) -> Trial:
    """A change with its gain, and an interval as wide on both sides."""
    speedup = Speedup(value=gain, low=low, high=2 * gain - low)
    values = {"what": f"what of {name}", "how": f"how of {name}", "same_outputs": True}
    return Trial(name=name, gain=speedup, **values | changes)


def with_trials(*trials: Trial) -> Explanation:
    return dataclasses.replace(explanation(), trials=trials)
