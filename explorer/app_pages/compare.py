"""What does the smaller model get wrong that the larger one got right? Two runs, row by row."""

import streamlit as st

from explorer.loading import loaders
from explorer.views import compare_view
from explorer.widgets import parts, selection

store = loaders.current()
listing = parts.question(
    "What does the smaller model get wrong that the larger one got right?", store
)
rows = loaders.curves(store).rows
chosen = selection.run_id(listing.frame, quiet=True)

with st.container(horizontal=True, vertical_alignment="bottom"):
    task = parts.pick_task(listing.frame)
    pair = compare_view.pick_pair(store, chosen, rows[rows["task"] == task], task)
if pair is None:
    st.stop()

compare_view.answer(pair, compare_view.compare(pair))
left, right = st.columns(2, gap="large")
with left:
    compare_view.gates(pair)
with right:
    compare_view.ladder(pair)
