"""The widgets of the gates page: one function a view."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from explorer.figures.agreement import frequency_figure, jaccard_figure, nestedness_figure
from explorer.figures.gate_map import gate_map_figure, gate_movie_figure
from explorer.figures.gate_matrix import kept_share_figure, matrix_figure
from explorer.loading import loaders
from explorer.look.glossary import explain, task_title
from explorer.widgets import parts, selection
from explorer.words import commands, gate_words
from finegates_engine.analysis.gate_statistics import (
    agreement_with,
    frequency_table,
    kept_shares,
    nestedness,
)
from finegates_engine.analysis.gate_vectors import (
    Values,
    VectorKind,
    check_vectors,
    dimension_table,
    role_label,
    side_values,
    vector_kinds,
)
from finegates_engine.errors import UserError
from finegates_engine.fold.dimensions import EncoderShape


@dataclass(frozen=True, eq=False)
class Gated:
    """The run that the page shows."""

    store: loaders.Store
    row: "pd.Series[Any]"
    values: dict[str, Values]
    kinds: list[VectorKind]
    shape: EncoderShape
    rows: pd.DataFrame
    """All runs on their curves."""

    @property
    def run_id(self) -> str:
        """Its id."""
        return str(self.row["run_id"])


def pick_run(store: loaders.Store, rows: pd.DataFrame, task: str) -> Gated | None:
    """Choice of the run, its gates loaded. None, with a note, where no run of the task has any."""
    gated = gate_words.gated_rows(rows, task)
    if gated.empty:
        st.info(
            f"No run of {parts.plain(task_title(task))} has gates. A sweep trains some:",
            icon=":material/grid_off:",
        )
        parts.train(store, rows[rows["task"] == task])
        return None
    chosen = selection.run_id(rows, quiet=True)
    if chosen is not None and chosen not in gated.index:
        st.info("The selected run has no gates to show; another one is shown.")
        selection.put("run", None)
    labels = {str(name): gate_words.run_label(row) for name, row in gated.iterrows()}
    run_id = selection.pick_run(labels, width=560)
    record = loaders.record(store, run_id)
    if record.shape is None:
        raise UserError(f"Run {run_id!r} does not say the sizes of its encoder.")
    kinds = vector_kinds(record.config.gates, record.shape)
    values = loaders.gate_values(store, run_id)
    check_vectors(values, kinds, record.shape)
    return Gated(store, gated.loc[run_id], values, kinds, record.shape, rows)


def map_view(run: Gated) -> None:
    """All gates at once, and the kept share by layer and kind."""
    shares = kept_shares(run.values)
    title, subtitle = gate_words.map_finding(shares, run.row)
    parts.finding(title, subtitle)
    by_value = st.toggle("Sorted: largest gate first in each block", key="sorted map")
    figure = gate_map_figure(run.values, run.kinds, run.shape, by_value=by_value, title=title)
    parts.chart(figure, "gate-map")
    _legend()
    table = kept_share_figure(shares, run.kinds, title=gate_words.share_finding(shares, run.kinds))
    parts.finding(str(table.layout.title.text))
    parts.chart(table, "kept-share")
    for kind in run.kinds:
        st.caption(f"**{kind.label}**: closing one removes {kind.matrices}.")
    parts.downloads("gate-map", table=shares, figure=figure)


def matrix_view(run: Gated) -> None:
    """One matrix of one layer."""
    roles = list(run.shape.matrices())
    with st.container(horizontal=True):
        layer = selection.pick(
            "layer", "Layer", list(range(1, run.shape.layers + 1)), default=1, width=120
        )
        role = selection.pick(
            "matrix", "Matrix", roles, default=roles[0], format_func=role_label, width=220
        )
    by_value = st.toggle("Sorted: kept rows and columns together", key="sorted matrix")
    size = run.shape.matrices()[role]
    rows, columns = side_values(run.values, run.kinds, run.shape, layer - 1, role)
    kept = tuple(
        n if side is None else int((side > 0).sum())
        for n, side in zip(size, (rows, columns), strict=True)
    )
    title, subtitle = gate_words.matrix_finding(
        role_label(role), layer - 1, (kept[0], kept[1]), size
    )
    parts.finding(title, f"{subtitle} stay.")
    figure = matrix_figure(rows, columns, size, by_value=by_value, title=title)
    parts.chart(figure, "matrix")
    st.caption("A stripe that is missing is a row or column that leaves; paler ones are soft.")
    parts.downloads("matrix", figure=figure)


def agreement_view(run: Gated) -> None:
    """Whether other seeds, targets and tasks keep the same gates."""
    found = gate_words.others(run.rows, run.run_id)
    masks, failed = _masks(run, [run.run_id, *found.all])
    own = masks.pop(run.run_id)
    table = agreement_with(own, masks)
    table.insert(0, "label", [found.all[name] for name in table["run"]])
    title, subtitle = gate_words.agreement_finding(table, found)
    parts.finding(title, subtitle)
    parts.chart(jaccard_figure(table, title=title), "jaccard")
    st.caption(f"Dot: {explain('jaccard')} Grey bar: {explain('chance')}")
    for problem in failed:
        st.caption(f":material/warning: {parts.plain(problem)}")
    seeds = [own, *(masks[name] for name in found.seeds if name in masks)]
    steps = _levels(run, found, own, masks).dropna(subset=["stay"])
    both = len(seeds) > 1 and len(steps) > 0
    left, right = st.columns(2, gap="large") if both else (st.container(), st.container())
    with left:
        _frequency(seeds)
    with right:
        _nested(steps)
    _dimensions(run, seeds)


def _frequency(seeds: list[dict[str, Any]]) -> None:
    """How many seeds keep a gate, against chance."""
    if len(seeds) < 2:
        st.caption("This level has one seed: whether another keeps the same is not known.")
        return
    frequency = frequency_table(seeds)
    words = gate_words.frequency_finding(frequency)
    parts.finding(words)
    parts.chart(frequency_figure(frequency, title=words), "frequency")
    st.caption("Hatched: what chance gives.", help=explain("keep_frequency"))


def _nested(steps: pd.DataFrame) -> None:
    """Whether what is closed stays closed at the levels above."""
    if steps.empty:
        st.caption("This curve has no second level, so whether levels are nested is not known.")
        return
    words = gate_words.nested_finding(steps)
    parts.finding(words)
    parts.chart(nestedness_figure(steps, title=words), "nestedness")
    st.caption("Dots: this run's seed. Grey bars: chance.", help=explain("nested"))


def movie_view(run: Gated) -> None:
    """The gates while they learn."""
    history = loaders.gate_history(run.store, run.run_id)
    if history is None:
        st.info("This run kept no history of its gates.", icon=":material/movie:")
        st.markdown("This trains it again with one, in a store of its own:")
        parts.command(commands.keep_movie(loaders.record(run.store, run.run_id).config))
        return
    title, subtitle = gate_words.movie_finding(history)
    parts.finding(title, subtitle)
    by_value = st.toggle("Sorted: largest gate first in each block", key="sorted movie")
    figure = gate_movie_figure(
        history.values,
        [int(step) for step in history.steps],
        run.kinds,
        run.shape,
        by_value=by_value,
        title=title,
    )
    parts.chart(figure, "gate-movie")
    parts.downloads("gate-movie", figure=figure)


VIEWS: dict[str, tuple[str, Callable[[Gated], None]]] = {
    "map": ("Map", map_view),
    "matrix": ("One matrix", matrix_view),
    "agreement": ("Agreement", agreement_view),
    "movie": ("Movie", movie_view),
}


def _legend() -> None:
    st.caption(
        "How to read it: a filled cell is an open gate, a hatched one a soft gate, an empty one a "
        "closed gate that leaves the model. Frames are heads, and the inner FFN.",
        help=f"Open: {explain('open')} Soft: {explain('soft')} Closed: {explain('closed')}",
    )


def _masks(run: Gated, names: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Masks of these runs, and why some cannot be had."""
    masks, failed = {}, []
    for name in names:
        try:
            values = loaders.gate_values(run.store, name)
        except UserError as error:
            failed.append(str(error))
            continue
        masks[name] = {vector: value > 0 for vector, value in values.items()}
    return masks, failed


def _levels(
    run: Gated, found: gate_words.Others, own: dict[str, Any], masks: dict[str, Any]
) -> pd.DataFrame:
    """Nestedness over the levels of this run's curve, with its own among them."""
    shares = run.rows.drop_duplicates("run_id").set_index("run_id")["folded_encoder_fraction"]
    levels = [(float(shares[name]), masks[name]) for name in found.targets if name in masks]
    levels.append((float(run.row["folded_encoder_fraction"]), own))
    levels.sort(key=lambda level: level[0])
    sizes = [{name: len(mask) for name, mask in level.items()} for _, level in levels]
    same = [level for level, size in zip(levels, sizes, strict=True) if size == sizes[-1]]
    return nestedness(same)


def _dimensions(run: Gated, seeds: list[dict[str, Any]]) -> None:
    """Which dimensions are kept, and by how many seeds."""
    parts.finding("Which dimensions are kept?")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layers = ["all", *(str(n + 1) for n in range(run.shape.layers))]
        layer = selection.pick("layer", "Layer", layers, default="all", width=120)
        only = st.toggle("Only kept ones", value=True)
    table = dimension_table(run.values, run.kinds, run.shape, seeds[1:])
    label = {kind.name: kind.label for kind in run.kinds}
    table = table.assign(vector=table["vector"].map(label))
    if layer != "all":
        table = table[table["layer"] == int(layer)]
    if only:
        table = table[table["state"] != "closed"]
    count = f"kept in, of {len(seeds)} seeds"
    table = table.rename(columns={"kept_in": count})
    if len(seeds) == 1:
        table = table.drop(columns=count)
    st.dataframe(
        table,
        hide_index=True,
        height=320,
        column_config={
            "value": st.column_config.NumberColumn("gate", format="%.2f"),
            count: st.column_config.ProgressColumn(
                count, min_value=0, max_value=len(seeds), format="%d"
            ),
        },
    )
    parts.downloads("kept-dimensions", table=table)
