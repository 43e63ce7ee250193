"""Where a training is. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Told to whoever listens to a training: a bar, the store, a page."""

    step: int
    """Steps done."""

    steps: int
    """Steps planned."""

    score: float | None
    """Last score of the headline metric; None before the first evaluation."""

    seconds_left: float | None
    """Estimate, from the steps of this process."""
