"""The form that starts a sweep."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from explorer.loading import loaders, uploads
from explorer.look.glossary import explain
from explorer.look.numbers import plural
from explorer.processes import sweep_process, sweep_request
from explorer.processes.sweep_request import SweepRequest
from explorer.widgets import parts, selection
from finegates_engine.cli.sweep import DEMO, DEMO_TARGETS
from finegates_engine.config import ModelConfig
from finegates_engine.errors import UserError
from finegates_engine.method_table import METHODS
from finegates_engine.tasks import TASKS
from finegates_engine.text.format import seconds_text

OWN = "own"
_LOOKED_AT = 50
PREVIEW_ROWS, PREVIEW_CHARACTERS = 4, 90

Rows = dict[str, Any]
"""The fields of a request that say which rows are learned from."""


def form(store: loaders.Store, frame: pd.DataFrame) -> None:
    """All choices of a sweep, what they come to, and the button that starts it."""
    root = Path(store.root)
    source = st.selectbox(
        "Task",
        [DEMO.task.name, OWN, *(name for name in TASKS if name != DEMO.task.name)],
        format_func=_source_label,
        key="sweep-task",
    )
    if source != OWN:
        st.caption(TASKS[source].sentence)
    try:
        rows = _own_rows(root) if source == OWN else _table_rows(source)
        if rows is None:
            return
        asked = sweep_request.request(**rows, **_choices(source))
        name = asked.folder or st.session_state.get("sweep-file-name", "")
        _start(store, frame, asked, name)
    except UserError as error:
        parts.error(error)


def _source_label(name: str) -> str:
    if name == OWN:
        return "Your own rows, from a file"
    where = "generated here, no download" if TASKS[name].hub_id is None else "from the hub"
    return f"{TASKS[name].title} ({where})"


def _table_rows(source: str) -> Rows:
    """A task of the table; one of the hub may lie in a folder of this machine."""
    if TASKS[source].hub_id is None:
        return {"task": source}
    splits = ", ".join(f"{name}.parquet" for name in ("train", *TASKS[source].validation_splits))
    folder = st.text_input(
        "Folder with its rows, on the machine of this app (empty: from the hub)",
        key=f"sweep-folder-{source}",
        placeholder=f"/data/glue/{source}",
        max_chars=1000,
        help=f"It holds {splits}, with the columns that the hub has. Nothing is downloaded then.",
    )
    return {"task": source, "folder": folder.strip() or None}


def _own_rows(root: Path) -> Rows | None:
    """The upload and its columns; None until there is a file."""
    given = st.file_uploader(
        f"File: CSV or JSON lines, at most {uploads.UPLOAD_MB} MB",
        type=list(uploads.KINDS),
        max_upload_size=uploads.UPLOAD_MB,
        key="sweep-file",
        help="The first line of a CSV is its header. A fifth of the rows is set aside to score.",
    )
    if given is None:
        st.caption("One column, or two that are compared, hold the text; another holds the label.")
        return None
    known, key = loaders.memo("uploads", 32), (str(root), given.file_id)
    if (looked := known.get(key)) is None:
        known.put(key, looked := _look(root, given.name, given.getvalue()))
    upload, columns = looked.upload, list(looked.longest)
    st.dataframe(looked.preview, hide_index=True, height="content")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox("Label column", columns, index=_guess_label(columns))
        texts = [name for name in columns if name != label]
        chosen = st.multiselect(
            "Text columns (one or two)",
            texts,
            default=sorted(texts, key=looked.longest.__getitem__)[-1:],
            max_selections=2,
            key=f"texts-{upload}-{columns.index(label)}",
        )
        task = st.text_input("Name for the task", sweep_request.task_name(given.name))
    st.session_state["sweep-file-name"] = given.name
    return {
        "task": task.strip(),
        "upload": upload,
        "text_fields": tuple(chosen),
        "label_field": label,
    }


@dataclass(frozen=True, eq=False)
class _Looked:
    """What is known of an uploaded file."""

    upload: str
    preview: pd.DataFrame
    longest: dict[str, int]
    """Column -> characters of its longest cell in the first rows: the most is likely the text."""


def _look(root: Path, name: str, data: bytes) -> _Looked:
    """Keep an upload and read it. Raises UserError."""
    upload = uploads.save_upload(root, name, data)
    table = uploads.read_upload(root, upload, name)
    columns = table.schema.names
    head = table.slice(0, _LOOKED_AT)
    longest = {
        column: max(len(str(value)) for value in head.column(column).to_pylist())
        for column in columns
    }
    return _Looked(upload, _preview(table), longest)


def _preview(table: Any) -> pd.DataFrame:
    """The first rows, long cells cut."""
    rows = table.slice(0, PREVIEW_ROWS).to_pylist()
    return pd.DataFrame(
        [[_cut(value) for value in row.values()] for row in rows],
        columns=[_cut(name) for name in (rows[0] if rows else table.schema.names)],
    )


def _cut(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[:PREVIEW_CHARACTERS]} ..."


def _guess_label(columns: list[str]) -> int:
    likely = [i for i, n in enumerate(columns) if n.strip().lower() in ("label", "labels", "class")]
    return likely[0] if likely else len(columns) - 1


def _choices(source: str) -> Rows:
    demo = source == DEMO.task.name
    with st.container(horizontal=True, vertical_alignment="bottom"):
        targets = st.text_input(
            "Targets, percent of the encoder's weights",
            ", ".join(f"{100 * target:g}" for target in DEMO_TARGETS),
            help=explain("target"),
        )
        seeds = st.text_input("Seeds", "0", help=explain("seed"))
    with st.container(horizontal=True):
        strategy = st.segmented_control(
            "Strategy",
            ["path", "independent"],
            default="path",
            required=True,
            format_func=str.capitalize,
            help=explain("path"),
        )
        rows = st.number_input(
            "Training rows at most",
            min_value=1,
            value=DEMO.task.max_train_samples if demo else None,
            placeholder="all",
            key=f"sweep-rows-{demo}",
            help="The first rows of the training split. Empty: all.",
        )
        epochs = st.number_input(
            "Epochs",
            min_value=0.1,
            max_value=1000.0,
            value=DEMO.train.epochs if demo else 3.0,
            step=0.5,
            key=f"sweep-epochs-{demo}",
            help="Passes over the training rows. Later levels of a path take fewer.",
        )
    method, backbone = _method_and_backbone()
    return {
        "targets": sweep_request.numbers(targets, "Targets", percent=True),
        "seeds": sweep_request.numbers(seeds, "Seeds", percent=False),
        "strategy": strategy,
        "max_rows": rows,
        "epochs": float(epochs),
        "method": method,
        "backbone": backbone,
    }


def _method_and_backbone() -> tuple[str, str | None]:
    with st.expander("Method and backbone"):
        method = st.selectbox(
            "Method",
            list(METHODS),
            format_func=lambda name: f"{METHODS[name].label}: {METHODS[name].text}",
        )
        backbone = st.text_input(
            "Backbone: id on the hub, or a folder of this machine",
            ModelConfig().backbone,
            max_chars=500,
            help=explain("backbone"),
        )
    return method, backbone.strip() or None


def _start(store: loaders.Store, frame: pd.DataFrame, asked: SweepRequest, name: str) -> None:
    root = Path(store.root)
    if asked.place(root) is not None:
        st.markdown(parts.plain(_checked(root, asked, name)))
    count = len(asked.targets) * len(asked.seeds)
    st.markdown(f"{plural(count, 'training')}{_usual_time(frame, asked)}.")
    st.button(
        "Start the sweep",
        type="primary",
        icon=":material/play_arrow:",
        on_click=_launch,
        args=(root, asked),
    )
    if problem := st.session_state.pop("start-problem", None):
        st.error(parts.plain(problem), icon=":material/error:")


def _launch(root: Path, asked: SweepRequest) -> None:
    try:
        sweep_process.start(root, asked)
        selection.put("part", "sweeps")
    except UserError as error:
        st.session_state["start-problem"] = str(error)


def _checked(root: Path, asked: SweepRequest, name: str) -> str:
    """What the engine's own reader makes of the rows, in a sentence. Raises UserError."""
    known = loaders.memo("checked rows", 64)
    place = asked.place(root)
    assert place is not None
    files = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    seen = tuple(file.stat().st_mtime_ns for file in files)
    rows = (asked.task, asked.text_fields, asked.label_field, asked.max_rows)
    key = (str(place), seen, *rows)
    if (said := known.get(key)) is None:
        data = sweep_request.check_rows(root, asked, name)
        kind = "real values are predicted"
        if data.labels is not None:
            classes = ", ".join(_cut(label) for label in data.labels[:8])
            kind = f"{len(data.labels)} classes ({classes}{', ...' if data.labels[8:] else ''})"
        scored = sum(map(len, data.validation.values()))
        said = f"{len(data.train):,} rows to train on, {scored:,} to score with; {kind}."
        known.put(key, said)
    return str(said)


def _usual_time(frame: pd.DataFrame, asked: SweepRequest) -> str:
    """What a run of the task took before, where one did."""
    if frame.empty or "seconds_total" not in frame:
        return ""
    took = frame.loc[frame["task"] == asked.task, "seconds_total"].dropna()
    if took.empty:
        return ""
    return f"; runs of this task in the store took {seconds_text(float(took.median()))} each"
