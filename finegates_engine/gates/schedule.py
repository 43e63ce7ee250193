"""What the gates do at each moment of a training: target, noise, and when they are fixed."""

from dataclasses import dataclass
from typing import Literal

from finegates_engine.config import GateConfig

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


def moment(config: GateConfig, done: float, *, start: float = 0.0) -> Moment:
    """The schedule after a share `done`, in [0, 1), of the training.

    start: share that is closed before (on a path: the level before). The target rises as a
    cubic that is steep at first (Zhu and Gupta 2017, arXiv 1710.01878).
    """
    if done >= 1 - config.finish:
        return Moment("fixed", config.target, NOISE_FLOOR if config.anneal else 1.0)
    if done < config.open_start:
        return Moment("open", start, 1.0)
    learned = (done - config.open_start) / max(1e-9, 1 - config.finish - config.open_start)
    scale = 1 - (1 - NOISE_FLOOR) * learned if config.anneal else 1.0
    target = config.target
    if config.ramp:
        risen = min(1.0, (done - config.open_start) / config.ramp)
        target = config.target + (start - config.target) * (1 - risen) ** 3
    return Moment("learn", target, scale)
