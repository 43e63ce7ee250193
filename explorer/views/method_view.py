"""The screens of the method page: one idea each."""

import numpy as np
import streamlit as st

from explorer.figures.teaching import (
    beliefs_figure,
    density_figure,
    layer_figure,
    probability_figure,
    removal_figure,
)
from explorer.look.glossary import explain
from explorer.look.numbers import MINUS
from explorer.teaching import gate_maths, tiny_ffn
from explorer.views import lesson_view
from explorer.widgets import parts, selection

STAGES = {"dense": "1. The layer", "gated": "2. Close", "folded": "3. Cut out"}
_MET = 0.005
"""A penalty below half a point counts as met."""


def one_gate() -> None:
    """Sliders of one gate: where its value falls, and what the penalty wants of it."""
    with st.container(horizontal=True):
        mu = st.slider("Location mu", -1.0, 1.0, -0.35, 0.01, help=explain("mu"))
        std = st.slider("Noise, standard deviation", 0.02, 0.6, 0.2, 0.02, help=explain("noise"))
        target = st.slider(
            "Target: close, percent", 0, 95, 40, 5, format="%d%%", help=explain("target")
        )
    share = target / 100
    spread = gate_maths.spread(mu, std)
    kept = float(gate_maths.kept_probability(mu, std))
    slope = float(gate_maths.penalty_gradient(mu, std, share)[0])
    left, right = st.columns(2, gap="large")
    with left:
        parts.finding(f"Closed in {spread.closed:.0%} of the steps")
        figure = density_figure(mu, std)
        parts.chart(figure, "gate-density", alt="Where the value of the gate falls in training")
        st.latex(
            r"z = \mathrm{clip}(\mu + 0.5 + \varepsilon,\ 0,\ 1),\ \ "
            r"\varepsilon \sim N(0, \sigma^2)"
        )
    with right:
        parts.finding(_wish(kept, share))
        figure = probability_figure(mu, std, share)
        parts.chart(figure, "gate-probability", alt="Probability of being kept over mu")
        st.latex(r"P = \Phi\!\left(\frac{\mu + 0.5}{\sigma}\right) = " + f"{kept:.2f}")
    with st.container(horizontal=True):
        value = float(gate_maths.value(mu))
        st.metric("Value in use, no noise", f"{value:.2f}", help=explain("gate"))
        st.metric("Probability of being kept", f"{kept:.1%}", help=explain("kept_probability"))
        st.metric("Penalty", f"{abs(kept - 1 + share):.3f}", help=explain("penalty"))
        st.metric("Gradient by mu", _signed(slope), help=explain("gradient"))
    left, right = st.columns(2, gap="large")
    left.latex(r"\text{penalty} = \left|\,\overline{P} - (1 - \text{target})\,\right|")
    right.latex(
        r"\frac{\partial\,\text{penalty}}{\partial \mu} = \pm \frac{1}{\sigma}\,"
        r"\varphi\!\left(\frac{\mu + 0.5}{\sigma}\right)"
    )
    st.caption(
        "Here one gate stands for all. Far from the threshold the gradient is nearly 0: a gate "
        "that is clearly open or clearly closed is no longer moved by the penalty. This is the "
        "paper's gate; by default this project trains with 0 or 1 in place of the clipped value "
        "(`--relaxation hard`), with the same P and the same penalty."
    )


def _wish(kept: float, target: float) -> str:
    missed = kept - (1 - target)
    if abs(missed) < _MET:
        return "The target is met: no pull"
    side = "to closed" if missed > 0 else "to open"
    return f"The penalty pulls it {side}"


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    return MINUS + text if value < 0 and float(text) else text


def fold() -> None:
    """A matrix that loses rows and columns, then a small layer folded step by step."""
    what = selection.pick(
        "shape",
        "What is looked at",
        ["matrix", "layer"],
        default="matrix",
        format_func={"matrix": "One matrix", "layer": "A layer, folded"}.__getitem__,
        widget=st.segmented_control,
        required=True,
        label_visibility="collapsed",
    )
    if what == "matrix":
        _matrix()
    else:
        _layer()


def _matrix() -> None:
    with st.container(horizontal=True):
        rows = st.slider("Rows closed, percent", 0, 90, 40, 10, format="%d%%")
        columns = st.slider("Columns closed, percent", 0, 90, 40, 10, format="%d%%")
    gone = 1 - (1 - rows / 100) * (1 - columns / 100)
    order = np.random.default_rng(3).permutation(10), np.random.default_rng(8).permutation(10)
    title = f"{rows}% of the rows and {columns}% of the columns: {gone:.0%} of the weights"
    parts.finding(title)
    figure = removal_figure(order[0][: rows // 10], order[1][: columns // 10])
    parts.chart(figure, "removal", alt=title)
    st.latex(r"y = r \odot (W\,(c \odot x) + b)")
    st.latex(
        r"\text{removed} = "
        rf"1 - (1 - {rows / 100:.1f})(1 - {columns / 100:.1f}) = {gone:.2f}"
    )
    st.caption(
        "r and c are the gates of rows and columns. A weight is needed only where both its row and "
        "its column are kept."
    )


def _layer() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        closed = st.pills(
            "Inner dimensions to close",
            list(range(tiny_ffn.INNER)),
            selection_mode="multi",
            default=[1, 3],
            format_func=lambda number: str(number + 1),
            help=explain("closed"),
        )
        soft = st.toggle("Dimension 1 soft, at 0.5", help=explain("soft"))
        stage = selection.pick(
            "stage",
            "Step",
            list(STAGES),
            default="dense",
            format_func=STAGES.__getitem__,
            widget=st.segmented_control,
            required=True,
        )
    gates = tiny_ffn.gates_of(closed, (0,) if soft else ())
    title, outputs = _stage_words(gates, stage)
    parts.finding(title)
    if stage == "folded" and not gates.any():
        st.info("Nothing is left of the layer but its bias.", icon=":material/crop_free:")
    else:
        parts.chart(layer_figure(gates, stage), f"layer-{stage}", alt=title)
    with st.container(horizontal=True):
        for number, output in enumerate(outputs, start=1):
            st.metric(f"Output y{number}", _signed4(float(output)))
        weights = tiny_ffn.folded(gates).weights if stage == "folded" else tiny_ffn.dense().weights
        st.metric("Weights stored", f"{weights} of {tiny_ffn.dense().weights}")
    st.latex(
        r"y = \sum_j W^{\text{out}}_{\cdot j}\; g_j\; \mathrm{GELU}"
        r"\!\left(W^{\text{in}}_{j\cdot}\,x + b_j\right) + b"
    )
    st.caption(
        f"The input is x = ({', '.join(_plain(value) for value in tiny_ffn.INPUT)}). An inner "
        "dimension is a row of the first matrix and the column of the second that reads it; "
        "closed, both leave together.",
        help=explain("fold"),
    )


def _stage_words(gates: gate_maths.Array, stage: str) -> tuple[str, gate_maths.Array]:
    gated = tiny_ffn.gated_output(gates)
    if stage == "dense":
        return "A layer of 5 inner dimensions, and what it computes", tiny_ffn.dense().output()
    change = np.abs(gated - tiny_ffn.dense().output()).max()
    if stage == "gated":
        return f"Closing changes the output by up to {change:.2f}: that is the price", gated
    output = tiny_ffn.folded(gates).output()
    assert np.abs(output - gated).max() < 1e-12, "a fold is exact"
    return "Cutting out changes nothing: the same output from a smaller layer", output


def _signed4(value: float) -> str:
    text = f"{abs(value):.4f}"
    return MINUS + text if value < 0 else text


def _plain(value: float) -> str:
    return f"{value:g}".replace("-", MINUS)


def deviations() -> None:
    """Why a target can be met with no gate closed."""
    with st.container(horizontal=True):
        target = st.slider(
            "Target: close, percent", 5, 90, 40, 5, format="%d%%", help=explain("target")
        )
        std = st.slider(
            "Standard deviation in the penalty",
            0.1,
            0.5,
            gate_maths.REFERENCE_PENALTY_STD,
            0.05,
            help="That of the noise in training stays 0.1.",
        )
    share = target / 100
    mu = gate_maths.mu_of(1 - share, std)
    value = float(gate_maths.value(mu))
    if mu < -1:
        parts.finding(f"With {std:g} in the penalty, {share:.0%} cannot be met at all")
        least = float(gate_maths.kept_probability(-1, std))
        st.markdown(f"mu stays above \u22121, so P stays above {least:.3f}.")
        return
    title = f"The target of {share:.0%} is met, and "
    title += "no gate is closed" if value > 0 else f"every gate is closed ({value:g})"
    parts.finding(title)
    left, right = st.columns(2, gap="large")
    with left:
        parts.chart(beliefs_figure(share, std), "beliefs", alt=title)
    with right:
        figure = probability_figure(mu, std, share)
        parts.chart(figure, "deviations", alt="Probability of being kept over mu")
    left, right = st.columns(2, gap="large")
    left.latex(rf"P = \Phi\!\left(\frac{{\mu + 0.5}}{{{std:g}}}\right) = {1 - share:g}")
    right.latex(rf"\Rightarrow\ z = \mathrm{{clip}}(\mu + 0.5,\,0,\,1) = {value:.3f}")
    st.markdown(_deviation_words(std, value))


def _deviation_words(std: float, value: float) -> str:
    low, high = (float(gate_maths.kept_probability(mu, std)) for mu in (-1.0, 1.0))
    text = f"With {std:g} in the penalty, P lies between {low:.3f} and {high:.4f} whatever is "
    text += "learned. "
    if std > gate_maths.REFERENCE_NOISE_STD:
        drawn = gate_maths.spread(value - gate_maths.OFFSET, gate_maths.REFERENCE_NOISE_STD).closed
        if value > 0:
            text += f"All gates at {value:.3f} satisfy it, and the noise of 0.1 takes them to 0 in "
            text += f"only {drawn:.0%} of the steps. "
        return text + (
            "The paper's code has 0.5 here and 0.1 in the noise; the preset `reference` keeps both."
        )
    return text + (
        "With the same deviation on both sides, training sees what the penalty believes. In use "
        "the noise is off, so a last step is still needed: this project sets every gate to 0 or 1 "
        "at the exact target and trains the rest on."
    )


SCREENS = {
    "gate": ("One gate", one_gate),
    "fold": ("Fold", fold),
    "deviations": ("Two deviations", deviations),
    "lesson": ("Lesson", lesson_view.guided),
}
"""Name in the address -> its words, and what draws it."""
