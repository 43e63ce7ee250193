"""What lies behind the live page's first answer: all levels, parts closed, why not faster."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from explorer.figures.closing import ablation_figure, effects_figure
from explorer.figures.live import levels_figure
from explorer.figures.race import parts_figure
from explorer.views.live_view import Asked
from explorer.widgets import live_jobs, parts, selection
from explorer.words import live_words
from finegates_engine.explain.explanation import EXPLANATION
from finegates_engine.live.results import ABLATION, EFFECTS, LEVELS, part_label


def breaking_point(asked: Asked) -> None:
    """The same text through all levels of the run's curve."""
    if len(asked.levels) < 2:
        st.info("This curve has one level alone. A path trains several, one from the other.")
        return
    runs = list(asked.levels)
    job = live_jobs.wanted(
        "levels", "levels", asked.key(asked.levels), runs=runs, **asked.arguments()
    )

    def draw(plain: dict[str, Any]) -> None:
        found = LEVELS.validate_python(plain)
        row = _pick_row(asked)
        title, subtitle = live_words.levels_finding(found, row)
        parts.finding(title, subtitle)
        figure = levels_figure(found, asked.names, row, title=title)
        parts.chart(figure, "live-levels")
        st.caption(
            "How to read it: a point is a level of the curve that the chosen run is on. A cross is "
            "another label than with nothing removed; the grey band is where it flips."
        )
        parts.downloads("live-levels", figure=figure)

    live_jobs.show("levels", job, draw)


def close_more(asked: Asked) -> None:
    """Parts of the pruned model closed too, beside random groups of the same size."""
    job = live_jobs.wanted("effects", "effects", asked.key(), **asked.arguments())

    def draw(plain: dict[str, Any]) -> None:
        found = EFFECTS.validate_python(plain)
        names = [effect.part for effect in found.effects if effect.size]
        title = live_words.effects_finding(found)
        parts.finding(title, "Click a part to close it too, or choose some below.")
        # What is chosen is drawn last: the figure shows it, and its click changes it.
        place = st.container()
        chosen = selection.pick_many(
            "close", "Closed too", names, default=[], format_func=part_label
        )

        def toggle(points: list[dict[str, Any]]) -> None:
            codes = [str(point.get("customdata")) for point in points]
            changed = set(chosen) ^ {code for code in codes if code in names}
            selection.put("close", "~".join(name for name in names if name in changed))

        with place:
            figure = effects_figure(found, chosen, title=title)
            parts.chart(figure, f"live-effects-{len(chosen)}", on_points=toggle)
            st.caption(
                "A square: closing the part alone moves the first row away from its label; a "
                "diamond: towards it. The stronger the colour, the further; whole groups have a "
                "scale of their own. A gap: the part has gone already."
            )
        if chosen:
            _closed(asked, chosen)

    live_jobs.show("effects", job, draw)


def _closed(asked: Asked, chosen: list[str]) -> None:
    job = live_jobs.wanted(
        "ablate", "ablate", asked.key(tuple(chosen)), parts=chosen, **asked.arguments()
    )

    def draw(plain: dict[str, Any]) -> None:
        found = ABLATION.validate_python(plain)
        row = _pick_row(asked)
        title, subtitle = live_words.ablation_finding(found, row)
        parts.finding(title, subtitle)
        parts.chart(ablation_figure(found, row, title=title), "live-ablation")

    live_jobs.show("ablate", job, draw)


def why_not_faster(asked: Asked) -> None:
    """Where the time of a call goes, and what would change it."""
    key = asked.key(timed=True)
    job = live_jobs.current("explain", key)
    if job is None:
        parts.finding("Where does the time go?", "Both models are taken apart and timed, 20 s.")
        st.button(
            "Take the call apart",
            icon=":material/troubleshoot:",
            on_click=lambda: live_jobs.wanted("explain", "explain", key, **asked.arguments()),
        )
        return

    def draw(plain: dict[str, Any]) -> None:
        found = EXPLANATION.validate_python(plain)
        title, lines = live_words.explain_finding(found)
        parts.finding(title)
        figure = parts_figure(found, title=title)
        parts.chart(figure, "live-parts")
        for line in lines:
            st.markdown(f"- {parts.plain(line)}")
        st.caption("Full rows of your text's tokens, without padding.")
        parts.downloads("live-parts", figure=figure)

    live_jobs.show("explain", job, draw)


def _pick_row(asked: Asked) -> int:
    """Choice of a row, where there are several."""
    if len(asked.rows) == 1:
        return 0
    rows = list(range(len(asked.rows)))
    names = asked.names
    return selection.pick(
        "row", "Row", rows, default=0, format_func=lambda i: f"{i + 1}: {names[i][:60]}"
    )


VIEWS: dict[str, tuple[str, Callable[[Asked], None]]] = {
    "levels": ("Where does it break?", breaking_point),
    "close": ("Close more of it", close_more),
    "why": ("Why not faster?", why_not_faster),
}
"""Code of a view -> its name and its widgets."""
