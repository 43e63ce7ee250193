"""The maths of one gate, in NumPy, as `finegates_engine.gates.gate` has it, without torch.

A gate is z = clip(mu + 0.5 + noise, 0, 1) with noise ~ N(0, std^2); design of the gates:
arXiv 2412.12951, section 3.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Array = npt.NDArray[np.float64]

OFFSET = 0.5  # as in finegates_engine.gates.gate, which cannot be imported without torch
REFERENCE_NOISE_STD = 0.1  # released code of arXiv 2602.09169
REFERENCE_PENALTY_STD = 0.5  # the same


def value(mu: npt.ArrayLike, noise: npt.ArrayLike = 0.0) -> Array:
    """Value of a gate with the given noise, in [0, 1]; any shape. Noise 0: in evaluation."""
    return np.asarray(np.clip(np.asarray(mu) + OFFSET + np.asarray(noise), 0.0, 1.0))


def kept_probability(mu: npt.ArrayLike, std: float) -> Array:
    """Probability that a gate is above 0 under noise of this standard deviation; any shape."""
    return np.asarray(ndtr((np.asarray(mu, dtype=float) + OFFSET) / std))


def mu_of(probability: float, std: float) -> float:
    """The mu at which a gate is kept with this probability."""
    return float(std * ndtri(probability) - OFFSET)


def penalty(mu: npt.ArrayLike, std: float, target: float) -> float:
    """Distance of the mean probability of being kept from 1 - target, over all gates."""
    return float(abs(kept_probability(mu, std).mean() - (1 - target)))


def penalty_gradient(mu: npt.ArrayLike, std: float, target: float) -> Array:
    """Derivative of the penalty by each mu, of the shape of mu; 0 where the target is met."""
    places = np.atleast_1d(np.asarray(mu, dtype=float))
    missed = kept_probability(places, std).mean() - (1 - target)
    slope = np.exp(-(((places + OFFSET) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
    return np.asarray(np.sign(missed) * slope / places.size)


@dataclass(frozen=True)
class Spread:
    """Where the values of one gate fall under noise."""

    closed: float
    """Probability of exactly 0."""

    soft: float
    """Probability of strictly between 0 and 1."""

    open: float
    """Probability of exactly 1."""


def spread(mu: float, std: float) -> Spread:
    """Probabilities of closed, soft and open; std 0: of the value in evaluation."""
    centre = mu + OFFSET
    if std == 0:
        return Spread(float(centre <= 0), float(0 < centre < 1), float(centre >= 1))
    closed, opened = float(ndtr(-centre / std)), float(ndtr((centre - 1) / std))
    return Spread(closed, 1 - closed - opened, opened)


def density(mu: float, std: float, points: int = 201) -> tuple[Array, Array]:
    """(values, density) of the soft part, between 0 and 1; its area is `spread(...).soft`."""
    z = np.linspace(0.0, 1.0, points)
    heights = np.exp(-(((z - OFFSET - mu) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
    return z, heights
