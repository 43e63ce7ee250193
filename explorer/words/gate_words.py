"""What the gates page says, and which runs it compares. No Streamlit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from explorer.look.glossary import task_title
from explorer.look.numbers import plural
from explorer.look.theme import place_of
from explorer.words.levels import curve_label
from finegates_engine.analysis.gate_vectors import VectorKind
from finegates_engine.analysis.tradeoff import ZERO, share_words
from finegates_engine.results import GateHistory

_MOST = 12
"""Other runs of one kind that are compared."""


def run_label(row: Mapping[Any, Any] | Any) -> str:
    """A run in words: FineGates, path, 50% removed, seed 0."""
    removed = f"{row['folded_encoder_fraction']:.0%} removed"
    return f"{curve_label(row)}, {removed}, seed {row['seed']}"


def gated_rows(rows: pd.DataFrame, task: str, *, having: str = "has_gates") -> pd.DataFrame:
    """Runs of a task that have gates, one row each, in the order of a list to choose from.

    having: the column that says what they must keep; "has_adapter" for a model to compute with.
    """
    own = rows[(rows["task"] == task) & (rows["gates_total"] > 0) & rows[having]]
    own = own.assign(
        _method=[place_of(m) for m in own["method"]],
        _plain=own["variant"] != "",
        _path=own["strategy"] == "path",
        _zero=own["folded_encoder_fraction"] <= ZERO,
        _half=(own["folded_encoder_fraction"] - 0.5).abs(),
    )
    order = ["_method", "_plain", "_zero", "_path", "_half", "seed"]
    return own.sort_values(order).drop_duplicates("run_id").set_index("run_id", drop=False)


def map_finding(shares: pd.DataFrame, row: Any) -> tuple[str, str]:
    """(title, subtitle) of the map: which layers keep the most and the least."""
    layers = shares.groupby("layer")[["open", "soft", "size"]].sum()
    kept = (layers["open"] + layers["soft"]) / layers["size"]
    soft, total = int(shares["soft"].sum()), int(shares["size"].sum())
    subtitle = f"{run_label(row)}: {int(shares['closed'].sum()):,} of {total:,} gates closed, "
    subtitle += "none soft" if not soft else f"{soft:,} soft"
    if kept.max() - kept.min() < 0.01:
        everything = "All layers keep " + ("all their gates" if kept.min() == 1 else "as much")
        return f"{everything}", f"{subtitle}."
    most, least = int(str(kept.idxmax())), int(str(kept.idxmin()))
    title = f"Layer {most + 1} keeps the most ({kept.max():.0%} of its gates), "
    title += f"layer {least + 1} the least ({kept.min():.0%})"
    return title, f"{subtitle}."


def movie_finding(history: GateHistory) -> tuple[str, str]:
    """(title, subtitle) of the movie: how many gates close over the training."""
    frames = np.concatenate(list(history.values.values()), axis=1)
    begun, closed = ((frames[number] == 0).mean() for number in (0, -1))
    steps = int(history.steps[-1] - history.steps[0])
    title = f"{closed:.0%} of the gates are closed, as at the start of the training"
    if abs(closed - begun) >= 0.005:
        title = f"From {begun:.0%} to {closed:.0%} of the gates closed in {plural(steps, 'step')}"
    soft = int(((frames[-1] > 0) & (frames[-1] < 255)).sum())
    subtitle = f"{plural(len(frames), 'moment')} of the training. At the end "
    if not soft:
        return title, f"{subtitle}no gate is soft."
    subtitle += f"{soft:,} of {frames.shape[1]:,} gates are soft"
    return title, f"{subtitle}: they are kept, and still scale their rows."


def share_finding(shares: pd.DataFrame, kinds: list[VectorKind]) -> str:
    """Which kind of gate vector keeps the most, and which the least."""
    sums = shares.groupby("vector")[["open", "soft", "size"]].sum()
    kept = ((sums["open"] + sums["soft"]) / sums["size"]).sort_values()
    label = {kind.name: kind.label for kind in kinds}
    if len(kept) < 2 or kept.iloc[-1] - kept.iloc[0] < 0.01:
        return f"{share_words(float(kept.mean()))} of the gates of each kind stays"
    most, least = label[str(kept.index[-1])], label[str(kept.index[0])]
    return f"{most} keeps {kept.iloc[-1]:.0%}, {least} {kept.iloc[0]:.0%}"


def matrix_finding(
    role: str, layer: int, kept: tuple[int, int], size: tuple[int, int]
) -> tuple[str, str]:
    """(title, subtitle) of one matrix: what stays of it."""
    share = kept[0] * kept[1] / (size[0] * size[1])
    name = role[:1].upper() + role[1:]
    sides = [
        f"all {n:,} {side}" if k == n else f"{k:,} of {n:,} {side}"
        for k, n, side in zip(kept, size, ("rows", "columns"), strict=True)
    ]
    return f"{name} of layer {layer + 1} keeps {share:.0%} of its weights", " and ".join(sides)


@dataclass(frozen=True)
class Others:
    """Runs to compare one run with: run id to its words, by kind."""

    seeds: dict[str, str]
    targets: dict[str, str]
    tasks: dict[str, str]

    @property
    def all(self) -> dict[str, str]:
        """All of them, seeds first."""
        return self.seeds | self.targets | self.tasks


def others(rows: pd.DataFrame, run_id: str) -> Others:
    """Runs like one run but for the seed; but for the target; and of other tasks."""
    own = rows[rows["run_id"] == run_id]
    curves = rows[rows["curve"].isin(own["curve"]) & (rows["run_id"] != run_id)]
    curves = curves[curves["has_gates"]].drop_duplicates("run_id")
    row = own.iloc[0]
    seeds = curves[curves["target"] == row["target"]].sort_values("seed")
    targets = curves[(curves["target"] != row["target"]) & (curves["seed"] == row["seed"])]
    targets = targets[targets["folded_encoder_fraction"] > ZERO].sort_values("target")
    same = (rows["method"] == row["method"]) & (rows["variant"] == row["variant"])
    same &= (rows["strategy"] == row["strategy"]) & (rows["target"] == row["target"])
    same &= (rows["seed"] == row["seed"]) & rows["has_gates"]
    tasks = rows[same & (rows["task"] != row["task"])].drop_duplicates("task")
    return Others(
        _labelled(seeds, lambda row: f"Seed {row['seed']}"),
        _labelled(targets, lambda row: f"Target {row['target']:.0%}"),
        _labelled(tasks, lambda row: f"Task {task_title(row['task'])}"),
    )


def _labelled(rows: pd.DataFrame, label: Callable[[Mapping[Any, Any]], str]) -> dict[str, str]:
    return {row["run_id"]: label(row) for row in rows.head(_MOST).to_dict("records")}


def agreement_finding(table: pd.DataFrame, found: Others) -> tuple[str, str]:
    """(title, subtitle): how far other seeds keep the same gates, beyond chance."""
    if table.empty:
        return "No other run has the same gates", "Train another seed or target to compare."
    seeds = table[table["run"].isin(found.seeds)]
    about = table if seeds.empty else seeds
    who = "Other runs" if seeds.empty else "Other seeds"
    jaccard, chance = about["jaccard"].mean(), about["chance"].mean()
    title = f"{who} share {jaccard:.0%} of the kept gates; chance gives {chance:.0%}"
    return title, f"Mean over {plural(len(about), 'run')}, each against the selected one."


def frequency_finding(table: pd.DataFrame) -> str:
    """How many gates all seeds keep, against chance."""
    runs, last = len(table) - 1, table.iloc[-1]
    total = table["gates"].sum()
    return (
        f"All {runs} seeds keep {last['gates'] / total:.0%} of the gates; "
        f"chance gives {last['chance'] / total:.0%}"
    )


def nested_finding(table: pd.DataFrame) -> str:
    """Whether a gate that is closed stays closed at the levels above."""
    known = table.dropna(subset=["stay"])
    if known.empty:
        return "No two levels to compare"
    if (known["stay"] == 1).all():
        return "Levels are nested: a gate that is closed stays closed"
    return f"{known['stay'].mean():.0%} of closed gates stay closed at the next level"
