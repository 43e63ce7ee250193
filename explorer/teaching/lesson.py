"""The guided lesson: four questions to commit to, and what is true, computed. No Streamlit."""

from dataclasses import dataclass

import numpy as np

from explorer.teaching import gate_maths, tiny_ffn

TARGET = 0.4
CLOSED = (1, 3)
"""Inner dimensions that the third question closes."""


@dataclass(frozen=True)
class Step:
    """One question."""

    name: str
    """Also the name of the picture that answers it."""

    idea: str
    """What is told before."""

    question: str
    options: tuple[str, ...]
    answer: int
    """Number of the right option."""

    reveal: str
    """What is told after the right option, with the numbers."""

    formulas: tuple[str, ...]
    """LaTeX of what the numbers come from, a line each."""


def steps() -> tuple[Step, ...]:
    """The four steps, their answers computed."""
    return (_noise(), _two_axes(), _fold(), _two_deviations())


def _noise() -> Step:
    kept = float(gate_maths.kept_probability(-0.5, 0.1))
    options = (0.0, 0.5, 1.0)
    return Step(
        "noise",
        "A gate is a number between 0 and 1 that multiplies one row of a weight matrix. In "
        "training, noise is added to it, and what falls outside 0 to 1 is cut off.",
        "Without noise this gate would be exactly 0. In how many of 100 training steps does its "
        "row still play a part?",
        tuple(f"In {_hundredths(share)} of 100" for share in options),
        _nearest(options, kept),
        "The noise goes up as often as down, and every step up "
        "lets the row through. So the gate goes on learning: a row that helps can come back.",
        (
            r"P(z > 0) = \Phi\!\left(\frac{\mu + 0.5}{\sigma}\right)",
            rf"\Phi\!\left(\frac{{-0.5 + 0.5}}{{0.1}}\right) = {kept:.2f}",
        ),
    )


def _two_axes() -> Step:
    removed = 1 - (1 - TARGET) ** 2
    options = (0.16, 0.4, 0.64, 0.8)
    return Step(
        "two axes",
        "A matrix has rows and columns. Both can carry gates, and a weight is needed only where "
        "its row and its column are both kept.",
        f"{TARGET:.0%} of the rows and {TARGET:.0%} of the columns are closed. What share of the "
        "weights is gone?",
        tuple(f"{share:.0%}" for share in options),
        _nearest(options, removed),
        f"{1 - TARGET:.0%} of the rows times {1 - TARGET:.0%} of the columns leave "
        f"{(1 - TARGET) ** 2:.0%}. This is why a target always says what it counts.",
        (r"1 - (1 - 0.4)(1 - 0.4) = 1 - 0.6 \times 0.6 = " + f"{removed:.2f}",),
    )


def _fold() -> Step:
    gates = tiny_ffn.gates_of(CLOSED)
    change = np.abs(tiny_ffn.gated_output(gates) - tiny_ffn.folded(gates).output()).max()
    dense, small = tiny_ffn.dense().weights, tiny_ffn.folded(gates).weights
    options = ("Not at all", "A little", "A lot")
    assert change < 1e-12, "a fold is exact"
    return Step(
        "fold",
        "Two of the five inner dimensions of this small layer are closed. Their rows and columns "
        "are now cut out, and the layer is smaller.",
        "How much does the output of the layer with closed gates change when they are cut out?",
        options,
        0,
        f"{dense} weights became {small}, and the outputs differ by less than "
        "0.000000000001. What is multiplied by 0 can leave. What the *closing* cost is another "
        "matter: that is the loss in score that the other pages show.",
        (r"\sum_{j} W_{ij}\, g_j\, a_j = \sum_{j:\; g_j > 0} W_{ij}\, g_j\, a_j",),
    )


def _two_deviations() -> Step:
    mu = gate_maths.mu_of(1 - TARGET, gate_maths.REFERENCE_PENALTY_STD)
    value = float(gate_maths.value(mu))
    drawn = gate_maths.spread(mu, gate_maths.REFERENCE_NOISE_STD).closed
    options = (0.0, 0.1, 0.4, 1.0)
    return Step(
        "two deviations",
        f"The target is to remove {TARGET:.0%}. The penalty expects noise of standard deviation "
        "0.5; the noise really drawn has 0.1. All gates have the same mu, and the penalty is 0: "
        "the target is met.",
        "Training ends and the noise is switched off. What share of the gates is closed?",
        tuple(f"{share:.0%}" for share in options),
        _nearest(options, gate_maths.spread(mu, 0).closed),
        f"Every gate is {value:.3f}: small, but not 0. The penalty believes {TARGET:.0%}, "
        f"training has seen {drawn:.0%}, and the model that is used has closed nothing. This is "
        "why this project uses one deviation for both, and in the end sets every gate to 0 or 1.",
        (
            r"P = \Phi\!\left(\frac{\mu + 0.5}{0.5}\right) = 0.6",
            rf"\Rightarrow\; z = \mu + 0.5 = {value:.3f}",
        ),
    )


def _hundredths(share: float) -> str:
    return f"{100 * share:.0f}"


def _nearest(options: tuple[float, ...], truth: float) -> int:
    return int(np.argmin(np.abs(np.array(options) - truth)))
