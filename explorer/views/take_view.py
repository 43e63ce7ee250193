"""Taking a level: its portable bundle to download, and the command that makes it."""

import streamlit as st

from explorer.loading import loaders
from explorer.processes import bundles
from explorer.widgets import parts
from explorer.words import commands
from finegates_engine.text.format import bytes_text

_POLL_S = 0.7


def take(store: loaders.Store, run_id: str, *, title: str) -> None:
    """The bundle, made on demand, and the command."""
    st.subheader(title, anchor=False)
    again = parts.remake(store, run_id)
    if again is not None:
        parts.light_note(run_id, commands.take(run_id, store.word, again))
        return
    st.markdown(
        "The bundle is a zip with the smaller model's weights, tokenizer, certificate, card and a "
        "loader that needs only torch, transformers and safetensors."
    )
    job = bundles.job(store, run_id)
    st.fragment(_bundle, run_every=_POLL_S if job is not None and job.running else None)(
        store, run_id
    )
    st.markdown("Or make it yourself:")
    parts.command(commands.take(run_id, store.word, None))


def _bundle(store: loaders.Store, run_id: str) -> None:
    job = bundles.job(store, run_id)
    if job is None:
        if st.button("Make the bundle", type="primary", icon=":material/package_2:"):
            bundles.start(store, run_id)
            st.rerun()
        st.caption(f"Of run {parts.plain(run_id)}. It is folded and certified over all its rows.")
        return
    if job.running:
        _progress(job)
        return
    if st.session_state.get("bundle") is not job:
        st.session_state["bundle"] = job
        st.rerun()  # stops the polling; a new certificate counts at once
    if job.error is not None or job.file is None:
        _failed(store, run_id, job)
        return
    size = bytes_text(job.file.stat().st_size)
    st.download_button(
        f"Download the bundle ({size})",
        job.file.read_bytes,
        job.file.name,
        "application/zip",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
        key=f"bundle-{run_id}",
    )
    st.caption("Unpack it and run: python -m finegates_model")


def _progress(job: bundles.BundleJob) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.status(parts.plain(job.steps[-1] if job.steps else "Starting"), expanded=False):
            for step in job.steps:
                st.markdown(parts.plain(step))
        st.button("Stop", on_click=job.stop)


def _failed(store: loaders.Store, run_id: str, job: bundles.BundleJob) -> None:
    st.error(f"No bundle was made: {parts.plain(job.error or '')}", icon=":material/error:")
    data = st.text_input(
        "Where the run's rows are now (file or folder on the explorer's machine), if they moved",
        key=f"data-{run_id}",
    )
    if st.button("Try again", icon=":material/refresh:"):
        bundles.start(store, run_id, data.strip() or None)
        st.rerun()
