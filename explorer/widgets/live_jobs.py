"""Jobs of one page: wanted, waited for, shown. The worker does them (`processes.worker`)."""

from collections.abc import Callable, Hashable
from typing import Any

import streamlit as st

from explorer.look.numbers import plural
from explorer.processes import worker
from explorer.processes.worker import Job
from explorer.widgets import parts
from finegates_engine.errors import UserError

POLL_S = 0.8
"""Between two looks at a job. Each takes the worker's machine some milliseconds."""

_SLOT = "live job:"


def wanted(slot: str, kind: str, key: Hashable, **arguments: Any) -> Job | None:
    """The job of this slot for this key, given to the worker if it is new.

    A job of another key is cancelled: what it is about has changed. None: the queue is full, and
    the page says so.
    """
    known = current(slot, key)
    if known is not None:
        return known
    forget(slot)
    try:
        job = worker.shared().submit(kind, **arguments)
    except UserError as error:
        parts.error(error)
        st.button("Try again", key=f"again {slot}")
        return None
    st.session_state[_SLOT + slot] = (key, job)
    return job


def current(slot: str, key: Hashable) -> Job | None:
    """The slot's job, where it is of this key."""
    known = st.session_state.get(_SLOT + slot)
    return known[1] if known is not None and known[0] == key else None


def forget(slot: str) -> None:
    """Cancel the slot's job, and drop its result."""
    known = st.session_state.pop(_SLOT + slot, None)
    if known is not None:
        worker.shared().cancel(known[1])


def show(slot: str, job: Job | None, draw: Callable[[dict[str, Any]], None]) -> None:
    """The job's result drawn, or how far it is, or what went wrong."""
    if job is None:
        return
    if job.state == "done" and job.result is not None:
        draw(job.result)
    elif job.state == "failed":
        parts.error(UserError(job.error))
        st.button("Try again", key=f"again {slot}", on_click=forget, args=(slot,))
    elif job.state == "cancelled":
        st.info("Stopped.", icon=":material/stop_circle:")
        st.button("Start again", key=f"again {slot}", on_click=forget, args=(slot,))
    else:
        with st.container(key=f"waiting-{slot}"):
            st.fragment(_waiting, run_every=POLL_S)(slot, job)


def _waiting(slot: str, job: Job) -> None:
    """What is done and what is left; the page is drawn anew when it ends."""
    ahead = worker.shared().ahead(job)
    if job.finished:
        st.rerun()
    if ahead:
        words = f"In the queue: {plural(ahead, 'computation')} before this one."
        st.progress(0.0, text=words + " One runs at a time, so that timings are not mixed.")
    else:
        st.progress(job.share or 0.0, text=f"{parts.plain(job.progress or 'Starting')} ...")
    st.button("Cancel", key=f"cancel {slot}", on_click=worker.shared().cancel, args=(job,))
