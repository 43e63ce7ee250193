"""The sentences of "Pick a level": computed from the recommendation. No Streamlit."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from explorer.look.numbers import MINUS, MISSING, plural, points_text, range_text
from explorer.words.levels import curve_label
from finegates_engine.analysis.level_draws import DropUnit, Measured
from finegates_engine.analysis.recommend import (
    LIMITS,
    Candidate,
    Goal,
    LimitName,
    Limits,
    Offer,
    Recommendation,
    Verdict,
)
from finegates_engine.analysis.tradeoff import share_words
from finegates_engine.metrics import METRICS

_DIGITS: dict[LimitName, int] = {"drop": 1, "size_mb": 1, "p95_ms": 2, "speedup": 2}
_SURE = (0.005, 0.995)
_ONE_SEED = "one seed, rows only"


def probability_text(probability: float | None) -> str:
    """A probability in percent; never 0% or 100%, which no sample can show."""
    if probability is None:
        return "not measured"
    if probability < _SURE[0]:
        return "under 1%"
    return "over 99%" if probability > _SURE[1] else f"{probability:.0%}"


def amount_text(name: LimitName, value: float, unit: DropUnit) -> str:
    """A value of what a limit is about, with its unit."""
    if name == "drop" and unit == "points":
        return points_text(value)
    if name == "drop":
        return f"{MINUS if value < -0.05 else ''}{abs(value):.1f}%"
    if name == "speedup":
        return f"{value:.2f}x"
    number = (
        f"{value:.{1 if value >= 1 else 2}f}"
        if value < 10
        else f"{value:.3g}"
        if value < 1000
        else f"{value:,.0f}"
    )
    return f"{number} {LIMITS[name].unit}"


def limit_text(name: LimitName, bound: float, limits: Limits) -> str:
    """A limit in words: at most 1.0 points of score."""
    spec = LIMITS[name]
    words = f"{spec.label.lower() if name != 'p95_ms' else spec.label} "
    words += "at most " if spec.at_most else "at least "
    return words + amount_text(name, bound, limits.drop_unit)


def reference_text(reference: Mapping[str, Any] | Any) -> str:
    """What drops are counted from: FineGates with nothing removed, accuracy 0.847, 3 seeds."""
    spec = METRICS[reference["metric"]]
    return (
        f"{curve_label(reference)} with nothing removed, {spec.label.lower()} "
        f"{reference['score']:.3f}, {plural(int(reference['seeds']), 'seed')}"
    )


def answer(
    found: Recommendation, labels: Mapping[str, str], limits: Limits, reference: Any
) -> tuple[str, str]:
    """(title, subtitle): what to deploy, or that nothing keeps to the limits."""
    if found.best is None:
        return _nothing(found, labels, limits)
    best = found.best
    drop = best.measured["drop"]
    metric = METRICS[reference["metric"]].label.lower()
    removed = f"{share_words(best.removed)} of the encoder can go"
    title = f"{removed} for {amount_text('drop', drop.value, limits.drop_unit)} of {metric}"
    if drop.value <= 0:
        title = f"{removed} without a loss of {metric}"
    low, high = range_text(*drop.interval).split(" to ")
    high += " points" if limits.drop_unit == "points" else "%"
    rows = "rows and seeds" if drop.kind == "rows and seeds" else _ONE_SEED
    return title, (
        f"{labels[best.key]}: {best.score:.3f} against {best.against:.3f} of "
        f"{curve_label(reference)} with nothing removed; drop {low} to {high} at 95% ({rows})."
    )


def _nothing(found: Recommendation, labels: Mapping[str, str], limits: Limits) -> tuple[str, str]:
    title = "No level keeps to these limits"
    if found.nearest is None:
        missing = ", ".join(LIMITS[name].label for name in found.unmeasured)
        return title, f"Nothing was measured yet for: {missing}." if missing else ""
    verdicts = found.verdicts[found.nearest.key]
    misses = [
        f"{_lower(LIMITS[v.name].label)} by {amount_text(v.name, v.miss, limits.drop_unit)}"
        for v in verdicts.values()
        if not v.holds
    ]
    return title, f"Nearest: {labels[found.nearest.key]}. It misses {' and '.join(misses)}."


def runner_up(found: Recommendation, labels: Mapping[str, str], limits: Limits) -> str:
    """The second choice in a sentence."""
    if found.best is None:
        return ""
    if found.runner_up is None:
        return "There is no runner-up: no other level keeps to the limits."
    other = found.runner_up
    sure = _least_sure(found.verdicts[other.key].values())
    text = f"Runner-up: {labels[other.key]}, which {_loses(other, limits)}"
    kind = f" ({_ONE_SEED})" if other.measured["drop"].kind == "rows" else ""
    return f"{text}; {sure} sure{kind}." if sure else f"{text}."


def _loses(one: Candidate, limits: Limits) -> str:
    """A level's drop as a verb: loses 0.8 points, gains 4.0 points."""
    drop = one.measured["drop"].value
    amount = amount_text("drop", abs(drop), limits.drop_unit)
    return f"{'gains' if drop < 0 else 'loses'} {amount}"


def _least_sure(verdicts: Any) -> str:
    known = [v.probability for v in verdicts if v.probability is not None]
    return probability_text(min(known)) if known else ""


def binds(found: Recommendation, goal: Goal) -> str:
    """Which limit keeps more from being recommended."""
    if not found.binding:
        if found.best is None:
            return ""
        more = {"removed": "removes more", "speedup": "is faster", "drop": "loses less"}[goal]
        return f"No limit binds: no stored level {more}."
    names = [_lower(LIMITS[name].label) for name in found.binding]
    text = f"What binds: {' and '.join(names)}."
    if found.best is None:
        return text
    more = {
        "removed": "more could be removed",
        "speedup": "a faster level could be taken",
        "drop": "a level that loses less could be taken",
    }[goal]
    return f"{text} With more room there, {more}."


def offer(given: Offer, best: Candidate | None, limits: Limits, goal: Goal, label: str) -> str:
    """What a little slack would buy: 0.3 points more drop would let you remove 60%, not 50%."""
    slack = amount_text(given.name, given.slack, limits.drop_unit)
    less_more = "more" if LIMITS[given.name].at_most else "less"
    what = {
        "drop": f"{slack} {less_more} drop",
        "size_mb": f"{slack} {less_more} on disk",
        "p95_ms": f"{slack} {less_more} of p95 latency",
        "speedup": f"A speed-up {slack} lower",
    }[given.name]
    other = given.candidate
    if goal == "removed":
        gain = f"remove {other.removed:.0%}"
        gain += f" instead of {best.removed:.0%}" if best else ""
    elif goal == "speedup" and "speedup" in other.measured:
        gain = f"run {other.measured['speedup'].value:.2f} times as fast"
    else:
        gain = f"take one that {_loses(other, limits)}"
    limit = amount_text(given.name, given.bound, limits.drop_unit)
    return f"{what} (limit {limit}) would let you {gain}: {label}."


def known_text(name: LimitName, known: Measured | None, unit: DropUnit) -> str:
    """A measured value under its `heading`, or that there is none."""
    if known is None:
        return MISSING
    if name == "speedup":
        return amount_text(name, known.value, unit)
    number = amount_text(name, known.value, unit).split(" ")[0].removesuffix("%")
    return f"≈ {number}" if known.kind == "counted" else number


def heading(name: LimitName, unit: DropUnit) -> str:
    """What a value is of, and its unit: Size on disk (MB)."""
    spec = LIMITS[name]
    if name == "speedup":
        return spec.label
    shown = spec.unit if name != "drop" else unit if unit == "points" else "%"
    return f"{spec.label} ({shown})"


def how_known(name: LimitName, known: Measured | None, unit: DropUnit) -> str:
    """Its interval and what was varied, or where a size comes from."""
    if known is None:
        return "not measured here"
    if known.kind in ("exact", "counted"):
        return {"exact": "from the certificate", "counted": "counted, not yet built"}[known.kind]
    low, high = (amount_text(name, value, unit).split(" ")[0] for value in known.interval)
    varied = "one seed: rows only" if known.kind == "rows" else known.kind
    return f"{low} to {high} ({varied})"


def badge(verdict: Verdict | None, known: Measured | None) -> str | None:
    """Whether a limit holds, short: 93% sure. None: there is no limit."""
    if verdict is None:
        return None
    if known is None:
        return "not measured"
    if known.draws is None:
        return "within" if verdict.holds else "not within"
    return f"{probability_text(verdict.probability)} sure"


def bound_text(verdict: Verdict | None, limits: Limits) -> str:
    """The limit beside a value: limit 20 ms."""
    if verdict is None:
        return "no limit"
    bound = amount_text(verdict.name, verdict.bound, limits.drop_unit)
    return f"{'at most' if LIMITS[verdict.name].at_most else 'at least'} {bound}"


def table(
    candidates: list[Candidate],
    labels: Mapping[str, str],
    found: Recommendation,
    limits: Limits,
) -> pd.DataFrame:
    """A row a level: what is known, the probability that each limit holds, the choice."""
    place = {one.key: mark for one, mark in _marks(found)}
    percent = "points" if limits.drop_unit == "points" else "%"
    rows = []
    order = list(place)  # what is chosen comes first
    for one in sorted(
        candidates,
        key=lambda c: (
            order.index(c.key) if c.key in place else len(order),
            -c.removed,
            c.measured["drop"].value,
        ),
    ):
        low, high = one.measured["drop"].interval
        row: dict[str, Any] = {
            "Choice": place.get(one.key, ""),
            "Level": labels[one.key],
            "Encoder weights removed": one.removed,
            f"Drop ({percent})": one.measured["drop"].value,
            "from": low,
            "to": high,
        }
        for name in ("size_mb", "p95_ms", "speedup"):
            known = one.measured.get(name)
            if any(name in other.measured for other in candidates):
                row[f"{LIMITS[name].label} ({LIMITS[name].unit})"] = known.value if known else None
        for name, verdict in found.verdicts[one.key].items():
            row[f"P({_lower(LIMITS[name].label)} holds)"] = verdict.probability
        row["Varied"] = one.measured["drop"].kind
        row["Run"] = one.run_id
        rows.append(row)
    return pd.DataFrame(rows)


def _marks(found: Recommendation) -> list[tuple[Candidate, str]]:
    named = (
        (found.best, "recommended"),
        (found.runner_up, "runner-up"),
        (found.nearest, "nearest"),
    )
    return [(one, mark) for one, mark in named if one is not None]


def _lower(label: str) -> str:
    return label if label.startswith("p95") else label.lower()
