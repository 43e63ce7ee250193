"""How many gates are kept, and whether runs agree on which, against chance. No torch."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finegates_engine.analysis.gate_vectors import Masks, Values
from finegates_engine.analysis.intervals import chance_jaccard, gate_jaccard
from finegates_engine.errors import UserError


def kept_shares(values: Mapping[str, Values]) -> pd.DataFrame:
    """A row a gate vector: layer, vector, size, open, soft, closed (counts) and kept (share)."""
    rows = []
    for name, vector in values.items():
        layer, _, kind = name.partition("/")
        closed, opened = int((vector == 0).sum()), int((vector == 1).sum())
        rows.append(
            {
                "layer": int(layer),
                "vector": kind,
                "size": len(vector),
                "open": opened,
                "soft": len(vector) - opened - closed,
                "closed": closed,
                "kept": 1 - closed / len(vector),
            }
        )
    frame = pd.DataFrame(
        rows, columns=["layer", "vector", "size", "open", "soft", "closed", "kept"]
    )
    return frame.sort_values(["layer", "vector"], ignore_index=True)


def keep_counts(runs: Sequence[Masks]) -> dict[str, NDArray[np.int64]]:
    """Gate vector to (size,): in how many of the runs each gate is kept."""
    _check_same(runs)
    return {name: np.sum([run[name] for run in runs], axis=0) for name in runs[0]}


def frequency_table(runs: Sequence[Masks]) -> pd.DataFrame:
    """A row a number of runs, 0 to all: gates kept in just so many, and what chance gives.

    Chance: each run keeps as many gates of each vector as it does, at random and independently
    (a Poisson binomial for each gate).
    """
    counts = keep_counts(runs)
    seen = np.zeros(len(runs) + 1)
    chance = np.zeros(len(runs) + 1)
    for name, kept in counts.items():
        seen += np.bincount(kept, minlength=len(runs) + 1)
        chance += len(kept) * _poisson_binomial([float(run[name].mean()) for run in runs])
    return pd.DataFrame({"runs": np.arange(len(runs) + 1), "gates": seen, "chance": chance})


def _poisson_binomial(shares: Sequence[float]) -> NDArray[np.float64]:
    """Probability of 0, 1, ... successes among independent trials of these probabilities."""
    distribution = np.ones(1)
    for share in shares:
        distribution = np.convolve(distribution, [1 - share, share])
    return distribution


def agreement_with(own: Masks, others: Mapping[str, Masks]) -> pd.DataFrame:
    """A row another run: run, jaccard, chance, and above = (jaccard - chance) / (1 - chance).

    above: 0 as good as chance, 1 the same gates. Runs whose gate vectors differ are left out.
    """
    rows = []
    for name, other in others.items():
        try:
            jaccard, chance = gate_jaccard(own, other), chance_jaccard(own, other)
        except UserError:
            continue
        above = (jaccard - chance) / (1 - chance) if chance < 1 else float("nan")
        rows.append({"run": name, "jaccard": jaccard, "chance": chance, "above": above})
    return pd.DataFrame(rows, columns=["run", "jaccard", "chance", "above"])


def nestedness(levels: Sequence[tuple[float, Masks]]) -> pd.DataFrame:
    """A row a step from one level to the next: low, high, stay, chance.

    levels: (share removed, masks), rising. stay: share of the gates closed at the low level that
    are closed at the high one, 1 when nested, NaN where none is closed. chance: that share if the
    high level closed as many gates of each vector at random.
    """
    rows = []
    for (low, before), (high, after) in itertools.pairwise(levels):
        closed = stay = expected = 0.0
        for name, kept in before.items():
            gone = int((~kept).sum())
            closed += gone
            stay += int((~kept & ~after[name]).sum())
            expected += gone * float((~after[name]).mean())
        rows.append(
            {
                "low": low,
                "high": high,
                "stay": stay / closed if closed else float("nan"),
                "chance": expected / closed if closed else float("nan"),
            }
        )
    return pd.DataFrame(rows, columns=["low", "high", "stay", "chance"])


def _check_same(runs: Sequence[Masks]) -> None:
    if not runs:
        raise UserError("Agreement needs at least one run.")
    for other in runs[1:]:
        if {n: m.shape for n, m in other.items()} != {n: m.shape for n, m in runs[0].items()}:
            raise UserError("Only runs with the same gate vectors can be compared.")
