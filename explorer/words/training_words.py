"""What a training's history says: its phases, its panels and its finding. No Streamlit."""

from dataclasses import dataclass

import pandas as pd

from explorer.look.numbers import plural
from finegates_engine.config import RunConfig
from finegates_engine.method_table import METHODS
from finegates_engine.metrics import METRICS
from finegates_engine.results import RunRecord
from finegates_engine.tasks import REGRESSION_METRICS
from finegates_engine.text.format import score_text, seconds_text

PHASES = ("open", "learn", "fixed")
"""As in `finegates_engine.gates.schedule`: not pressed to close; learned; set to 0 or 1."""

NEAR_ZERO = 0.005
"""Losses below this are not compared."""


@dataclass(frozen=True)
class Phase:
    """A stretch of a training, in epochs."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Panel:
    """One quantity over the training."""

    column: str
    title: str
    """Of its axis, with the unit."""

    share: bool = False


def phases(config: RunConfig) -> list[Phase]:
    """The phases of a training with learned gates, in epochs; none for another."""
    spec = METHODS.get(config.method)
    if spec is None or not spec.learns_gates:
        return []
    epochs = config.train.path_epochs if config.path else config.train.epochs
    shares = config.phases
    borders = [0.0, shares.open_start, 1 - shares.finish, 1.0]
    spans = zip(PHASES, borders, borders[1:], strict=False)
    return [Phase(name, a * epochs, b * epochs) for name, a, b in spans if b - a > 1e-9]


def panels(record: RunRecord) -> list[Panel]:
    """The quantities that are drawn, the most asked for first."""
    regression = record.headline in REGRESSION_METRICS
    unit = "squared error / variance" if regression else "cross-entropy, nats"
    metric = METRICS.get(record.headline)
    name = metric.label if metric is not None else record.headline
    return [
        Panel("gates_closed", "Gates closed<br>(share of all)", share=True),
        Panel("score", f"{name}<br>({record.headline_split})"),
        Panel("loss", f"Training loss<br>({unit})"),
        Panel("penalty", "Penalty, unweighted<br>(share missed)", share=True),
    ]


def finding(history: pd.DataFrame, record: RunRecord) -> tuple[str, str]:
    """(title, subtitle): when the gates had closed, and what the training came to."""
    metric = METRICS.get(record.headline)
    name = metric.label if metric is not None else record.headline
    name = name.lower() if name.istitle() and " " not in name else name
    ended = f"{name} {score_text(record.score)} at the end"
    closed = history["gates_closed"].dropna() if "gates_closed" in history else pd.Series([])
    losses = history["loss"].dropna() if "loss" in history else pd.Series([])
    said = []
    if len(losses) > 1:
        tenth = max(1, len(losses) // 10)
        first, last = losses.iloc[:tenth].median(), losses.iloc[-tenth:].median()
        said.append(_loss_words(float(first), float(last)))
    said.append(
        f"{plural(record.costs.steps, 'step')} in {seconds_text(record.costs.seconds_total)}."
    )
    if not len(closed) or closed.iloc[-1] <= closed.iloc[0]:
        return f"{ended[0].upper()}{ended[1:]}", " ".join(said)
    last = float(closed.iloc[-1])
    done = closed[closed >= last - 0.005].index[0]
    when = "in the last logged step"
    if "epoch" in history and history["epoch"].notna().any():
        share = history.loc[done, "epoch"] / history["epoch"].max()
        when = f"after {share:.0%} of the training"
    begun = float(closed.iloc[0])
    if begun > 0.005:
        title = f"Gates closed rose from {begun:.0%} to {last:.0%}, which was reached {when}"
    else:
        title = f"{last:.0%} of the gates had closed {when}"
    return f"{title}; {ended}", " ".join(said)


def _loss_words(first: float, last: float) -> str:
    if max(first, last) < NEAR_ZERO:
        return f"The loss stayed below {NEAR_ZERO:g} (medians of the first and last tenth)."
    way = "fell" if last < first else "rose"
    return f"The loss {way} from {first:.2g} to {last:.2g} (medians of the first and last tenth)."
