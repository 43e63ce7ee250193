"""Where the time of a pruned run goes, and what it could be at best. No torch.

Times of the parts come from `part_times`, of changes from `what_if`. A part is expected to take
its dense time times what is left of its own arithmetic; what it takes beyond that is its gap.
"""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from finegates_engine.timing.latency import Speedup
from finegates_engine.timing.stored import Machine, Setting

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

PARTS: dict[str, str] = {
    "embeddings": "Embeddings",
    "qkv": "Query, key, value products",
    "attention": "Attention between tokens",
    "attention_output": "Attention output product",
    "ffn_in": "FFN in product",
    "activation": "FFN activation",
    "ffn_out": "FFN out product",
    "take": "Picking and spreading",
    "norm": "LayerNorm",
    "elementwise": "Residual sums, other",
    "head": "Pooling and classifier",
    "python": "Python and dispatch",
}
"""Part -> its name for readers, in the order in which data passes."""

SCALED = ("qkv", "attention", "attention_output", "ffn_in", "activation", "ffn_out")
"""Parts whose time falls as inner dimensions leave. All others stay, whatever is removed."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PartWork:
    """Multiply-accumulates of one token in one part; of the activation, its dimensions."""

    dense: int = Field(ge=0)
    left: int = Field(ge=0)
    """After folding, without zeros that fill up."""

    stored: int = Field(ge=0)
    """As the pruned model computes it, zeros included."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PartTime:
    """One part of one call. The parts of a model sum up to its whole time."""

    part: str
    dense_ms: float
    pruned_ms: float
    expected_ms: float
    """dense_ms times what is left of its arithmetic; 0 for what the dense model does not do."""

    error_ms: float = Field(ge=0)
    """Half the 95% interval of pruned_ms - expected_ms, from the scatter between calls."""

    work: PartWork | None
    """None: no arithmetic that leaves."""

    @property
    def gap_ms(self) -> float:
        """What the part takes beyond its expected time."""
        return self.pruned_ms - self.expected_ms


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LayerForm:
    """What is left of one block, and how it is stored."""

    query: tuple[int, ...]
    """Dimensions of query and key left, for each head; 0 where a head has none."""

    value: tuple[int, ...]
    heads: int = Field(ge=0)
    """Heads that are computed."""

    width: int = Field(ge=0)
    """Their common width in attention."""

    ffn: int = Field(ge=0)
    stored_ffn: int = Field(ge=0)
    qkv_rows: int = Field(ge=0)
    """Rows of the stored query, key and value matrix."""

    spread: bool
    """Rows are spread to the common width after the product, not stored as zeros."""

    @property
    def rows_left(self) -> int:
        """Rows of query, key and value that stay."""
        return 2 * sum(self.query) + sum(self.value)

    @property
    def padded_rows(self) -> int:
        """Their rows in attention, where all heads are of one width."""
        return 3 * self.heads * self.width


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Trial:
    """One change that was timed against the pruned model as it is, at the same shape."""

    name: str
    what: str
    """What changes, in words."""

    how: str
    """A command or setting that makes the change."""

    gain: Speedup
    """How many times as fast as the pruned model now: a call, or a row where `per` says so."""

    per: Literal["call", "row"] = "call"
    same_outputs: bool
    """Whether the run itself can be changed so; otherwise it must be trained again."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Explanation:
    """Where the time of one pruned run goes in one setting, on one machine."""

    run_id: str
    setting: Setting
    machine: Machine
    parts: tuple[PartTime, ...]
    layers: tuple[LayerForm, ...]
    dense_ms: float = Field(gt=0)
    """Median of one call, without any instrument."""

    pruned_ms: float = Field(gt=0)
    """dense_ms / speedup, so that the two are of the same moments."""

    speedup: Speedup
    """Measured, the pruned model against dense."""

    mac_ratio: float = Field(gt=0)
    """Multiply-accumulates of dense / of pruned, in rows of this many tokens."""

    efficiency: float = Field(gt=0)
    """speedup / mac_ratio."""

    fixed_ms: tuple[float, float]
    """Dense, pruned: a model of the same operations with next to no arithmetic."""

    slowed: tuple[float, float]
    """Dense, pruned: how many times as long a call takes while its parts are timed."""

    clock: Literal["thread", "wall"]
    """What shares were timed by: the thread's own time, or the wall's where that misses work."""

    trials: tuple[Trial, ...]
    not_tried: dict[str, str]
    """Change -> why it was not timed."""

    inputs: str
    """Where the token ids came from."""

    rounds: int = Field(ge=1)
    load: float | None = Field(ge=0)
    """Processes that wanted to run when it began (1-minute average). None: not known."""

    @property
    def removable_share(self) -> float:
        """Share of the dense time that falls as weights leave."""
        return sum(self.part(name).dense_ms for name in SCALED) / self.dense_ms

    @property
    def ceiling(self) -> float | None:
        """The speed-up if all that can be removed cost nothing (Amdahl). None: without limit."""
        rest = 1 - self.removable_share
        return 1 / rest if rest > 0 else None

    @property
    def predicted(self) -> float:
        """The speed-up if each part took its dense time times what is left of its arithmetic."""
        return self.dense_ms / sum(part.expected_ms for part in self.parts)

    def part(self, name: str) -> PartTime:
        """One part. Raises KeyError for a name that is not in PARTS."""
        return {part.part: part for part in self.parts}[name]


EXPLANATION: TypeAdapter[Explanation] = TypeAdapter(Explanation)


def combine(
    dense: Mapping[str, tuple[float, float]],
    pruned: Mapping[str, tuple[float, float]],
    work: Mapping[str, PartWork],
) -> tuple[PartTime, ...]:
    """Parts of both models side by side. dense, pruned: part -> (ms, half its interval)."""
    parts = []
    for name in PARTS:
        (before, unsure), (after, unsure_too) = dense[name], pruned[name]
        ratio = 1.0
        if name in SCALED:
            ratio = work[name].left / work[name].dense
        parts.append(
            PartTime(
                part=name,
                dense_ms=before,
                pruned_ms=after,
                expected_ms=before * ratio,
                error_ms=math.hypot(unsure * ratio, unsure_too),
                work=work.get(name),
            )
        )
    return tuple(parts)
