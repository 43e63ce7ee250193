"""The levels that could be deployed, with what is known of each: score drop, size, times."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from explorer.loading import latencies, level_scores, loaders
from explorer.look.theme import method_style
from explorer.words.levels import curve_label
from finegates_engine.analysis.level_draws import (
    DropUnit,
    Measured,
    certified_size_mb,
    counted_size_mb,
    p95_ms,
    score_drop,
    speed_up,
)
from finegates_engine.analysis.recommend import Candidate, LimitName
from finegates_engine.analysis.tradeoff import (
    ZERO,
    is_baseline,
    on_shared_seeds,
    representative,
)
from finegates_engine.errors import UserError
from finegates_engine.parity import read_certificate
from finegates_engine.timing.stored import DENSE, PRUNED


@dataclass(frozen=True, eq=False)
class Pool:
    """What can be chosen from, and what it is compared with."""

    candidates: list[Candidate]
    labels: Mapping[str, str]
    """Candidate's key -> "FineGates, path, 50%"."""
    levels: Mapping[str, "pd.Series[Any]"]
    left_out: Mapping[str, str]
    """Label of a level that cannot be compared -> why."""
    timed: int
    """Candidates with a timing of the chosen kind."""


def references(of_task: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """What a drop can be counted from: "nothing" removed by gates, and the best "baseline".

    Of several levels with nothing removed the one with the most seeds, FineGates' own first.
    """
    found: dict[str, pd.Series[Any]] = {}
    zero = of_task[(of_task["folded_encoder_fraction"] <= ZERO) & of_task["score"].notna()]
    baseline = is_baseline(of_task).reindex(zero.index)
    own = zero[~baseline].assign(first=zero["method"] == "finegates", plain=zero["variant"] == "")
    if len(own):
        order = ["first", "seeds", "plain", "score"]
        found["nothing"] = own.sort_values(order, ascending=False).iloc[0]
    if baseline.any():
        found["baseline"] = zero[baseline].sort_values("score", ascending=False).iloc[0]
    return found


def deployable(of_task: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Levels that remove something and whose runs keep their gates, light ones too. A level that
    two curves share, a path and the run it began with, is there once."""
    kept = set(rows.loc[rows["has_gates"], "run_id"])
    good = of_task[of_task["folded_encoder_fraction"] > ZERO]
    good = good[[bool(kept.issuperset(runs)) for runs in good["run_ids"]]]
    return good[~good["run_ids"].duplicated()]


def default_methods(methods: Iterable[str]) -> list[str]:
    """All methods but controls, which show what a method must beat; all, where there are none."""
    methods = list(methods)
    return [name for name in methods if not method_style(name).control] or methods


def timings(
    store: loaders.Store, rows: pd.DataFrame
) -> dict[latencies.Passport, dict[str, latencies.Timed]]:
    """Passport -> run -> what was timed; this machine's first, then CPUs', then the most runs."""
    found: dict[latencies.Passport, dict[str, latencies.Timed]] = {}
    memo, versions = loaders.memo("timed cells", 4096), loaders.listing(store).versions
    for run in rows.loc[rows["has_timings"], "run_id"].unique():
        key = (store.root, run, versions.get(run))
        cells = memo.get(key)
        if cells is None:
            cells = latencies.timed_cells(store, run)
            memo.put(key, cells)
        for passport, timed in cells.items():
            found.setdefault(passport, {})[run] = timed

    def order(passport: latencies.Passport) -> tuple[bool, bool, int, str]:
        runs, device = found[passport], passport.setting.device
        return (not next(iter(runs.values())).here, device != "cpu", -len(runs), passport.code)

    return {passport: found[passport] for passport in sorted(found, key=order)}


def pool(
    store: loaders.Store,
    levels: pd.DataFrame,
    rows: pd.DataFrame,
    reference: "pd.Series[Any]",
    unit: DropUnit,
    cells: Mapping[str, latencies.Timed],
) -> Pool:
    """The candidates. cells: run -> its timing in the chosen setting.

    A drop is over the seeds that a level and the reference both have, where there are any.
    """
    metric, split = str(reference["metric"]), str(reference["split"])
    known = rows.drop_duplicates("run_id").set_index("run_id")
    score_of, seed_of = known["score"], dict(known["seed"])
    pairs = {
        runs: on_shared_seeds(runs, reference["run_ids"], seed_of) for runs in levels["run_ids"]
    }
    wanted = [reference["run_ids"], *(runs for pair in pairs.values() for runs in pair)]
    drawn = level_scores.scores(store, metric, split, wanted)
    if isinstance(whole := drawn[reference["run_ids"]], str):
        raise UserError(f"What a drop is counted from cannot be used: {whole}")
    certified = set(rows.loc[rows["has_certificate"], "run_id"])
    several = levels["backbone"].nunique() > 1
    found, labels, by_key, left_out = [], {}, {}, {}
    for level in levels.to_dict("records"):
        runs: level_scores.Runs = level["run_ids"]
        label = level_label(level, backbone=several)
        own, base = (drawn[some] for some in pairs[runs])
        try:
            if isinstance(own, str) or isinstance(base, str):
                raise UserError(str(own if isinstance(own, str) else base))
            drop = score_drop(metric, own, base, unit=unit)
        except UserError as error:
            left_out[label] = str(error)
            continue
        timed = [run for run in runs if run in cells]
        near = timed or list(runs)
        run = representative(near, [float(score_of.get(name, np.nan)) for name in near])
        measured: dict[LimitName, Measured] = {
            "drop": drop,
            "size_mb": _size(store, level, run, certified),
        }
        if run in cells:
            measured |= _times(store, run, cells[run])
        key = "~".join(runs)
        means = (float(one.scores.mean()) for one in (own, base))
        found.append(Candidate(key, run, level["folded_encoder_fraction"], *means, measured))
        labels[key], by_key[key] = label, pd.Series(level)
    return Pool(found, labels, by_key, left_out, sum("p95_ms" in c.measured for c in found))


def level_label(level: Mapping[Any, Any], *, backbone: bool = False) -> str:
    """A level in words: FineGates, path, 50%."""
    return f"{curve_label(level, backbone=backbone)}, {level['folded_encoder_fraction']:.0%}"


def _size(
    store: loaders.Store, level: Mapping[Any, Any], run: str, certified: set[str]
) -> Measured:
    if run in certified:
        try:
            certificate = read_certificate(loaders.run(store, run))
        except UserError:
            certificate = None
        if certificate is not None and certificate.passed:
            return certified_size_mb(certificate.file_bytes)
    left = level["encoder_weights"] * (1 - level["folded_encoder_fraction"])
    return counted_size_mb(_parameters(level), level["encoder_weights"], left)


def _parameters(level: Mapping[Any, Any]) -> float:
    """All parameters of the dense model, from the two shares that the ladder gives of it."""
    gone = level["encoder_weights"] * level["folded_encoder_fraction"]
    return float(gone / level["removed_model_fraction"])


def _times(store: loaders.Store, run: str, timed: latencies.Timed) -> dict[LimitName, Measured]:
    memo, cell = loaders.memo("timing draws", 4096), timed.cell
    key = (store.root, run, cell.measured, cell.setting)
    known = memo.get(key)
    if known is None:
        dense, pruned = cell.variants[DENSE].seconds, cell.variants[PRUNED].seconds
        known = {"p95_ms": p95_ms(pruned), "speedup": speed_up(dense, pruned)}
        memo.put(key, known)
    return dict(known)
