"""The guided lesson: one question a screen; the answer comes after a guess."""

import html

import streamlit as st

from explorer.figures.teaching import (
    beliefs_figure,
    density_figure,
    layer_figure,
    removal_figure,
)
from explorer.teaching import lesson, tiny_ffn
from explorer.teaching.lesson import Step
from explorer.widgets import parts, selection

_GUESSES = "lesson-guesses"


def guided() -> None:
    """The lesson, at the step that the address names."""
    steps = lesson.steps()
    names = [str(number + 1) for number in range(len(steps))]
    guesses: dict[int, int] = st.session_state.setdefault(_GUESSES, {})
    number = int(
        selection.pick(
            "step",
            "Step",
            names,
            default="1",
            format_func=lambda name: f"{name} \u2713" if int(name) - 1 in guesses else name,
            widget=st.segmented_control,
            required=True,
            label_visibility="collapsed",
        )
    )
    step, guess = steps[number - 1], guesses.get(number - 1)
    st.html(f"<p style='font-size:1.25rem;line-height:1.55;margin:0'>{html.escape(step.idea)}</p>")
    _ask(step, number - 1, guess)
    if guess is not None:
        _reveal(step, guess)
        _onward(number, len(steps))
        if len(guesses) == len(steps):
            _summary(steps, guesses)


def _ask(step: Step, number: int, guess: int | None) -> None:
    st.subheader(parts.plain(step.question), anchor=False)
    chosen = st.pills(
        "Your guess",
        range(len(step.options)),
        default=guess,
        format_func=lambda option: parts.plain(step.options[option]),
        key=f"guess-{number}-{guess is None}",
        disabled=guess is not None,
    )
    if guess is None:
        st.button(
            "That is my guess",
            type="primary",
            disabled=chosen is None,
            on_click=_commit,
            args=(number, chosen),
        )
        st.caption("Guess first: the answer comes after.")


def _commit(number: int, chosen: int) -> None:
    st.session_state[_GUESSES] = st.session_state[_GUESSES] | {number: chosen}


def _reveal(step: Step, guess: int) -> None:
    words = f"**{parts.plain(step.options[step.answer])}.** {parts.plain(step.reveal)}"
    if guess == step.answer:
        st.success(words, icon=":material/check:")
    else:
        st.info(words, icon=":material/lightbulb:")
    _picture(step)
    for formula in step.formulas:
        st.latex(formula)


def _picture(step: Step) -> None:
    closed = range(round(10 * lesson.TARGET))
    figure = {
        "noise": lambda: density_figure(-0.5, 0.1),
        "two axes": lambda: removal_figure(closed, closed),
        "fold": lambda: layer_figure(tiny_ffn.gates_of(lesson.CLOSED), "folded"),
        "two deviations": lambda: beliefs_figure(lesson.TARGET, 0.5),
    }[step.name]()
    parts.chart(figure, f"lesson-{step.name.replace(' ', '-')}", alt=step.reveal)


def _onward(number: int, count: int) -> None:
    if number < count:
        st.button(
            "Next question",
            type="primary",
            icon=":material/arrow_forward:",
            on_click=selection.put,
            args=("step", str(number + 1)),
        )


def _summary(steps: tuple[Step, ...], guesses: dict[int, int]) -> None:
    right = sum(guesses[number] == step.answer for number, step in enumerate(steps))
    st.divider()
    st.subheader(f"{right} of {len(steps)} guessed right", anchor=False)
    st.markdown(
        "Noise keeps a gate learning. Rows and columns multiply. What is closed can be cut out "
        "exactly. A target means something only when the gates in use are really closed."
    )
    st.button("Start again", on_click=_again, icon=":material/replay:")


def _again() -> None:
    st.session_state.pop(_GUESSES, None)
    selection.put("step", None)
