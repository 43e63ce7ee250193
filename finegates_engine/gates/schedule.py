"""What the gates do at each moment of a training: target, noise, and when they are fixed."""

from dataclasses import dataclass
from typing import Literal

from finegates_engine.config import RunConfig

NOISE_FLOOR = 0.1
"""Share of the noise that is left at the end of annealing."""


@dataclass(frozen=True)
class Moment:
    """State of the schedule at one step."""

    phase: Literal["open", "learn", "fixed"]
    """Gates not pressed; learned under the penalty; set to 0 or 1."""

    target: float
    """Share to be removed at this step, in the target's unit."""

    noise_scale: float
    """Factor on the noise and on the penalty's standard deviation, in (0, 1]."""


def moment(config: RunConfig, done: float, *, start: float = 0.0) -> Moment:
    """The schedule after a share `done`, in [0, 1), of the training.

    start: share that is closed before (on a path: the level before). The target rises as a
    cubic that is steep at first (Zhu and Gupta 2017, arXiv 1710.01878).
    """
    gates, phases = config.gates, config.phases
    if done >= 1 - phases.finish:
        return Moment("fixed", gates.target, NOISE_FLOOR if gates.anneal else 1.0)
    if done < phases.open_start:
        return Moment("open", start, 1.0)
    learned = (done - phases.open_start) / max(1e-9, phases.learning)
    scale = 1 - (1 - NOISE_FLOOR) * learned if gates.anneal else 1.0
    target = gates.target
    if phases.ramp:
        risen = min(1.0, (done - phases.open_start) / phases.ramp)
        target = gates.target + (start - gates.target) * (1 - risen) ** 3
    return Moment("learn", target, scale)
