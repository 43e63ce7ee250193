"""Which level should I deploy? Limits, the level that keeps to them, and its bundle."""

import streamlit as st

from explorer.loading import loaders
from explorer.views import pick_controls, pick_view, take_view
from explorer.widgets import parts, selection

store = loaders.current()
listing = parts.question("Which level should I deploy?", store)
everything = loaders.curves(store)
selection.run_id(listing.frame)

with st.container(horizontal=True, vertical_alignment="bottom"):
    task = parts.pick_task(listing.frame)
    levels = everything.levels[everything.levels["task"] == task]
    rows = everything.rows[everything.rows["task"] == task]
    asked = pick_controls.ask(store, task, levels, rows)
if asked is None:
    st.stop()

found = pick_view.answer(asked)
if found is None:
    st.stop()
level = found.best or found.nearest
if level is not None:
    take_view.take(store, level.run_id, title="Take it" if found.best else "Take it anyway")
pick_view.levels(asked, found)
