"""A feed-forward layer small enough to read, gated and folded step by step. NumPy only."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erf

Array = npt.NDArray[np.float64]

WEIGHTS_IN: Array = np.array(
    [[0.6, -0.2, 0.1], [0.3, 0.8, -0.5], [-0.7, 0.4, 0.2], [0.1, -0.6, 0.9], [0.5, 0.5, -0.3]]
)
"""(5 inner, 3 inputs)."""

BIAS_IN: Array = np.array([0.1, 0.0, -0.2, 0.3, 0.1])
WEIGHTS_OUT: Array = np.array(
    [[0.4, -0.1, 0.7, 0.2, -0.5], [-0.3, 0.6, 0.2, -0.8, 0.1], [0.2, 0.5, -0.4, 0.3, 0.6]]
)
"""(3 outputs, 5 inner)."""

BIAS_OUT: Array = np.array([0.05, -0.1, 0.0])
INPUT: Array = np.array([1.0, -0.5, 2.0])
INNER = len(BIAS_IN)


@dataclass(frozen=True, eq=False)
class Layer:
    """Two matrices with a GELU between them."""

    weights_in: Array
    bias_in: Array
    weights_out: Array
    bias_out: Array

    def output(self, x: Array = INPUT) -> Array:
        """(3,)."""
        return self.weights_out @ gelu(self.weights_in @ x + self.bias_in) + self.bias_out

    @property
    def weights(self) -> int:
        """Weights in both matrices."""
        return self.weights_in.size + self.weights_out.size


def gelu(x: Array) -> Array:
    """The exact GELU; 0 at 0."""
    return np.asarray(0.5 * x * (1 + erf(x / np.sqrt(2))))


def gates_of(closed: Collection[int], soft: Collection[int] = ()) -> Array:
    """(5,) gates of the inner dimensions: 0, 0.5 or 1."""
    gates = np.ones(INNER)
    gates[list(soft)] = 0.5
    gates[list(closed)] = 0.0
    return gates


def dense() -> Layer:
    """The whole layer."""
    return Layer(WEIGHTS_IN, BIAS_IN, WEIGHTS_OUT, BIAS_OUT)


def gated_output(gates: Array, x: Array = INPUT) -> Array:
    """What the layer computes when one gate acts on each inner dimension, (3,)."""
    layer = dense()
    return layer.weights_out @ (gates * gelu(layer.weights_in @ x + layer.bias_in)) + BIAS_OUT


def multiplied(gates: Array) -> Layer:
    """The gates written into the weights: closed ones leave zeros, soft ones scale a column."""
    kept = (gates > 0).astype(float)
    return Layer(WEIGHTS_IN * kept[:, None], BIAS_IN * kept, WEIGHTS_OUT * gates, BIAS_OUT)


def folded(gates: Array) -> Layer:
    """The smaller layer: rows and columns of zeros are gone."""
    keep = gates > 0
    layer = multiplied(gates)
    return Layer(
        layer.weights_in[keep], layer.bias_in[keep], layer.weights_out[:, keep], layer.bias_out
    )
