"""How does training go? The curves of a run, the sweeps as they go, and a new one."""

import streamlit as st

from explorer.loading import loaders
from explorer.views import sweep_form, sweeps_view, training_view
from explorer.widgets import parts, selection

store = loaders.current()
st.title("How does training go?", anchor=False)
listing = loaders.listing(store)
parts.damaged_note(listing)
frame = listing.frame

live = sweeps_view.any_live(store)
part = selection.pick(
    "part",
    "Part",
    ["curves", "sweeps", "start"],
    default="sweeps" if live else "start" if frame.empty else "curves",
    format_func={
        "curves": "Curves of a run",
        "sweeps": "Sweeps, one running" if live else "Sweeps",
        "start": "Start a sweep",
    }.__getitem__,
    widget=st.segmented_control,
    required=True,
    label_visibility="collapsed",
)
if part == "sweeps":
    sweeps_view.panel(store)
elif part == "start":
    if frame.empty:
        st.markdown("There are no runs here yet. A first sweep takes some minutes.")
    sweep_form.form(store, frame)
elif frame.empty:
    parts.empty_store(store)
else:
    training_view.curves(store, frame)
