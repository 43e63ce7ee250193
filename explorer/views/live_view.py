"""The widgets of the live page: what is asked, and the answers."""

import os
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from explorer.figures.live import predictions_figure
from explorer.figures.race import race_figure
from explorer.loading import loaders
from explorer.look.glossary import task_title
from explorer.processes import worker
from explorer.widgets import live_jobs, parts, selection
from explorer.words import gate_words, live_words
from finegates_engine.analysis.tradeoff import ZERO
from finegates_engine.errors import UserError
from finegates_engine.live.results import PREDICTIONS, TEXT_RACE, Row, parse_rows
from finegates_engine.parity import read_certificate
from finegates_engine.tasks import resolve_task

BATCHES = (None, 1, 2, 4, 8, 16, 32)
LENGTHS = (None, 16, 32, 64, 128, 256, 512)
_KEPT = "live text:"
_TEXT_HEIGHT = {1: 96, 2: 72}


@dataclass(frozen=True)
class Asked:
    """What the user asks about."""

    store: loaders.Store
    run_id: str
    dense: str | None
    """The run of the same curve and seed with nothing removed."""

    levels: tuple[str, ...]
    """The runs of its curve and seed, least removed first."""

    rows: tuple[Row, ...]
    shape: tuple[tuple[str, Any], ...]
    """Fields of live_results.Shape."""

    version: str

    @property
    def names(self) -> list[str]:
        """A line for each row."""
        return live_words.row_names(self.rows)

    def key(self, *more: Any, timed: bool = False) -> tuple[Any, ...]:
        """What a result belongs to. timed: device, threads and batch matter too."""
        tokens = dict(self.shape)["tokens"]
        shape = self.shape if timed else tokens
        return (self.store.root, self.run_id, self.version, self.rows, shape, *more)

    def arguments(self) -> dict[str, Any]:
        """Of every job."""
        return {
            "store": self.store.root,
            "run": self.run_id,
            "rows": self.rows,
            "shape": dict(self.shape),
        }


def ask(store: loaders.Store, listing: loaders.Listing) -> Asked | None:
    """Task, run, text and settings. None, with a note, where something is missing."""
    rows = loaders.curves(store).rows
    with st.container(horizontal=True, vertical_alignment="bottom"):
        task = parts.pick_task(listing.frame)
        run_id = _pick_run(store, rows, task)
        shape = _pick_shape()
    if run_id is None:
        return None
    fields = resolve_task(loaders.record(store, run_id).config.task).text_fields
    texts = _text_boxes(task, fields)
    try:
        typed = parse_rows(texts, fields)
    except UserError as error:
        st.warning(parts.plain(str(error)), icon=":material/edit_note:")
        return None
    dense, levels = _curve_of(rows, run_id)
    version = listing.versions.get(run_id, "")
    core = version.split(" ", 1)[-1]  # without the folder's time, which a certificate changes
    return Asked(store, run_id, dense, levels, typed, tuple(shape.items()), core)


def same(asked: Asked) -> None:
    """Does it say the same? Both predictions."""
    job = live_jobs.wanted(
        "predict", "predict", asked.key(asked.dense), dense=asked.dense, **asked.arguments()
    )

    def draw(plain: dict[str, Any]) -> None:
        found = PREDICTIONS.validate_python(plain)
        title, subtitle = live_words.predictions_finding(found)
        parts.finding(title, subtitle)
        parts.chart(predictions_figure(found, asked.names, title=title), "live-predictions")
        notes = [live_words.reading_note(found.reading), _dense_note(found.dense_run_id)]
        notes.append(_certificate_note(asked))
        st.caption(parts.plain(" ".join(note for note in notes if note)))

    live_jobs.show("predict", job, draw)


def faster(asked: Asked) -> None:
    """Is it really faster? The race, when it is asked for."""
    key = asked.key(timed=True)
    job = live_jobs.current("race", key)
    if job is None:
        parts.finding("Is it faster here?", _race_plan(asked))
        st.button(
            "Race dense against pruned",
            type="primary",
            icon=":material/timer:",
            on_click=_start_race,
            args=(asked, key),
        )
        st.caption("Takes about 8 s, and half a minute more where a certificate must be made.")
        return

    def draw(plain: dict[str, Any]) -> None:
        found = TEXT_RACE.validate_python(plain)
        title, subtitle = live_words.race_finding(found)
        parts.finding(title, subtitle)
        parts.chart(race_figure(found, title=title), "live-race")
        st.table(pd.DataFrame(live_words.race_table(found)).set_index("Model"))
        st.caption(parts.plain(" ".join(live_words.race_notes(found, _cores()))))
        st.button(
            "Race again", type="tertiary", icon=":material/replay:", on_click=_start_race,
            args=(asked, key),
        )  # fmt: skip

    live_jobs.show("race", job, draw)


def _start_race(asked: Asked, key: tuple[Any, ...]) -> None:
    live_jobs.forget("race")
    live_jobs.wanted("race", "race", key, **asked.arguments())


def _race_plan(asked: Asked) -> str:
    shape = dict(asked.shape)
    count = shape["batch"] or len(asked.rows)
    rows = "1 row" if count == 1 else f"{count} rows"
    width = "as long as the text" if shape["tokens"] is None else f"of {shape['tokens']} tokens"
    threads = "1 thread" if shape["threads"] == 1 else f"{shape['threads']} threads"
    return f"{rows} {width}, {threads}, {shape['device'].upper()}: calls in turn, in random order."


def _certificate_note(asked: Asked) -> str:
    try:
        certificate = read_certificate(loaders.run(asked.store, asked.run_id))
    except UserError as error:
        return f"Its certificate cannot be used: {error}."
    return live_words.certificate_words(certificate)


def _dense_note(dense: str | None) -> str:
    if dense is None:
        return (
            "Dense: this run with all gates open, since its curve has no run with nothing removed; "
            "it was not trained so."
        )
    return "Dense: the run of the same curve with nothing removed."


def _pick_run(store: loaders.Store, rows: pd.DataFrame, task: str) -> str | None:
    gated = gate_words.gated_rows(rows, task, having="has_adapter")
    chosen = selection.run_id(rows, quiet=True)
    if gated.empty:
        _no_model(store, rows, task)
        return None
    if chosen is not None and chosen not in gated.index:
        again = parts.remake(store, chosen)
        if again is None:
            st.info("The selected run keeps no model to compute with; another one is shown.")
        else:
            parts.light_note(chosen, again)
            st.caption("Another run of the task, with its weights, is shown below.")
        selection.put("run", None)
    labels = {str(name): gate_words.run_label(row) for name, row in gated.iterrows()}
    return selection.pick_run(labels, width=430)


def _no_model(store: loaders.Store, rows: pd.DataFrame, task: str) -> None:
    """What to do where no run of the task has its weights."""
    st.info(
        f"No run of {parts.plain(task_title(task))} keeps a model to compute with.",
        icon=":material/model_training:",
    )
    light = gate_words.gated_rows(rows, task)
    again = None if light.empty else parts.remake(store, str(light.index[0]))
    if again is not None:
        parts.light_note(str(light.index[0]), again)
    else:
        st.markdown("A sweep trains some:")
        parts.train(store, rows[rows["task"] == task])


def _curve_of(rows: pd.DataFrame, run_id: str) -> tuple[str | None, tuple[str, ...]]:
    """(the run with nothing removed, all runs) of the longest curve that a run is on, its seed."""
    own = rows[rows["run_id"] == run_id]
    seed = own["seed"].iloc[0]
    along = rows[rows["curve"].isin(own["curve"]) & (rows["seed"] == seed) & rows["has_adapter"]]
    longest = along.groupby("curve")["run_id"].nunique().idxmax()
    curve = along[along["curve"] == longest].sort_values("folded_encoder_fraction")
    none = along[along["folded_encoder_fraction"] <= ZERO]
    dense = None if none.empty else str(none["run_id"].iloc[0])
    return dense, tuple(str(name) for name in curve["run_id"].unique())


def _pick_shape() -> dict[str, Any]:
    """The settings of the race, behind one button."""
    devices = ["cpu", "cuda"] if worker.shared().machine.get("accelerator") else ["cpu"]
    threads = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= _cores()]
    with st.popover("Settings", icon=":material/tune:"):
        device = selection.pick(
            "device",
            "Device",
            devices,
            default="cpu",
            format_func=lambda name: {"cpu": "CPU", "cuda": "GPU (CUDA)"}[name],
            help="A GPU is offered once the computing process has started and sees one.",
        )
        count = selection.pick("threads", "Threads", threads, default=1)
        batch = selection.pick(
            "batch",
            "Rows of a call in the race",
            BATCHES,
            default=None,
            code=_or_auto,
            format_func=lambda n: "As many as the text has" if n is None else f"{n}",
            help="The text's rows are repeated, or cut, to so many.",
        )
        tokens = selection.pick(
            "tokens",
            "Tokens of a row",
            LENGTHS,
            default=None,
            code=_or_auto,
            format_func=lambda n: "As long as the text" if n is None else f"{n}, padded or cut",
            help="Padding costs time too: models see it, and leave it out of what they say.",
        )
    return {"device": device, "threads": count, "batch": batch, "tokens": tokens}


def _or_auto(count: int | None) -> str:
    return "auto" if count is None else str(count)


def _cores() -> int:
    known = worker.shared().machine.get("cores")
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(known or found or 1)


def _text_boxes(task: str, fields: tuple[str, ...]) -> list[str]:
    """One box a text field. What was typed stays when the user comes back to the page."""
    begin = live_words.EXAMPLES.get(task, ())
    if len(begin) != len(fields):
        begin = live_words.OTHER_EXAMPLES[len(fields)]
    texts = []
    places = [st.container()] if len(fields) == 1 else st.columns(len(fields))
    for number, (field, place) in enumerate(zip(fields, places, strict=True)):
        name = f"{_KEPT}{task}:{number}"
        widget = f"{name}:box"
        st.session_state.setdefault(name, begin[number])
        st.session_state[widget] = st.session_state[name]  # a page loaded again sends no text
        label = "Your text, a row a line" if len(fields) == 1 else f"{field}, a row a line"
        with place:
            text = st.text_area(
                parts.plain(label),
                key=widget,
                height=_TEXT_HEIGHT[len(fields)],
                on_change=_keep,
                args=(name, widget),
            )
        texts.append(text)
    return texts


def _keep(name: str, widget: str) -> None:
    st.session_state[name] = st.session_state[widget]
