"""The widgets of "Pick a level": the answer, why, and every level."""

from typing import Any

import streamlit as st

from explorer.figures.levels_within import CROWD, Mark, levels_figure
from explorer.loading import candidates
from explorer.look.glossary import explain
from explorer.look.numbers import plural
from explorer.views.pick_controls import Asked
from explorer.widgets import parts, selection
from explorer.words import commands, pick_words
from explorer.words.levels import hover_text
from finegates_engine.analysis.recommend import (
    LIMITS,
    Candidate,
    LimitName,
    Recommendation,
    recommend,
)

_MANY = 4
"""Of so many levels within the limits the best is likely to be a lucky one."""


def answer(asked: Asked) -> Recommendation | None:
    """The recommendation, why, and what slack would buy. None: no level can be compared."""
    pool, limits = asked.pool, asked.limits
    if not pool.candidates:
        st.info("No level can be compared.", icon=":material/filter_list:")
        _left_out(pool)
        return None
    found = recommend(pool.candidates, limits, goal=asked.goal)
    title, subtitle = pick_words.answer(found, pool.labels, limits, asked.reference)
    parts.finding(title, subtitle)
    shown = found.best or found.nearest
    if shown is not None:
        _facts(shown, found, asked)
    _why(found, asked)
    return found


def levels(asked: Asked, found: Recommendation) -> None:
    """Every level, drawn and as a table."""
    limits = asked.limits
    title, _ = pick_words.answer(found, asked.pool.labels, limits, asked.reference)
    st.subheader("All levels", anchor=False)
    figure = levels_figure(
        _marks(found, asked), limit=limits.drop, unit=limits.drop_unit, title=title
    )
    parts.chart(figure, f"pick-{asked.task}", on_points=selection.put_clicked)
    st.caption(
        "How to read it: right is smaller, down is better. Filled marks keep to all limits, lines "
        "are 95% intervals, levels of one share stand side by side. Click a mark to see its run on "
        "every page.",
        help=explain("interval"),
    )
    if len({str(level["method"]) for level in asked.pool.levels.values()}) > CROWD:
        st.caption("Small marks are other methods' levels; hover names them.")
    _table(found, asked, figure)


def _facts(shown: Candidate, found: Recommendation, asked: Asked) -> None:
    verdicts = found.verdicts[shown.key]
    with st.container(horizontal=True, gap="small"):
        for name in LIMITS:
            known, verdict = shown.measured.get(name), verdicts.get(name)
            if known is None and verdict is None:
                continue
            with st.container(width=182, height="stretch", border=True):
                st.metric(
                    pick_words.heading(name, asked.limits.drop_unit),
                    pick_words.known_text(name, known, asked.limits.drop_unit),
                    delta=pick_words.badge(verdict, known),
                    delta_color="green" if verdict is not None and verdict.holds else "red",
                    delta_arrow="off",
                    help=_explained(name, asked),
                )
                bound = pick_words.bound_text(verdict, asked.limits)
                how = pick_words.how_known(name, known, asked.limits.drop_unit)
                st.caption(f"{bound}  \n{how}")
    if asked.passport is not None and "p95_ms" in shown.measured:
        st.caption(f"Times: {parts.plain(asked.passport.label)}.")


def _explained(name: LimitName, asked: Asked) -> str:
    if name == "drop":
        return (
            f"Counted from: {parts.plain(pick_words.reference_text(asked.reference))}; a level "
            "with fewer seeds is compared on the seeds that both have. "
            "The probability is the share of draws of rows and seeds within the limit. "
            f"{explain('interval')}"
        )
    if name == "size_mb":
        return "Of the weights, embeddings included, in MB (1,000,000 bytes), fp32."
    where = asked.passport.label if asked.passport is not None else "nothing was timed"
    return f"{parts.plain(where)}. The probability is the share of resampled rounds."


def _why(found: Recommendation, asked: Asked) -> None:
    pool, limits = asked.pool, asked.limits
    lines = [
        pick_words.binds(found, asked.goal),
        *(
            pick_words.offer(
                offer, found.best, limits, asked.goal, pool.labels[offer.candidate.key]
            )
            for offer in found.offers
        ),
        pick_words.runner_up(found, pool.labels, limits),
    ]
    st.markdown("\n".join(f"- {parts.plain(line)}" for line in lines if line))
    if found.passed >= _MANY:
        st.caption(
            f"Chosen among {plural(len(pool.candidates), 'level')}, of which {found.passed} keep "
            "to the limits: the best of many looks a little better than it is."
        )
    _missing_times(found, asked)


def _missing_times(found: Recommendation, asked: Asked) -> None:
    """How to measure what is missing."""
    wanted = [name for name in found.unmeasured if name in ("p95_ms", "speedup")]
    if asked.passport is not None and not asked.here:
        st.warning(
            "These times are of another machine. They say little about this one.",
            icon=":material/computer:",
        )
    elif asked.passport is not None and not wanted:
        return
    rest = [one for one in asked.pool.candidates if "p95_ms" not in one.measured]
    if not rest:
        return
    shown = found.best or found.nearest or rest[0]
    run = shown.run_id if "p95_ms" not in shown.measured else rest[0].run_id
    title = f"{plural(len(rest), 'level')} without a time on this machine: how to measure it"
    with st.expander(title, icon=":material/timer:", expanded=bool(wanted)):
        again = parts.remake(asked.store, run)
        parts.command(commands.measure(run, asked.store.word, again))
        st.markdown("They appear here when they are done, without a restart.")


def _marks(found: Recommendation, asked: Asked) -> list[Mark]:
    named = {"recommended": found.best, "runner-up": found.runner_up, "nearest": found.nearest}
    choices = {one.key: name for name, one in named.items() if one is not None}
    marks = []
    for one in asked.pool.candidates:
        drop, level = one.measured["drop"], asked.pool.levels[one.key]
        low, high = drop.interval
        verdicts = found.verdicts[one.key]
        metric = f"metrics.{level['split']}.{level['metric']}"
        lines = [hover_text(level, metric, None), ""]
        for v in verdicts.values():
            sure = pick_words.probability_text(v.probability)
            lines.append(f"{pick_words.limit_text(v.name, v.bound, asked.limits)}: {sure}")
        marks.append(
            Mark(
                method=str(level["method"]),
                run_id=one.run_id,
                removed=one.removed,
                drop=drop.value,
                low=low,
                high=high,
                holds=all(v.holds for v in verdicts.values()),
                choice=choices.get(one.key, ""),
                text="<br>".join(lines),
            )
        )
    return marks


def _table(found: Recommendation, asked: Asked, figure: Any) -> None:
    table = pick_words.table(asked.pool.candidates, asked.pool.labels, found, asked.limits)
    shares = [c for c in table if c == "Encoder weights removed" or str(c).startswith("P(")]
    columns: dict[str, Any] = {
        str(c): st.column_config.NumberColumn(format="%.1f") for c in table.select_dtypes("number")
    }
    columns |= {str(c): st.column_config.NumberColumn(format="%.0f%%") for c in shares}
    columns["Speed-up (x)"] = st.column_config.NumberColumn(format="%.2f")
    shown = table.assign(**{str(c): 100 * table[c] for c in shares})
    if not shown["Choice"].any():
        shown = shown.drop(columns="Choice")
    columns["Choice"] = st.column_config.TextColumn(width=110)
    columns["Level"] = st.column_config.TextColumn(width=250)
    st.dataframe(shown, hide_index=True, column_config=columns, key=f"levels-{asked.task}")
    parts.downloads(f"pick-{asked.task}", table=table, figure=figure)
    _left_out(asked.pool)


def _left_out(pool: candidates.Pool) -> None:
    for label, why in pool.left_out.items():
        st.caption(f":material/block: {parts.plain(label)} is left out: {parts.plain(why)}")
