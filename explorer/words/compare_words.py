"""The sentences and tables of "Compare". No Streamlit."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from explorer.look.numbers import plural, points_text, range_text, value_text
from explorer.look.theme import method_style, place_of
from explorer.words.gate_words import run_label
from finegates_engine.analysis.compare_runs import BOTH_RIGHT, BOTH_WRONG, LOST, WON, Comparison
from finegates_engine.analysis.tradeoff import ZERO, quantity
from finegates_engine.data.row_texts import RowTexts
from finegates_engine.ladder import RUNGS
from finegates_engine.metrics import METRICS
from finegates_engine.tasks import TASKS

CHANGES = {
    LOST: "Only the larger right",
    WON: "Only the smaller right",
    BOTH_WRONG: "Both wrong",
    BOTH_RIGHT: "Both right",
}
COLUMNS = {
    "label": "Label",
    "larger": "Larger says",
    "smaller": "Smaller says",
    "larger_sure": "Larger sure",
    "smaller_sure": "Smaller sure",
    "worse": "Further off by",
}
"""Column of the comparison's rows -> as it is shown."""

_HOVER = 110
_HALF = 0.5


def all_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Runs of a task, a row each by run id, what is looked at first coming first."""
    own = rows.assign(
        _method=[place_of(m) for m in rows["method"]],
        _plain=rows["variant"] != "",
        _path=rows["strategy"] == "path",
        _half=(rows["folded_encoder_fraction"] - _HALF).abs(),
    )
    order = ["_method", "_plain", "_half", "_path", "seed"]
    own = own.sort_values(order).drop_duplicates("run_id")
    return own.set_index("run_id", drop=False)


def default_larger(runs: pd.DataFrame, smaller: str) -> str | None:
    """What a run is compared with first: nothing removed, of its method, its seed if there is."""
    own = runs.loc[smaller]
    others = runs[(runs["run_id"] != smaller) & (runs["data_hash"] == own["data_hash"])]
    if others.empty:
        others = runs[runs["run_id"] != smaller]
    if others.empty:
        return None
    ranked = others.assign(
        zero=others["folded_encoder_fraction"] <= ZERO,
        backbone=others["backbone"] == own["backbone"],
        method=others["method"] == own["method"],
        finegates=others["method"] == "finegates",
        seed=others["seed"] == own["seed"],
    )
    order = ["zero", "backbone", "method", "finegates", "seed"]
    return str(ranked.sort_values(order, ascending=False, kind="stable").index[0])


def finding(found: Comparison, larger: Any, smaller: Any) -> tuple[str, str]:
    """(title, subtitle): what gets worse, and whether that is more than chance."""
    spec = METRICS[found.metric]
    sign = 1 if spec.better == "higher" else -1
    change = sign * found.difference.mean / spec.point
    low, high = sorted(sign * v / spec.point for v in (found.difference.low, found.difference.high))
    moved = f"{points_text(abs(change))} {'higher' if change > 0 else 'lower'}"
    score = f"{spec.label} {smaller['score']:.3f} after {larger['score']:.3f}: {moved}"
    score += f" (change {range_text(low, high)}, rows resampled in pairs, one run each)"
    if found.test is None:
        worse = int((found.rows["worse"] > 0).sum())
        title = f"The smaller model is further off on {worse:,} of {plural(len(found.rows), 'row')}"
        verdict = "more than chance" if found.difference.excludes_zero else "within chance"
        return title, f"{score}; {verdict}."
    test = found.test
    goes, come = ("goes" if test.lost == 1 else "go"), ("comes" if test.won == 1 else "come")
    title = f"{plural(test.lost, 'row')} {goes} wrong and {test.won:,} {come} right"
    if not test.lost and not test.won:
        title = "Both models are right on the same rows"
    verdict = "more uneven than" if test.differ else "no more uneven than"
    return title, (
        f"Of {plural(len(found.rows), 'row')}; the split is {verdict} chance makes it (McNemar's "
        f"exact test, p {p_text(test.p_value)}). {score}."
    )


def p_text(p: float) -> str:
    """A p-value with as many digits as mean something."""
    return "under 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def not_smaller(larger: Any, smaller: Any) -> str:
    """A note where the run on the smaller side removes less, else nothing."""
    if smaller["folded_encoder_fraction"] >= larger["folded_encoder_fraction"] - ZERO:
        return ""
    return "The run that is called smaller here removes less than the other one: swap them."


def side_name(row: Any) -> str:
    """A run on an axis: FineGates, 50% removed."""
    name = method_style(str(row["method"])).label
    return f"{name}, {row['folded_encoder_fraction']:.0%} removed"


def class_names(task: str) -> tuple[str, ...]:
    """Names of the classes, where the task's table has them."""
    return (TASKS[task].labels or ()) if task in TASKS else ()


def row_table(
    rows: pd.DataFrame, classes: bool, names: Sequence[str], texts: RowTexts | None
) -> pd.DataFrame:
    """The rows as they are shown: worst first."""
    if classes:
        rows = rows.assign(_fall=rows["larger_sure"] - rows["smaller_sure"])
        rows = rows.sort_values("_fall", ascending=False, kind="stable")
    else:
        rows = rows.sort_values("worse", ascending=False, kind="stable")
    table = pd.DataFrame({"Row": rows["row_id"].to_numpy()})
    if texts is not None:
        nothing = ("",) * len(texts.fields)
        found = [texts.by_hash.get(digest, nothing) for digest in rows["text_hash"]]
        for place, field in enumerate(texts.fields):
            table[text_column(field)] = [own[place] for own in found]
    if not classes:
        for column in ("label", "larger", "smaller", "worse"):
            table[COLUMNS[column]] = rows[column].to_numpy()
        return table
    # What says the label on every row needs no column of its own.
    said = [name for name in ("larger", "smaller") if (rows[name] != rows["label"]).any()]
    for column in ("label", *said):
        table[COLUMNS[column]] = [_class(value, names) for value in rows[column]]
    for column in ("larger_sure", "smaller_sure"):
        table[COLUMNS[column]] = 100 * rows[column].to_numpy()
    return table


def text_column(field: str) -> str:
    """Title of the column with one text of a row."""
    return f"Text ({field})"


def _class(value: float, names: Sequence[str]) -> str:
    index = int(value)
    return names[index] if 0 <= index < len(names) else f"class {index}"


def hover_texts(texts: RowTexts | None) -> dict[str, str]:
    """Short texts for tooltips, in which nothing is markup."""
    if texts is None:
        return {}
    short = {digest: " / ".join(own) for digest, own in texts.by_hash.items()}
    return {
        digest: html.escape(text if len(text) <= _HOVER else text[: _HOVER - 1] + "…")
        for digest, text in short.items()
    }


def ladder_table(larger: Mapping[Any, Any], smaller: Mapping[Any, Any]) -> pd.DataFrame:
    """A row a rung or cost: its value on both sides."""
    score = f"metrics.{smaller['split']}.{smaller['metric']}"
    names = [score, *RUNGS, "trained_parameters", "seconds_total"]
    rows = []
    for name in names:
        values = [_number(side.get(name)) for side in (larger, smaller)]
        if all(value is None for value in values):
            continue
        of = quantity(name)
        shown = [value_text(value, of) for value in values]
        rows.append({"": of.label, "Larger": shown[0], "Smaller": shown[1]})
    return pd.DataFrame(rows, columns=["", "Larger", "Smaller"])


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def gates_finding(jaccard: float, chance: float, larger: Any, smaller: Any) -> str:
    """Whether the two keep the same gates."""
    if larger["folded_encoder_fraction"] <= ZERO or smaller["folded_encoder_fraction"] <= ZERO:
        open_one = "larger" if larger["folded_encoder_fraction"] <= ZERO else "smaller"
        return f"The {open_one} keeps all its gates: the other keeps {jaccard:.0%} of them"
    return f"They share {jaccard:.0%} of the gates that either keeps; chance gives {chance:.0%}"


def settings_text(differing: Mapping[str, tuple[object, object]]) -> str:
    """Which settings differ, beside the target."""
    told = [
        f"{name.split('.', 1)[-1].replace('_', ' ')} ({a} and {b})"
        for name, (a, b) in differing.items()
    ]
    return ", ".join(told)


def run_name(row: Any) -> str:
    """A run in the list of runs."""
    return run_label(row)
