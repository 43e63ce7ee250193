"""The widgets of "Compare"."""

import secrets
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from explorer.figures.agreement import jaccard_figure
from explorer.figures.changes import changes_figure, errors_figure
from explorer.loading import loaders
from explorer.loading.given_rows import FILES, given_rows
from explorer.widgets import parts, selection
from explorer.words import compare_words
from finegates_engine.analysis.compare_runs import (
    CHANGES,
    LOST,
    Comparison,
    compare_predictions,
    differing_settings,
    gate_differences,
    layer_agreement,
)
from finegates_engine.analysis.intervals import chance_jaccard, gate_jaccard
from finegates_engine.config import to_json
from finegates_engine.data.row_texts import RowTexts, find_texts, stored_place
from finegates_engine.errors import UserError
from finegates_engine.results import RunRecord

_OWN = ("task.data", "gates.target", "gates.history_frames", "path")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs of one task."""

    store: loaders.Store
    task: str
    larger: "pd.Series[Any]"
    smaller: "pd.Series[Any]"

    @property
    def ids(self) -> tuple[str, str]:
        """Run ids: larger, smaller."""
        return str(self.larger["run_id"]), str(self.smaller["run_id"])

    @property
    def key(self) -> tuple[str, ...]:
        """Changes when one of the runs does."""
        versions = loaders.listing(self.store).versions
        return (self.store.root, *(f"{run} {versions.get(run)}" for run in self.ids))


def pick_pair(
    store: loaders.Store, chosen: str | None, rows: pd.DataFrame, task: str
) -> Pair | None:
    """Choice of the two runs. None, with a note, where there is only one.

    chosen: the run that is selected for all pages, which may be of another task.
    """
    runs = compare_words.all_runs(rows)
    if len(runs) < 2:
        st.info("Two runs of a task are needed to compare.", icon=":material/compare_arrows:")
        st.markdown("A sweep over several targets trains some:")
        parts.train(store, rows)
        return None
    labels = {str(name): compare_words.run_name(row) for name, row in runs.iterrows()}
    first = chosen if chosen in labels else next(iter(labels))
    if chosen is not None and chosen not in labels:
        selection.put("run", None)  # of another task
    smaller = selection.pick(
        "run", "Smaller", list(labels), default=first, format_func=labels.__getitem__, width=330
    )
    others = [name for name in labels if name != smaller]
    if selection.raw("with") == smaller:
        selection.put("with", None)
    default = compare_words.default_larger(runs, smaller)
    larger = selection.pick(
        "with",
        "Larger, to compare with",
        others,
        default=default or others[0],
        format_func=labels.__getitem__,
        width=330,
    )
    st.button("Swap", icon=":material/swap_horiz:", on_click=_swap, args=(smaller, larger))
    return Pair(store, task, runs.loc[larger], runs.loc[smaller])


def _swap(smaller: str, larger: str) -> None:
    selection.put("run", larger)
    selection.put("with", smaller)


def compare(pair: Pair) -> Comparison:
    """The comparison, computed once. Raises UserError where the rows differ."""
    memo = loaders.memo("comparisons", 64)
    known: Comparison | None = memo.get(pair.key)
    if known is None:
        metric, split = str(pair.smaller["metric"]), str(pair.smaller["split"])
        known = compare_predictions(
            metric, *(loaders.predictions(pair.store, run, split) for run in pair.ids)
        )
        memo.put(pair.key, known)
    return known


def answer(pair: Pair, found: Comparison) -> None:
    """The finding, the rows, and the picture of all rows."""
    title, subtitle = compare_words.finding(found, pair.larger, pair.smaller)
    parts.finding(title, subtitle)
    note = compare_words.not_smaller(pair.larger, pair.smaller)
    if note:
        st.caption(f":material/info: {parts.plain(note)}")
    record = loaders.record(pair.store, pair.ids[1])
    texts = _texts(pair, record, found)
    _rows(pair, found, texts)
    if texts is None:
        _ask_for_texts(pair, record, found)
    draw = changes_figure if found.classes else errors_figure
    figure = draw(
        found.rows,
        compare_words.hover_texts(texts),
        larger=compare_words.side_name(pair.larger),
        smaller=compare_words.side_name(pair.smaller),
        title=title,
    )
    st.subheader("Every row, before and after", anchor=False)
    parts.chart(figure, f"changes-{pair.task}")
    st.caption(
        "How to read it: a mark a row. Below the dotted line the smaller model is less sure of "
        "the true class than the larger one."
        if found.classes
        else "How to read it: a mark a row. Above the dotted line the smaller model is further off."
    )


def _rows(pair: Pair, found: Comparison, texts: RowTexts | None) -> None:
    rows, change = found.rows, "rows"
    if found.classes:
        change = selection.pick(
            "change",
            "Rows",
            list(CHANGES),
            default=LOST,
            format_func=lambda name: f"{compare_words.CHANGES[name]} ({found.count(name):,})",
            widget=st.segmented_control,
            required=True,
            label_visibility="collapsed",
        )
        rows = rows[rows["change"] == change]
    names = compare_words.class_names(pair.task)
    table = compare_words.row_table(rows, found.classes, names, texts)
    if table.empty:
        st.info("No row is of this kind.", icon=":material/check:")
        return
    shown = st.dataframe(
        table,
        hide_index=True,
        column_config=_columns(found, texts),
        height=min(38 + 35 * len(table), 356),
        on_select="rerun" if texts is not None else "ignore",
        selection_mode="single-row",
        key=f"rows-{'-'.join(pair.ids)}-{change}-{texts is None}",
    )
    chosen = shown["selection"]["rows"] if texts is not None else []
    picked = [place for place in chosen if place < len(table)]
    if picked and texts is not None:
        for field in texts.fields:
            st.caption(f"Row {int(table['Row'].iloc[picked[0]])}, {parts.plain(field)}")
            st.text(str(table[compare_words.text_column(field)].iloc[picked[0]]))
    with st.container(horizontal=True, vertical_alignment="center"):
        parts.downloads(f"compare-{pair.task}-{change.replace(' ', '-')}", table=table)
        if texts is not None:
            count = int(found.rows["text_hash"].isin(list(texts.by_hash)).sum())
            st.caption(
                f"Texts of {count:,} of {len(found.rows):,} rows, matched by their hashes: "
                f"{parts.plain(texts.source)}. Select a row to read it in full."
            )


def _columns(found: Comparison, texts: RowTexts | None) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    sure = {
        compare_words.COLUMNS[name]: number(
            format="%.0f%%", width=90, help="Probability that it gives to the true class."
        )
        for name in ("larger_sure", "smaller_sure")
    }
    names = [compare_words.COLUMNS[name] for name in ("label", "larger", "smaller", "worse")]
    said: dict[str, Any] = dict.fromkeys(names, st.column_config.Column(width=100))
    if not found.classes:
        said = dict.fromkeys(names, number(format="%.2f", width=96))
    fields = texts.fields if texts is not None else ()
    width = st.column_config.TextColumn(width=310 if len(fields) == 1 else 150)
    wide = {compare_words.text_column(field): width for field in fields}
    return {"Row": number(format="%d", width=56), **wide, **said, **sure}


def _texts(pair: Pair, record: RunRecord, found: Comparison) -> RowTexts | None:
    """The texts that are at hand: those that a user gave, else from where the run says."""
    memo = loaders.memo("texts", 16)
    given: RowTexts | None = memo.get(("given", _session(), pair.task))
    hashes = frozenset(found.rows["text_hash"])
    if given is not None and hashes & given.by_hash.keys():
        return given
    if stored_place(record.config.task) is None:
        return None
    key = (pair.key, "stored")
    if memo.get(key) is None:
        try:
            memo.put(key, find_texts(record.config.task, hashes))
        except UserError as error:
            memo.put(key, str(error))
    texts = memo.get(key)
    return texts if isinstance(texts, RowTexts) and texts.by_hash else None


def _session() -> str:
    """A key of this user's session: texts that one user gives are not shown to another."""
    return str(st.session_state.setdefault("own texts", secrets.token_hex(8)))


def _ask_for_texts(pair: Pair, record: RunRecord, found: Comparison) -> None:
    with st.expander("Show the texts of these rows", icon=":material/description:"):
        st.markdown(
            "A run keeps only hashes of its rows. Give the file that it was evaluated on: a text "
            "is shown where its hash is the stored one."
        )
        uploaded = st.file_uploader("Upload the rows", type=FILES, key=f"rows-{pair.task}")
        typed = st.text_input("Or their file or folder on this machine", key=f"at-{pair.task}")
        if uploaded is None and not typed.strip():
            return
        try:
            texts = given_rows(record, found, uploaded, typed.strip())
        except UserError as error:
            parts.error(error)
            return
        if not texts.by_hash:
            st.warning(
                "No text of this file has a stored hash: the run was evaluated on other rows.",
                icon=":material/rule:",
            )
            return
        loaders.memo("texts", 16).put(("given", _session(), pair.task), texts)
        st.rerun()


def gates(pair: Pair) -> None:
    """Which gates differ, by layer."""
    st.subheader("Do they keep the same gates?", anchor=False)
    values = [loaders.gate_values(pair.store, run) for run in pair.ids]
    masks = [{name: own > 0 for name, own in side.items()} for side in values]
    try:
        table = gate_differences(masks[0], masks[1])
    except UserError as error:
        st.info(parts.plain(str(error)), icon=":material/grid_off:")
        return
    jaccard, chance = gate_jaccard(masks[0], masks[1]), chance_jaccard(masks[0], masks[1])
    title = compare_words.gates_finding(jaccard, chance, pair.larger, pair.smaller)
    layers = layer_agreement(masks[0], masks[1])
    layers = layers.assign(label=[f"Layer {number}" for number in layers["layer"]])
    figure = jaccard_figure(layers, title=title)
    st.markdown(f"{parts.plain(title)}.")
    parts.chart(figure, f"gates-{pair.task}")
    st.caption("How to read it: dots are measured, ticks what random gates would share.")
    parts.downloads(f"gates-{pair.task}", table=table, figure=figure)


def ladder(pair: Pair) -> None:
    """Both ladders, and what else differs."""
    st.subheader("What each removes and costs", anchor=False)
    table = compare_words.ladder_table(pair.larger.to_dict(), pair.smaller.to_dict())
    st.dataframe(table, hide_index=True)
    configs = [to_json(loaders.record(pair.store, run).config) for run in pair.ids]
    of_paths = () if any(config["path"] for config in configs) else ("train.path_",)
    differing = differing_settings(configs[0], configs[1], ignore=[*_OWN, *of_paths])
    if differing:
        text = compare_words.settings_text(differing)
        st.caption(f"They also differ in: {parts.plain(text)}.")
    else:
        st.caption("All other settings are the same.")
