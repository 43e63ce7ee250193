"""Which dimensions carry gates, and when and how they close, as a frozen dataclass. No torch."""

import dataclasses
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from finegates_engine.validation import STRICT


@dataclasses.dataclass(frozen=True)
class Phases:
    """Shares of a training: all gates open, the target's rise, gates fixed at the end."""

    open_start: float
    ramp: float
    finish: float

    @property
    def learning(self) -> float:
        """Share in which gates are learned: neither open nor fixed."""
        return 1 - self.open_start - self.finish


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GateConfig:
    """Which dimensions carry gates, how many are to be closed, and how that is reached."""

    target: float = Field(default=0.4, ge=0, lt=1)
    """Share to remove, in [0, 1), in the unit of target_unit."""

    target_unit: Literal["encoder_weights", "gates"] = "encoder_weights"
    """What the target counts: weights that leave the encoder by folding, or gates closed."""

    axes: Literal["inner", "attention", "all"] = "inner"
    """Gated dimensions: those that fold with no gather; all of attention; all six matrices."""

    tie: bool = True
    """One gate for the dimensions that fold together, instead of one for each matrix side."""

    head_gates: bool = False
    """Also one gate for each attention head, which takes its query, key, value and output."""

    head_step: int = Field(default=0, ge=0, le=1024)
    """All heads of a layer keep one width, closed in steps of so many dimensions: faster, since
    heads that are alike need no zeros between them. 0: each head has its own widths."""

    allocation: Literal["budget", "vector"] = "budget"
    """The target holds for the model as one budget, or for each gate vector (the paper)."""

    learn: Literal["gradient", "fisher"] = "gradient"
    """How gates are chosen: each moved by its own gradient under noise (the paper), with the
    settings from relaxation to anneal; or closed for good along the target's rise, those first
    whose squared gradients (Fisher information) are smallest by then."""

    relaxation: Literal["clip", "hard"] = "hard"
    """A gate in training: clipped to [0, 1] (the paper), or 0 or 1 with a straight gradient."""

    noise_std: float = Field(default=0.1, ge=0, le=2)
    """Standard deviation of the training noise on a gate."""

    penalty_std: float = Field(default=0.1, gt=0, le=2)
    """Standard deviation in the probability of being kept, which the penalty sees."""

    penalty_weight: float = Field(default=50.0, ge=0)
    """Multiplier of the penalty (lambda); the start value where the controller changes it."""

    controller: Literal["fixed", "dual", "shift"] = "shift"
    """Multiplier: fixed (the paper); raised while the target is missed; or none, all gates
    shifted by one number after each step so that the expected share is met."""

    ramp: float = Field(default=0.15, ge=0, le=1)
    """Share of the training in which the target rises (cubically) from 0 to its value."""

    open_start: float = Field(default=0.65, ge=0, lt=1)
    """Share of the training before any gate is pressed to close."""

    start: Literal["equal", "fisher"] = "fisher"
    """Order of the gates when they begin to be pressed: all alike, or by the squared gradients
    of the open phase (Fisher information); the second needs open_start > 0 and hard gates."""

    anneal: bool = False
    """Lower the noise linearly to a tenth of its start value while gates are learned."""

    finish: float = Field(default=0.2, ge=0, lt=1)
    """Last share of the training, with gates set to 0 or 1 at the exact target and fixed."""

    path_ramp: float = Field(default=0.2, ge=0, le=1)
    """The ramp of each level of a path after its first, which goes on from a trained model."""

    path_open_start: float = Field(default=0.2, ge=0, lt=1)
    """The open start of each level of a path after its first."""

    path_finish: float = Field(default=0.6, ge=0, lt=1)
    """The finish of each level of a path after its first."""

    kurtosis: bool = False
    """Weight each gate in the penalty by the kurtosis of its dimension's activations."""

    distill: float = Field(default=0.0, ge=0)
    """Weight of the distance to the logits that the model gave with all gates open."""

    history_frames: int = Field(default=0, ge=0, le=32)
    """Snapshots of all gate values kept over the training."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kurtosis and (self.learn == "fisher" or self.controller == "shift"):
            raise ValueError(f"kurtosis weights the penalty, and {self._way()} has none")
        if self.head_step and (self.axes != "inner" or not self.tie or self.head_gates):
            raise ValueError(
                f"head_step {self.head_step} needs axes 'inner', tie and no head_gates, got axes "
                f"{self.axes!r}, tie {self.tie} and head_gates {self.head_gates}"
            )
        self._check_phases("", self.phases(later_level=False))
        self._check_phases("path_", self.phases(later_level=True))
        return self

    def _check_phases(self, prefix: str, phases: Phases) -> None:
        """prefix: of the fields' names."""
        together = phases.open_start + phases.ramp + phases.finish
        if together > 1 + 1e-9:
            names = " + ".join(prefix + name for name in ("open_start", "ramp", "finish"))
            raise ValueError(f"{names} must be at most 1, got {together:g}")
        stepwise = self.learn == "fisher"
        if (stepwise or self.controller == "shift") and not phases.finish:
            raise ValueError(f"{self._way()} needs {prefix}finish > 0, got 0")
        if stepwise and not phases.open_start:
            raise ValueError(
                f"learn 'fisher' needs {prefix}open_start > 0, to score the gates, got 0"
            )
        ranked = self.start == "fisher" and not stepwise
        if ranked and (self.relaxation != "hard" or not phases.open_start):
            raise ValueError(
                f"start 'fisher' needs relaxation 'hard' and {prefix}open_start > 0, got "
                f"{self.relaxation!r} and {phases.open_start:g}"
            )

    def _way(self) -> str:
        return "learn 'fisher'" if self.learn == "fisher" else f"controller {self.controller!r}"

    def phases(self, *, later_level: bool) -> Phases:
        """The phases of a training. later_level: one of a path, after its first."""
        if later_level:
            return Phases(self.path_open_start, self.path_ramp, self.path_finish)
        return Phases(self.open_start, self.ramp, self.finish)
