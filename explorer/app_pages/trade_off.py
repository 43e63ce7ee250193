"""How much can I remove? The score of every level against what it removes."""

import streamlit as st

from explorer.loading import loaders
from explorer.views import trade_off_view
from explorer.widgets import parts, selection
from finegates_engine.analysis.tradeoff import curve_levels

store = loaders.current()
listing = parts.question("How much can I remove?", store)
everything = loaders.curves(store)
selection.run_id(listing.frame)

with st.container(horizontal=True, vertical_alignment="bottom"):
    task = parts.pick_task(listing.frame)
    rows = everything.rows[everything.rows["task"] == task]
    x, y, rows = trade_off_view.axes(store, rows)
    of_task = everything.levels[everything.levels["task"] == task]
    shown = trade_off_view.curves(of_task if "latency_ms" not in (x, y) else curve_levels(rows))

if shown.empty:
    st.info("No curve is chosen. Choose some under Curves.", icon=":material/filter_list:")
    st.stop()
trade_off_view.answer(store, shown, rows, x, y, name=f"trade-off-{task}")
