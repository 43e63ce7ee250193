"""Is it really faster, and does it say the same? The user's own text, dense against pruned."""

import streamlit as st

from explorer.loading import loaders
from explorer.views import live_more, live_view
from explorer.widgets import parts, selection

store = loaders.current()
listing = parts.question("Is it really faster, and does it say the same?", store)
asked = live_view.ask(store, listing)
if asked is None:
    st.stop()

left, right = st.columns(2, gap="large")
with left:
    live_view.same(asked)
with right:
    live_view.faster(asked)

view = selection.pick(
    "more",
    "More",
    list(live_more.VIEWS),
    default=None,
    code=str,
    format_func=lambda name: live_more.VIEWS[name][0],
    widget=st.segmented_control,
    label_visibility="collapsed",
)
if view is not None:
    live_more.VIEWS[view][1](asked)
