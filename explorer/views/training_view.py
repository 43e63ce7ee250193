"""The curves of one run, for the training page."""

import pandas as pd
import streamlit as st

from explorer.figures.training import training_figure
from explorer.loading import loaders
from explorer.look.glossary import explain
from explorer.widgets import parts, selection
from explorer.words import gate_words, training_words


def curves(store: loaders.Store, frame: pd.DataFrame) -> None:
    """Choice of a run, and what its training looked like."""
    everything = loaders.curves(store).rows
    with st.container(horizontal=True, vertical_alignment="bottom"):
        task = parts.pick_task(frame)
        run_id = _pick_run(everything, frame, task)
    record = loaders.record(store, run_id)
    history = loaders.history(store, run_id)
    title, subtitle = training_words.finding(history, record)
    parts.finding(title, subtitle)
    figure = training_figure(
        history, training_words.panels(record), training_words.phases(record.config), title=title
    )
    parts.chart(figure, f"training-{run_id}", alt=f"{title}. {subtitle}")
    st.caption(_reading(history), help=explain("phase"))
    with st.container(horizontal=True):
        parts.downloads(f"training-{run_id}", table=history, figure=figure)


def _pick_run(everything: pd.DataFrame, frame: pd.DataFrame, task: str) -> str:
    gated = gate_words.gated_rows(everything, task)
    own = everything[everything["task"] == task].drop_duplicates("run_id")
    rows = own.set_index("run_id", drop=False)
    order = [*gated.index, *(name for name in rows.index if name not in gated.index)]
    chosen = selection.run_id(frame, quiet=True)
    if chosen is not None and chosen not in rows.index:
        selection.put("run", None)
    labels = {str(name): gate_words.run_label(rows.loc[name]) for name in order}
    return selection.pick_run(labels, width=560)


def _reading(history: pd.DataFrame) -> str:
    text = "Read it from left to right: a dot is a logged step, the line through the loss a "
    text += "running median. Above stand the phases: gates open, learned, fixed. "
    if "gates_closed" in history:
        text += "The dotted line is what the schedule asks for at that moment. "
    return text + "Where a method adds a penalty, the loss holds it too."
