"""The widgets of the trade-off page."""

from typing import Any

import pandas as pd
import streamlit as st

from explorer.figures.trade_off import CROWD, trade_off_figure
from explorer.loading import latencies, level_scores, loaders
from explorer.look.glossary import explain
from explorer.look.numbers import plural
from explorer.look.theme import method_style
from explorer.widgets import parts, selection
from explorer.words import findings, levels
from finegates_engine.analysis.tradeoff import quantities, quantity
from finegates_engine.ladder import RUNGS

FIRST_BUDGET_S, BUDGET_S, PAUSE_S = 0.02, 0.25, 0.4
"""Time spent on new intervals by the rerun of a choice, and by those that follow it by themselves
after a pause: the curves are there at once, their bands as they are known."""

_STRATEGIES = {"all": "Both", "independent": "Independent runs", "path": "Paths"}


def axes(store: loaders.Store, rows: pd.DataFrame) -> tuple[str, str, pd.DataFrame]:
    """Choice of what goes across and up: columns of the levels; and the rows with both."""
    timed = list(rows.loc[rows["has_timings"], "run_id"].unique())
    clock = ["latency_ms"] if timed else []
    rungs, scores = quantities(rows, kind="rungs"), quantities(rows, kind="scores")
    own = f"metrics.{rows['split'].iloc[0]}.{rows['metric'].iloc[0]}"
    upward = [*scores, *clock, *quantities(rows, kind="costs")]
    words = {"format_func": lambda column: quantity(column).label}
    default = "folded_encoder_fraction"
    with st.popover("Axes", icon=":material/straighten:"):
        x = selection.pick("x", "Across", [*rungs, *clock], default=default, **words)
        y = selection.pick("y", "Up", upward, default=own if own in upward else upward[0], **words)
        st.caption(f"{quantity(x).label}: {explain(x)}")
        if "latency_ms" in (x, y):
            rows = _timed(store, rows, timed)
    return x, y, rows


def _timed(store: loaders.Store, rows: pd.DataFrame, timed: list[str]) -> pd.DataFrame:
    times = latencies.stored_times(store, timed)
    if not times:
        st.caption("The stored timings have no passing certificate, so none is shown.")
        return latencies.with_latency(rows, {})
    passport = selection.pick(
        "timed",
        "Timed with",
        list(times),
        default=next(iter(times)),
        code=lambda one: one.code,
        format_func=lambda one: one.label,
    )
    return latencies.with_latency(rows, times[passport])


def curves(of_task: pd.DataFrame) -> pd.DataFrame:
    """Choice of curves: the levels of those that are shown."""
    with st.popover("Curves", icon=":material/filter_list:"):
        backbones = sorted(of_task["backbone"].unique())
        if len(backbones) > 1:
            kept = selection.pick_many("backbone", "Backbones", backbones, default=backbones)
            of_task = of_task[of_task["backbone"].isin(kept)]
        methods = sorted(of_task["method"].unique())
        kept = selection.pick_many(
            "method",
            "Methods",
            methods,
            default=methods,
            format_func=lambda name: method_style(name).label,
        )
        of_task = of_task[of_task["method"].isin(kept)]
        strategy = selection.pick(
            "trained",
            "Levels trained as",
            list(_STRATEGIES),
            default="all",
            format_func=_STRATEGIES.get,
            help=explain("path"),
        )
        if strategy != "all":
            alone = of_task["target"].isna()
            of_task = of_task[(of_task["strategy"] == strategy) | alone]
        return _chosen(of_task)


def _chosen(of_task: pd.DataFrame) -> pd.DataFrame:
    first = of_task.groupby("curve").first()
    names = {int(str(curve)): levels.curve_label(row) for curve, row in first.iterrows()}
    codes = {int(str(curve)): levels.curve_code(row) for curve, row in first.iterrows()}
    kept = selection.pick_many(
        "curves",
        "Curves",
        list(names),
        default=levels.default_curves(of_task) if len(of_task) else [],
        code=codes.__getitem__,
        format_func=names.__getitem__,
        help=explain("variant"),
    )
    hidden = len(names) - len(kept)
    st.caption(f"{plural(len(kept), 'curve')} of {len(names)} shown." if hidden else "All shown.")
    return of_task[of_task["curve"].isin(kept)]


def answer(
    store: loaders.Store, shown: pd.DataFrame, rows: pd.DataFrame, x: str, y: str, *, name: str
) -> None:
    """The finding, its figure and its table; while intervals are missing, again each second."""
    _, split, metric = y.split(".", 2) if y.startswith("metrics.") else ("", "", "")
    wanted = levels.wanted_runs(shown, y)

    pending = level_scores.intervals(store, metric, split, wanted, budget_s=-1)[1]
    drawn = [0]

    def draw() -> None:
        budget = BUDGET_S if drawn[0] else FIRST_BUDGET_S
        drawn[0] += 1
        known, left = level_scores.intervals(store, metric, split, wanted, budget_s=budget)
        title, subtitle = _words(store, shown, x, y, split, metric, compute=not left)
        figure = trade_off_figure(
            levels.build_curves(shown, rows, x, y, known),
            quantity(x),
            quantity(y),
            title=title,
            subtitle=subtitle,
            selected=selection.raw("run"),
        )
        parts.finding(title, subtitle)
        parts.chart(figure, name, on_points=selection.put_clicked)
        _below(known, left, crowded=shown["method"].nunique() > CROWD)
        _table(levels.level_table(shown, y, known), y, name, figure)
        if pending and not left:
            st.rerun()

    if pending:
        st.fragment(draw, run_every=PAUSE_S)()
    else:
        draw()


def _words(
    store: loaders.Store,
    shown: pd.DataFrame,
    x: str,
    y: str,
    split: str,
    metric: str,
    *,
    compute: bool,
) -> tuple[str, str]:
    found = findings.headline_level(shown, x, y)
    if found is None:
        return findings.finding(None, None, None, x, y)
    level, against = shown.loc[found], findings.reference_level(shown, shown.loc[found])
    if against is None:
        return findings.finding(level, None, None, x, y)
    reference, difference = shown.loc[against], None
    if metric:
        difference = level_scores.difference(
            store, metric, split, level["run_ids"], reference["run_ids"], compute=compute
        )
    return findings.finding(level, reference, difference, x, y)


def _below(known: dict[Any, Any], left: int, *, crowded: bool) -> None:
    st.caption(
        "How to read it: right is smaller, up is better. Pale bands are 95% intervals, small "
        "dots single seeds, grey rings the Pareto front. Click a point to see its run on every "
        "page.",
        help=f"{explain('interval')} {explain('pareto')}",
    )
    if crowded:
        st.caption("Of so many methods FineGates alone has a band; hover shows the others'.")
    if left:
        st.caption(f":material/hourglass_top: {plural(left, 'interval')} still to compute.")
    for problem in levels.problems(known):
        st.caption(f":material/warning: {parts.plain(problem)}")


def _table(table: pd.DataFrame, y: str, name: str, figure: Any) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Levels", anchor=False)
        parts.downloads(name, table=table, figure=figure)
    label = quantity(y).label
    score = st.column_config.NumberColumn(format="%.3f" if y.startswith("metrics.") else "compact")
    columns: dict[str, Any] = dict.fromkeys((label, "Low", "High"), score)
    columns["MACs"] = st.column_config.NumberColumn("MACs per token", format="compact")
    columns["Low"] = st.column_config.NumberColumn("from", format="%.3f", help=explain("interval"))
    columns["High"] = st.column_config.NumberColumn("to", format="%.3f", help=explain("interval"))
    shares = [quantity(rung).label for rung in RUNGS if quantity(rung).unit == "share"]
    shown = table.assign(**{c: 100 * table[c] for c in shares if c in table})
    columns |= {c: st.column_config.NumberColumn(format="%.1f%%") for c in shares}

    def picked() -> None:
        rows = st.session_state[f"rows-{name}"]["selection"]["rows"]
        if rows and table["Run"].iloc[rows[0]]:
            selection.put("run", str(table["Run"].iloc[rows[0]]))

    st.dataframe(
        shown,
        hide_index=True,
        column_config=columns,
        on_select=picked,
        selection_mode="single-row",
        key=f"rows-{name}",
    )
