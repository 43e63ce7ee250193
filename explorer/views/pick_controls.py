"""The limits of "Pick a level": what is wanted, and what there is to choose from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from explorer.loading import candidates, latencies, loaders
from explorer.look.glossary import explain, task_title
from explorer.look.theme import method_style
from explorer.widgets import parts, selection
from finegates_engine.analysis.recommend import GOALS, Goal, LimitName, Limits

_AGAINST = {
    "nothing.points": "points, against nothing removed",
    "nothing.percent": "percent, against nothing removed",
    "baseline.points": "points, against the best baseline",
    "baseline.percent": "percent, against the best baseline",
}
_SURENESS = {"50": "as measured", "80": "80%", "90": "90%", "95": "95%"}


@dataclass(frozen=True, eq=False)
class Asked:
    """What is wanted, and what there is to choose from."""

    store: loaders.Store
    task: str
    reference: "pd.Series[Any]"
    limits: Limits
    goal: Goal
    pool: candidates.Pool
    passport: latencies.Passport | None
    """Which timings count. None: nothing was timed."""
    here: bool
    """Whether they were made on a machine like this one."""


def ask(store: loaders.Store, task: str, of_task: pd.DataFrame, rows: pd.DataFrame) -> Asked | None:
    """The limits, and the levels that are measured against them. None: nothing to choose from."""
    references = candidates.references(of_task)
    levels = candidates.deployable(of_task, rows)
    if levels.empty or not references:
        _nothing_to_choose(store, rows, task, removed=not levels.empty)
        return None
    drop = selection.pick_number(
        "drop",
        "Score drop at most",
        default=1.0,
        low=-100.0,
        high=100.0,
        step=0.1,
        format="%.1f",
        placeholder="no limit",
        width=150,
        help=explain("point"),
    )
    against = [name for name in _AGAINST if name.split(".")[0] in references]
    chosen = selection.pick(
        "against",
        "counted in",
        against,
        default=against[0],
        format_func=_AGAINST.__getitem__,
        width=290,
        help="What the drop is counted from. The best baseline is the method with the highest "
        "score among those that remove nothing, such as full finetuning.",
    )
    base, unit = chosen.split(".")
    sureness = _sureness()
    timed = candidates.timings(store, rows[rows["run_id"].isin(levels["run_ids"].explode())])
    more, goal, methods, passport = _more(levels, timed)
    limits = Limits(
        drop=drop,
        drop_unit="points" if unit == "points" else "percent",
        sureness=sureness,
        **more,
    )
    levels = levels[levels["method"].isin(methods)]
    cells = timed[passport] if passport is not None else {}
    with st.spinner("Resampling the scores of the levels"):
        pool = candidates.pool(store, levels, rows, references[base], limits.drop_unit, cells)
    here = any(cell.here for cell in cells.values())
    return Asked(store, task, references[base], limits, goal, pool, passport, here)


def _sureness() -> float:
    """The probability with which each limit is to hold."""
    chosen = selection.pick(
        "sure",
        "Each limit holds, at least",
        list(_SURENESS),
        default="50",
        format_func=_SURENESS.__getitem__,
        width=190,
        help=f"As measured: more likely than not. {explain('interval')}",
    )
    return int(chosen) / 100


def _more(
    levels: pd.DataFrame, timed: Mapping[latencies.Passport, Any]
) -> tuple[dict[str, float | None], Goal, list[str], latencies.Passport | None]:
    with st.popover("More limits", icon=":material/tune:"):
        size = _limit("size", "size_mb", "Size on disk at most (MB)", "MB are 1,000,000 bytes.")
        passport = None
        if timed:
            passport = selection.pick(
                "timed",
                "Times of",
                list(timed),
                default=next(iter(timed)),
                code=lambda one: one.code,
                format_func=lambda one: f"{one.label}{_where(timed[one])}",
            )
        else:
            st.caption("Nothing was timed yet, so limits on time cannot be met. See below.")
        p95 = _limit("p95", "p95_ms", "p95 latency at most (ms)", explain("latency_ms"))
        faster = _limit("faster", "speedup", "Speed-up at least (times)", "Against dense.")
        goal: Goal = selection.pick(
            "goal", "Then", list(GOALS), default="removed", format_func=GOALS.__getitem__
        )
        methods = sorted(levels["method"].unique())
        kept = selection.pick_many(
            "methods",
            "Methods",
            methods,
            default=candidates.default_methods(methods),
            format_func=lambda name: method_style(name).label,
        )
    return {"size_mb": size, "p95_ms": p95, "speedup": faster}, goal, kept, passport


def _limit(name: str, limit: LimitName, label: str, words: str) -> float | None:
    return selection.pick_number(
        name,
        label,
        default=None,
        low=0.01,
        high=1e6,
        placeholder="no limit",
        help=words,
        step=0.1 if limit == "speedup" else 1.0,
    )


def _where(runs: Mapping[str, latencies.Timed]) -> str:
    return "" if next(iter(runs.values())).here else " (another machine)"


def _nothing_to_choose(
    store: loaders.Store, rows: pd.DataFrame, task: str, *, removed: bool
) -> None:
    """What to train, where there is nothing to choose from or to compare with."""
    lacks = "nothing removed, to count a drop from" if removed else "anything removed"
    st.info(
        f"No run of {parts.plain(task_title(task))} has {lacks}.",
        icon=":material/straighten:",
    )
    st.markdown("A sweep trains levels to choose from:")
    parts.train(store, rows)
