"""What does a gate do? The idea, one screen a step, and a lesson with questions."""

import streamlit as st

from explorer.views import method_view
from explorer.widgets import selection

st.title("What does a gate do?", anchor=False)
screen = selection.pick(
    "screen",
    "Screen",
    list(method_view.SCREENS),
    default="gate",
    format_func=lambda name: method_view.SCREENS[name][0],
    widget=st.segmented_control,
    required=True,
    label_visibility="collapsed",
)
method_view.SCREENS[screen][1]()
