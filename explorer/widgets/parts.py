"""Small shared pieces of pages: headings, empty and error states, charts, downloads."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from explorer.loading import loaders
from explorer.look.glossary import task_title
from explorer.look.numbers import plural
from explorer.look.plain_text import plain as plain
from explorer.look.theme import FONT, template
from explorer.widgets import selection
from explorer.words import commands
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged

_SHOWN = 5


def style() -> None:
    """What the theme's options cannot say: less empty space above a page's title."""
    st.html("<style>.stMainBlockContainer{padding-top:2.6rem;padding-bottom:3rem}</style>")


def dark() -> bool:
    """Whether the page is dark."""
    return st.context.theme.type == "dark"


def question(text: str, store: loaders.Store) -> loaders.Listing:
    """The page's title, a user's question, and the store's runs.

    Where there are none, the command that makes some is shown and the page ends.
    """
    st.title(text, anchor=False)
    listing = loaders.listing(store)
    damaged_note(listing)
    if listing.frame.empty:
        empty_store(store)
        st.stop()
    return listing


def empty_store(store: loaders.Store) -> None:
    """What to do where no run is."""
    st.info("There are no runs here yet.", icon=":material/inbox:")
    st.markdown(f"The store `{store.root.replace('`', '')}` is empty. Make a few runs in minutes:")
    command(f"finegates demo --store {store.word}")
    st.markdown("They appear here as they finish, without a restart.")


def command(text: str) -> None:
    """A line to be copied into a terminal."""
    st.code(text, language="bash", wrap_lines=True)


def train(store: loaders.Store, rows: pd.DataFrame) -> None:
    """The command that trains levels of what these rows' first run was trained on."""
    config = loaders.record(store, str(rows["run_id"].iloc[0])).config
    command(commands.train_levels(config, store.word))


def error(problem: UserError) -> None:
    """A mistake that can be mended, in its own words; the app goes on."""
    kind = "A stored file cannot be used" if isinstance(problem, Damaged) else "That did not work"
    st.error(f"{kind}: {plain(str(problem))}", icon=":material/error:")


def remake(store: loaders.Store, run_id: str) -> str | None:
    """The command that trains a light run again. None: its weights are here."""
    left_out = loaders.record(store, run_id).left_out
    return None if left_out is None else left_out.remake


def light_note(run_id: str, line: str) -> None:
    """A run without its weights: what of it is here, and the command that makes the rest."""
    st.info(
        f"Run {plain(run_id)} is here without its weights: gates, scores and predictions alone. "
        "This trains it again, in a store of its own:",
        icon=":material/cloud_off:",
    )
    command(line)


def damaged_note(listing: loaders.Listing) -> None:
    """Names what is skipped, where something is."""
    if not listing.damaged:
        return
    count = len(listing.damaged)
    title = "1 damaged run is skipped" if count == 1 else f"{count} damaged runs are skipped"
    with st.expander(title, icon=":material/warning:"):
        for item in listing.damaged[:_SHOWN]:
            st.markdown(f"**{plain(item.path)}**: {plain(item.reason)}")
        if count > _SHOWN:
            st.markdown(f"and {count - _SHOWN:,} more; `finegates runs` lists all.")
        st.markdown("Train them again with the same command, or delete their folders.")


def sidebar() -> None:
    """Below the pages: the run that is selected for all of them."""
    store = loaders.current()
    frame = loaders.listing(store).frame
    chosen = selection.raw("run")
    with st.sidebar:
        if chosen is not None and (frame["run_id"] == chosen).any():
            st.caption("Selected run, for all pages")
            st.markdown(f"**{plain(chosen)}**")
            st.button("Clear", on_click=selection.put, args=("run", None), type="tertiary")
        st.caption(f"{plural(len(frame), 'run')} in {plain(Path(store.root).name)}")


def finding(title: str, subtitle: str = "") -> None:
    """What a picture says, above it."""
    st.subheader(plain(title), anchor=False)
    if subtitle:
        st.markdown(plain(subtitle))


def pick_task(frame: pd.DataFrame) -> str:
    """Choice of the task, in the address; the selected run's task comes first."""
    tasks = sorted(str(task) for task in frame["task"].unique())
    chosen = frame.loc[frame["run_id"] == selection.raw("run"), "task"]
    first = str(chosen.iloc[0]) if len(chosen) else tasks[0]
    return selection.pick("task", "Task", tasks, default=first, format_func=task_title, width=200)


def chart(
    figure: go.Figure,
    key: str,
    *,
    on_points: Callable[[list[dict[str, Any]]], None] | None = None,
    alt: str | None = None,
) -> None:
    """Draw a figure in the page's theme, without its title (see `finding`).

    The camera button saves `finegates-<key>` in the format chosen in `downloads`. on_points:
    called with the clicked points ("customdata", "x", "y") when a click changes them.
    """
    title = figure.layout.title
    words = alt or title.text or f"Figure: {key}"
    figure.update_layout(template=template(dark()), title=None)
    figure.update_layout(margin={"t": 28}, font={"family": FONT})
    image = st.session_state.get(f"image-{key}", "png")
    config = {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": image, "filename": f"finegates-{key}", "scale": 2},
    }
    settings = {
        "theme": None,
        "key": key,
        "config": config,
        "alt": words,
    }

    def changed() -> None:
        points = st.session_state[key]["selection"]["points"]
        if on_points is not None and points:
            on_points(points)

    if on_points is None:
        st.plotly_chart(figure, **settings)
    else:
        st.plotly_chart(figure, on_select=changed, selection_mode="points", **settings)
    figure.update_layout(title=title, margin={"t": None})


def downloads(
    name: str, *, table: pd.DataFrame | None = None, figure: go.Figure | None = None
) -> None:
    """Buttons for a table as CSV and a figure as a stand-alone page; the camera's image format.

    Files are made when a button is clicked. name: the key of the figure's `chart`.
    """
    with st.popover("Download", icon=":material/download:"):
        if table is not None:
            st.download_button(
                "Table (CSV)",
                lambda: table.to_csv(index=False).encode(),
                f"finegates-{name}.csv",
                "text/csv",
                key=f"csv-{name}",
                on_click="ignore",
            )
        if figure is not None:
            st.download_button(
                "Figure as a page that works offline (HTML)",
                lambda: standalone_html(figure),
                f"finegates-{name}.html",
                "text/html",
                key=f"html-{name}",
                on_click="ignore",
            )
            st.radio(
                "The camera button above the figure saves",
                ["png", "svg"],
                format_func=str.upper,
                horizontal=True,
                key=f"image-{name}",
            )


def standalone_html(figure: go.Figure) -> bytes:
    """The figure as one HTML page with plotly.js inside, in the light theme."""
    figure = go.Figure(figure).update_layout(template=template())
    for words in (figure.layout.title, figure.layout.title.subtitle):
        words.text = html.escape(words.text or "", quote=False)
    return figure.to_html(
        include_plotlyjs=True, full_html=True, config={"displaylogo": False}
    ).encode()
