"""Sweeps as they go: progress, time left, stop and resume."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st

from explorer.loading import loaders
from explorer.loading.uploads import form_words
from explorer.look.glossary import explain, task_title
from explorer.look.numbers import plural
from explorer.look.theme import method_style
from explorer.processes import sweep_process
from explorer.processes.sweep_process import Launch
from explorer.widgets import parts
from finegates_engine.errors import UserError
from finegates_engine.sweep.state import CellState, SweepState
from finegates_engine.text.format import metric_label, score_text, seconds_text, times_text

REFRESH_S = 1.5
SHOWN = 4
"""Sweeps that are shown at first: those that run, and the newest others."""

_CLOCK_S = 30.0
"""By which a sweep's state may seem to be older than the launch that made it."""

_WORDS = {
    "running": "running",
    "finished": "finished",
    "interrupted": "stopped",
    "failed": "failed",
    "died": "ended without a word",
    "unreadable": "its state cannot be read",
}


@dataclass(frozen=True)
class Shown:
    """A sweep's state, the launch behind it, or both."""

    state: SweepState | None
    launch: Launch | None
    live: bool

    @property
    def key(self) -> str:
        """For widgets."""
        return self.launch.launch_id if self.launch else self.state.sweep_id if self.state else ""


def sweeps(root: Path, states: Sequence[SweepState]) -> list[Shown]:
    """Sweeps of a store and what this app has started, those that run first, then the newest."""
    left = list(states)
    found = []
    for launch in sweep_process.launches(root):
        own = [s for s in left if _belongs(s, launch)]
        left = [s for s in left if s not in own]
        goes_on = not own or own[0].state == "running"  # else it only clears up
        live = goes_on and sweep_process.alive(launch)
        found.append(Shown(own[0] if own else None, launch, live))
    found += [Shown(state, None, state.state == "running") for state in left]
    return sorted(found, key=lambda one: (one.live, _when(one)), reverse=True)


def any_live(store: loaders.Store) -> bool:
    """Whether a sweep is running on the store, as far as it says."""
    return any(one.live for one in sweeps(Path(store.root), loaders.sweeps(store)))


def panel(store: loaders.Store) -> None:
    """All sweeps, renewed by itself while one is running."""
    live = any_live(store)

    def draw() -> None:
        root = Path(store.root)
        found = sweeps(root, loaders.sweeps(store))
        if live and not any(one.live for one in found):
            st.rerun()  # draws all of it once more, without the clock, with the new runs
        shown = [one for one in found if one.live]
        shown += [one for one in found if not one.live][: max(0, SHOWN - len(shown))]
        for one in shown:
            _one(root, one)
        if len(found) > len(shown):
            st.caption(f"{plural(len(found) - len(shown), 'older sweep')} not shown.")
        if not found:
            st.info("No sweep was started on this store yet.", icon=":material/inbox:")
            st.markdown("Start one above under **Start a sweep**, or in a terminal:")
            parts.command(f"finegates sweep --task agreement --store {store.word}")

    st.fragment(draw, run_every=REFRESH_S if live else None)()


def _one(root: Path, one: Shown) -> None:
    with st.container(border=True):
        if one.state is None:
            assert one.launch is not None
            _before_its_state(root, one.launch, live=one.live)
        elif one.state.state == "unreadable":
            st.warning(parts.plain(one.state.note or ""), icon=":material/broken_image:")
        else:
            _progress(one.state, live=one.live)
        if one.state is not None:
            _failure(root, one)
        _buttons(root, one)


def _before_its_state(root: Path, launch: Launch, *, live: bool) -> None:
    title = f"{task_title(launch.request.task)}, {method_style(launch.request.method).label}"
    if live:
        st.markdown(f"**{parts.plain(title)}** · starting")
        st.progress(0.0, text="Loading the task's rows and the backbone, some seconds")
        return
    st.markdown(f"**{parts.plain(title)}** · did not start")
    _log_error(root, launch)


def _log_error(root: Path, launch: Launch) -> None:
    log = sweep_process.log_text(root, launch.launch_id)
    lines = [line for line in log.splitlines() if line.strip()]
    reason = form_words(lines[-1]) if lines else "It ended without a word."
    st.error(parts.plain(reason[:1000]), icon=":material/error:")
    if len(lines) > 1:
        with st.expander("What it said"):
            st.code(log[-4000:], language=None, wrap_lines=True)


def _progress(state: SweepState, *, live: bool) -> None:
    settled = len(state.cells) - state.count("planned") - state.count("running")
    title = f"{task_title(state.task)}, {method_style(state.method).label}, {state.strategy}"
    word = _WORDS[state.state] if live or state.state != "running" else "ended"
    st.markdown(f"**{parts.plain(title)}** · {word} · started {_ago(state.started)}")
    text = f"{settled} of {plural(len(state.cells), 'training')} done"
    if state.count("failed"):
        text += f", {state.count('failed')} failed"
    if live:
        left = state.seconds_left
        text += ", about " + seconds_text(left) + " left" if left is not None else ", estimating"
    st.progress(_share(state), text=text)
    st.dataframe(
        _table(state, live=live),
        hide_index=True,
        key=f"cells-{state.sweep_id}",
        column_config={
            "Target": st.column_config.NumberColumn(format="percent", help=explain("target")),
            "Seed": st.column_config.NumberColumn(help=explain("seed")),
            "Done": st.column_config.ProgressColumn(
                width="small", min_value=0, max_value=100, format="%d%%"
            ),
            metric_label(state.metric): st.column_config.TextColumn(alignment="right"),
        },
    )


def _table(state: SweepState, *, live: bool) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Target": [cell.target for cell in state.cells],
            "Seed": [cell.seed for cell in state.cells],
            "Done": [100 * (1.0 if cell.state == "done" else _part(cell)) for cell in state.cells],
            metric_label(state.metric): [score_text(cell.score) for cell in state.cells],
            "State": [_cell_words(cell, live=live) for cell in state.cells],
        }
    )


def _share(state: SweepState) -> float:
    """Of the work, 0 to 1."""
    total = sum(cell.epochs for cell in state.cells)
    done = sum(
        cell.epochs * (1.0 if cell.state in ("done", "failed", "skipped") else _part(cell))
        for cell in state.cells
    )
    return min(1.0, done / total) if total else 0.0


def _part(cell: CellState) -> float:
    return cell.step / cell.steps if cell.steps else 0.0


def _cell_words(cell: CellState, *, live: bool) -> str:
    """How one training is going."""
    steps = f"step {cell.step:,} of {cell.steps:,}" if cell.steps else ""
    if cell.state == "done":
        took = "" if cell.seconds is None else f" in {seconds_text(cell.seconds)}"
        return "already in the store" if cell.cached else f"done{took}"
    if cell.state == "running" and live:
        left = "" if cell.seconds_left is None else f"{seconds_text(cell.seconds_left)} left"
        again = f"begun again {times_text(cell.retries)}" if cell.retries else ""
        return ", ".join(filter(None, [steps or "starting", left, cell.worker, again, cell.note]))
    if cell.state in ("running", "planned"):
        waits = f"planned: {cell.note}" if cell.note else "planned"
        return f"stopped at {steps}" if steps and not live else waits
    return f"{cell.state}: {cell.note}" if cell.note else cell.state


def _failure(root: Path, one: Shown) -> None:
    assert one.state is not None
    if one.state.note and one.state.state != "unreadable":
        st.caption(parts.plain(one.state.note[:600]))
    if one.launch is not None and not one.live and one.state.state in ("failed", "died"):
        _log_error(root, one.launch)


def _buttons(root: Path, one: Shown) -> None:
    asked = st.session_state.get(f"asked-{one.key}")
    if one.live and one.launch is None and one.state is not None:
        st.button(
            "Stop",
            key=f"stop-{one.key}",
            icon=":material/stop:",
            on_click=_try,
            args=(sweep_process.stop_recorded, root, one.state),
        )
    elif one.live and one.launch is not None:
        label = "End it at once" if asked else "Stop"
        st.button(
            label,
            key=f"stop-{one.key}",
            icon=":material/stop:",
            on_click=_stop,
            args=(root, one.launch.launch_id, bool(asked)),
            help="What is trained is kept: Resume goes on from there.",
        )
        if asked:
            st.caption("Asked to stop; it ends after the step that it is in.")
    elif one.launch is not None and _unfinished(one.state):
        st.button(
            "Resume",
            key=f"resume-{one.key}",
            icon=":material/play_arrow:",
            on_click=_resume,
            args=(root, one.launch.launch_id),
            help="Gives the same command again: only what is missing is trained.",
        )
    elif one.state is not None and one.state.state in ("interrupted", "died"):
        st.caption("It was started elsewhere: the same command there goes on from where it was.")
    if problem := st.session_state.pop("sweep-problem", None):
        st.error(parts.plain(problem), icon=":material/error:")


def _unfinished(state: SweepState | None) -> bool:
    return state is None or state.state != "finished" or state.count("done") < len(state.cells)


def _stop(root: Path, launch_id: str, now: bool) -> None:
    st.session_state[f"asked-{launch_id}"] = True
    _try(lambda: sweep_process.stop(root, launch_id, now=now))


def _resume(root: Path, launch_id: str) -> None:
    st.session_state.pop(f"asked-{launch_id}", None)
    _try(sweep_process.resume, root, launch_id)


def _try(action: object, *arguments: object) -> None:
    try:
        action(*arguments)  # type: ignore[operator]
    except UserError as error:
        st.session_state["sweep-problem"] = str(error)


def _belongs(state: SweepState, launch: Launch) -> bool:
    same = state.process_id == launch.process_id and state.task == launch.request.task
    return same and state.started > launch.started - _CLOCK_S


def _when(one: Shown) -> float:
    return max(one.state.started if one.state else 0.0, one.launch.started if one.launch else 0.0)


def _ago(started: float) -> str:
    return f"{seconds_text(max(1.0, time.time() - started))} ago"
