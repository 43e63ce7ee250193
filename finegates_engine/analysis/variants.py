"""Which runs belong to one curve: variants of a method, their names, and paths. No torch.

Runs of one curve differ in target and seed alone. A path's curve begins with the independent run
from which its first level came.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from finegates_engine.config import RunConfig, to_json

_PARTS = ("task.", "model.", "gates.", "train.")
_NOT_SETTINGS = {
    "task.name",
    "model.backbone",
    "gates.target",
    "gates.history_frames",
    "train.path_epochs",
    "train.path_rate",
}
_ALSO_SETTINGS = ("method_options", "data_hash", "weights_hash", "threads", "processes")
_PATH_SETTINGS = ["train.path_epochs", "train.path_rate"]
_FIRST_PHASES = {"gates.ramp", "gates.open_start", "gates.finish"}
"""Of a path's first level alone; where that removes nothing they close no gate."""
_OWN = ["task", "backbone", "method"]
_PLACE = ["run_id", "target", "seed", "path", *_OWN]

_WORDS: dict[str, dict[Any, str]] = {
    "gates.axes": {"all": "all axes", "attention": "attention only", "inner": "inner axes"},
    "gates.tie": {False: "not tied", True: "tied"},
    "gates.head_gates": {True: "head gates", False: "no head gates"},
    "gates.allocation": {"vector": "a target a vector", "budget": "one budget"},
    "gates.learn": {"gradient": "learned by gradient", "fisher": "closed step by step"},
    "gates.relaxation": {"clip": "clipped gates", "hard": "hard gates"},
    "gates.start": {"equal": "equal start", "fisher": "ranked start"},
    "gates.controller": {"fixed": "fixed multiplier", "dual": "dual multiplier"},
    "gates.target_unit": {"gates": "target in gates", "encoder_weights": "target in weights"},
    "gates.kurtosis": {True: "kurtosis weights"},
    "gates.anneal": {True: "annealed"},
    "model.train_biases": {False: "biases frozen"},
    "model.low_rank": {0: "no low-rank update"},
    "model.pooling": {"model": "own pooler", "mean": "mean pooling"},
}
_FORMS = {
    "model.low_rank": "rank {}",
    "train.epochs": "{:g} epochs",
    "train.path_epochs": "{:g} epochs a level",
    "train.path_rate": "rates x{:g}",
    "task.max_train_samples": "{:,.0f} rows",
}
_MOST_TELLING = ("method_options", *_WORDS, "gates.distill", "train.epochs")
"""Settings in the order in which a name mentions them; others follow."""

_NAMED = 3


def curve_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a run and curve: the columns of `RunStore.frame`, and what places it on a curve.

    Added columns: `curve` (int), `variant` (its name; empty for the settings that are closest to
    the default), `strategy` ("independent" or "path") and `trained_parameters`. A curve holds a
    target and seed once. A run can be on two curves: a path and the independent run it began with.
    """
    if frame.empty:
        texts = {name: pd.array([], dtype="str") for name in ("variant", "strategy")}
        return frame.assign(curve=np.array([], int), trained_parameters=np.array([]), **texts)
    rows = _placed(frame)
    rows["variant"] = rows["curve"].map(_names(rows))
    whole = frame.take(rows["_row"].to_numpy()).reset_index(drop=True)
    added = rows[["strategy", "curve", "variant"]].reset_index(drop=True)
    return whole.assign(trained_parameters=_trained(whole), **{str(n): added[n] for n in added})


def _placed(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each run on each curve what tells curves apart, and its row in `frame` (`_row`)."""
    varying = _varying(frame, _settings(frame))
    along = [name for name in _PATH_SETTINGS if name in frame.columns]
    narrow = frame[[*_PLACE, *dict.fromkeys([*varying, *along])]].assign(
        _row=np.arange(len(frame)),
        strategy=["path" if path else "independent" for path in frame["path"]],
    )
    narrow["_settings"] = _numbered(narrow, [*_OWN, *varying])
    rows = pd.concat([_independent(narrow), _on_paths(narrow)], ignore_index=True)
    rows["curve"] = _numbered(rows, ["_settings", "strategy", "_path"])
    rows = rows.sort_values(["curve", "target", "seed", "run_id"], na_position="first")
    return rows.drop_duplicates(["curve", "target", "seed"], ignore_index=True)


def _settings(frame: pd.DataFrame) -> list[str]:
    named = [str(name) for name in frame.columns if str(name).startswith(_PARTS)]
    also = [name for name in _ALSO_SETTINGS if name in frame.columns]
    return [name for name in named if name not in _NOT_SETTINGS] + also


def _varying(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    return [name for name in names if frame[name].nunique(dropna=False) > 1]


def _numbered(frame: pd.DataFrame, names: list[str]) -> "pd.Series[int]":
    return frame.groupby(names, dropna=False, sort=True).ngroup()


def _trained(frame: pd.DataFrame) -> "pd.Series[float]":
    counts = [name for name in frame.columns if str(name).startswith("trained.")]
    return frame[counts].sum(axis=1, min_count=1)


def _independent(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["strategy"] == "independent"].assign(_path="")


def _on_paths(frame: pd.DataFrame) -> pd.DataFrame:
    """For each longest chain of levels: the runs along it, its first one included."""
    on_path = frame[frame["strategy"] == "path"]
    if on_path.empty:
        return on_path.assign(_path="")
    parts = []
    varying = _varying(on_path, _PATH_SETTINGS)
    starts = frame[frame["strategy"] == "independent"]
    for key, group in on_path.groupby(["_settings", *varying], dropna=False):
        settings = key[0] if isinstance(key, tuple) else key
        first = starts[starts["_settings"] == settings]
        chains = [_chain(path, target) for path, target in _levels(group)]
        for chain in _longest(chains):
            along = [chain[: len(own)] == own for own in chains]
            members = group[along]
            begun = first[(first["target"] == chain[0]) & first["seed"].isin(members["seed"])]
            name = f"{key} {chain}"
            parts.append(pd.concat([begun, members]).assign(strategy="path", _path=name))
    return pd.concat(parts)


def _levels(group: pd.DataFrame) -> Iterable[tuple[str, float]]:
    return zip(group["path"], group["target"], strict=True)


def _chain(path: str, target: float) -> tuple[float, ...]:
    return (*(float(level) for level in path.split(",")), float(f"{target:g}"))


def _longest(chains: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Chains that are not the beginning of another."""
    unique = sorted(set(chains))
    return [
        chain
        for chain in unique
        if not any(len(o) > len(chain) and o[: len(chain)] == chain for o in unique)
    ]


def _names(rows: pd.DataFrame) -> dict[Hashable, str]:
    """Curve -> the name of its variant: where its settings are not the default ones."""
    default = _default_settings()
    names: dict[Hashable, str] = {}
    # One run stands for its curve; the last, since a path may begin with an independent one.
    one_each = rows.groupby("curve").tail(1).set_index("curve")
    of_any = _varying(one_each, _settings(one_each))
    for _, own in one_each.groupby(_OWN, dropna=False):
        varying = _varying(own, of_any)
        varying = list(dict.fromkeys([*(n for n in _MOST_TELLING if n in varying), *varying]))
        of_paths = _varying(own[own["strategy"] == "path"], _PATH_SETTINGS)
        taken: dict[tuple[str, str], int] = {}
        paths = own["path"]
        told = own[["strategy", *(n for n in (*varying, *of_paths) if n in default)]]
        for curve, row in zip(told.index, told.to_dict("records"), strict=True):
            shown = [*varying, *(of_paths if row["strategy"] == "path" else [])]
            if str(paths[curve]).split(",")[0] in ("0", "0.0"):
                shown = [setting for setting in shown if setting not in _FIRST_PHASES]
            name = _difference(row, [n for n in shown if n in default], default)
            count = taken[row["strategy"], name] = taken.get((row["strategy"], name), 0) + 1
            names[curve] = name if count == 1 else f"{name or 'other settings'} ({count})"
    return names


def _difference(row: Mapping[Any, Any], shown: Iterable[str], default: Mapping[str, Any]) -> str:
    words = [_word(n, row[n]) for n in shown if not _is_default(row[n], default[n])]
    more = f", {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more


def _is_default(value: Any, default: Any) -> bool:
    """A column of numbers holds NaN where a config holds None."""
    return bool(value == default or (default is None and pd.isna(value)))


def _word(name: str, value: Any) -> str:
    known = _WORDS.get(name, {}).get(value)
    if known is not None:
        return known
    if name == "method_options":
        return str(value).replace(",", ", ")
    if name in _FORMS:
        return _FORMS[name].format(value)
    plain = name.split(".", 1)[-1].replace("_", " ")
    return f"{plain} {value:g}" if isinstance(value, float) else f"{plain} {value}"


def _default_settings() -> dict[str, Any]:
    default: dict[str, Any] = {"threads": 1, "processes": 1, "method_options": ""}
    for part, values in to_json(RunConfig()).items():
        if isinstance(values, dict):
            default |= {f"{part}.{name}": value for name, value in values.items()}
    return default
