"""What is selected, in the address, so that a view can be sent to a colleague.

The address is the authority; a session remembers it when its user goes to another page, since
that empties the address. Nothing in it is trusted: a value counts only where it is one of the
options, and what is not is said once and left out.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from explorer.look.plain_text import plain
from finegates_engine.runs.index import RUN_ID

T = TypeVar("T")

_KEPT, _WIDGET, _DROPPED = "kept:", "pick:", "dropped:"
_LONGEST = 120
_JOIN = "~"


def raw(name: str) -> str | None:
    """The text for `name` in the address, else what this session chose before, else None."""
    return st.query_params.get(name, st.session_state.get(_KEPT + name))


def put(name: str, value: str | None) -> None:
    """Select: into the address and the session's memory. None: forget it."""
    if value is None:
        st.session_state.pop(_KEPT + name, None)
        st.query_params.pop(name, None)
        return
    st.session_state[_KEPT + name] = value
    st.session_state.pop(_DROPPED + name, None)
    if st.query_params.get(name) != value:
        st.query_params[name] = value


def valid(name: str, allowed: Iterable[str], *, quiet: bool = False) -> str | None:
    """What is selected, where it is one of the allowed texts; else it is dropped with a note.

    quiet: a widget of the same name comes later on the page, and says it.
    """
    text = raw(name)
    if text is not None and text in set(allowed):
        put(name, text)
        return text
    if text is not None:
        _drop(name, text)
    if not quiet:
        _say_dropped(name)
    return None


def run_id(frame: pd.DataFrame, *, quiet: bool = False) -> str | None:
    """The selected run, where there is one and it is in the store. None: none is selected.

    quiet: as in `valid`.
    """
    text = raw("run")
    looks_right = text is not None and RUN_ID.fullmatch(text) is not None
    known = [text] if looks_right and bool((frame["run_id"] == text).any()) else []
    return valid("run", [name for name in known if name is not None], quiet=quiet)


def pick(
    name: str,
    label: str,
    options: Sequence[T],
    *,
    default: T,
    code: Callable[[T], str] = str,
    widget: Callable[..., T] | None = None,
    **settings: Any,
) -> T:
    """A select box (or another widget of one choice) whose value lives in the address.

    code: option -> its text in the address. settings: of the widget, `format_func` and `help`.
    """
    codes = {code(option): option for option in options}
    text = valid(name, codes)
    st.session_state[_WIDGET + name] = default if text is None else codes[text]

    def changed() -> None:
        value = st.session_state[_WIDGET + name]
        put(name, None if value is None else code(value))

    chosen = (widget or st.selectbox)(
        label, list(options), key=_WIDGET + name, on_change=changed, **settings
    )
    return default if chosen is None else chosen


def put_clicked(points: list[dict[str, Any]]) -> None:
    """The run of the clicked mark becomes the one that all pages show."""
    chosen = points[0].get("customdata")
    if isinstance(chosen, (list, dict)):
        chosen = next(iter(chosen.values() if isinstance(chosen, dict) else chosen), None)
    if isinstance(chosen, str):
        put("run", chosen)


def pick_run(labels: dict[str, str], *, width: int) -> str:
    """The run that all pages show, out of these. labels: run id -> what is said of it."""
    return pick(
        "run",
        "Run",
        list(labels),
        default=next(iter(labels)),
        format_func=labels.__getitem__,
        width=width,
    )


def pick_many(
    name: str,
    label: str,
    options: Sequence[T],
    *,
    default: Sequence[T],
    code: Callable[[T], str] = str,
    **settings: Any,
) -> list[T]:
    """A multiselect whose values live in the address, in the order of the options."""
    codes = {code(option): option for option in options}
    text = raw(name)
    chosen = list(default)
    if text is not None:
        found = [part for part in text.split(_JOIN) if part in codes]
        if not found and text:
            _drop(name, text)
        else:
            put(name, _JOIN.join(found))
            chosen = [codes[part] for part in found]
    _say_dropped(name)
    st.session_state[_WIDGET + name] = chosen

    def changed() -> None:
        put(name, _JOIN.join(code(value) for value in st.session_state[_WIDGET + name]))

    picked = st.multiselect(label, list(options), key=_WIDGET + name, on_change=changed, **settings)
    return [option for option in options if option in picked]


def pick_number(
    name: str, label: str, *, default: float | None, low: float, high: float, **settings: Any
) -> float | None:
    """A number input whose value lives in the address; empty is None, "" there.

    low, high: its range, both allowed. settings: of the widget.
    """
    text, value = raw(name), default
    if text is not None:
        try:
            value = float(text) if text else None
        except ValueError:
            value = math.nan
        if value is None or low <= value <= high:
            put(name, text)
        else:
            value = default
            _drop(name, text)
    _say_dropped(name)
    st.session_state[_WIDGET + name] = value

    def changed() -> None:
        number = st.session_state[_WIDGET + name]
        put(name, "" if number is None else f"{number:g}")

    chosen: float | None = st.number_input(
        label,
        value=None,  # so that it can be emptied; what it shows is in the session
        min_value=low,
        max_value=high,
        key=_WIDGET + name,
        on_change=changed,
        **settings,
    )
    return chosen


def _drop(name: str, text: str) -> None:
    put(name, None)
    st.session_state[_DROPPED + name] = text


def _say_dropped(name: str) -> None:
    """What the address asked for in vain; it is said until something else is chosen."""
    text = st.session_state.get(_DROPPED + name)
    if text is None:
        return
    shown = "".join(c if c.isprintable() else " " for c in text[:_LONGEST])
    st.warning(
        f"The address asks for the {name} '{plain(shown)}', which is not there (any more). "
        "It was left out.",
        icon=":material/link_off:",
    )
