"""What was kept? Every gate of a run, and whether other runs agree."""

import streamlit as st

from explorer.loading import loaders
from explorer.views import gates_view
from explorer.widgets import parts, selection

store = loaders.current()
listing = parts.question("What was kept?", store)
rows = loaders.curves(store).rows

with st.container(horizontal=True, vertical_alignment="bottom"):
    task = parts.pick_task(listing.frame)
    run = gates_view.pick_run(store, rows, task)
if run is None:
    st.stop()

view = selection.pick(
    "view",
    "View",
    list(gates_view.VIEWS),
    default="map",
    format_func=lambda name: gates_view.VIEWS[name][0],
    widget=st.segmented_control,
    required=True,
    label_visibility="collapsed",
)
gates_view.VIEWS[view][1](run)
