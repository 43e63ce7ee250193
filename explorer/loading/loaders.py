"""The only cached loads. Every key holds the version of what is loaded; every cache is bounded.

A page takes `store = loaders.current()` and passes it to the others. New runs appear within two
seconds, at the next interaction, without a restart.
"""

import argparse
import hashlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from finegates_engine.analysis.answers import Answers, answers_of
from finegates_engine.analysis.tradeoff import curve_levels
from finegates_engine.analysis.variants import curve_rows
from finegates_engine.results import GateHistory, RunRecord
from finegates_engine.runs.index import Damage, list_runs
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.sweep.state import SweepState, read_sweeps

VARIABLE = "FINEGATES_STORE"
"""Environment variable that names the store's folder; `--store DIR` comes before it."""

_DEFAULT = Path(__file__).parents[2] / "cached_runs"
_FRESH_SECONDS = 2.0


@dataclass(frozen=True)
class Store:
    """A store at one moment: the key of all that is loaded from it."""

    root: str
    version: str
    """Changes when a run appears, changes or goes."""

    @property
    def word(self) -> str:
        """The folder in a command: as one types it where the app was started."""
        root, here = Path(self.root), Path.cwd()
        return shlex.quote(str(root.relative_to(here)) if here in root.parents else self.root)

    @property
    def runs(self) -> RunStore:
        """The engine's store."""
        return RunStore(self.root)


@dataclass(frozen=True, eq=False)
class Listing:
    """All runs of a store. The frame is shared by all users: filter it, never change it."""

    frame: pd.DataFrame
    damaged: tuple[Damage, ...]
    versions: Mapping[str, str]
    """Run id -> version of that run's files."""


def store_root(arguments: Sequence[str] | None = None) -> str:
    """The store's folder: `--store DIR`, else the environment variable, else the shipped one."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--store")
    try:
        known, _ = parser.parse_known_args(list(sys.argv[1:] if arguments is None else arguments))
        given = known.store
    except argparse.ArgumentError:
        given = None
    return str(Path(given or os.environ.get(VARIABLE) or _DEFAULT).expanduser().absolute())


def current() -> Store:
    """The store as it is now, or was at most two seconds ago."""
    root = store_root()
    return Store(root, _version(root))


def listing(store: Store) -> Listing:
    """All runs with their columns (see `RunStore.frame`), and what is damaged."""
    return _listing(store.root, store.version)


@dataclass(frozen=True, eq=False)
class Curves:
    """All curves of a store: a row a run (`variants.curve_rows`), a row a level."""

    rows: pd.DataFrame
    levels: pd.DataFrame


def curves(store: Store) -> Curves:
    """The runs placed on curves, and their levels. Shared by all users: never change them."""
    return _curves(store.root, store.version)


def run(store: Store, run_id: str) -> StoredRun:
    """One run; its tables and arrays are read when asked for. Raises UserError or Damaged."""
    return _run(store.root, listing(store).versions.get(run_id, ""), run_id)


def record(store: Store, run_id: str) -> RunRecord:
    """A run's run.json. Raises UserError or Damaged."""
    return run(store, run_id).record


def predictions(store: Store, run_id: str, split: str) -> pd.DataFrame:
    """A run's predictions of one split. Raises UserError or Damaged. Never change it."""
    return _predictions(store.root, listing(store).versions.get(run_id, ""), run_id, split)


def answers(store: Store, run_id: str, split: str) -> Answers:
    """What a run answered on the rows of one split. Not cached: `level_scores` keeps what comes
    of it. Raises UserError or Damaged."""
    frame = store.runs.load(run_id).predictions
    return answers_of(frame[frame["split"] == split])


def history(store: Store, run_id: str) -> pd.DataFrame:
    """A row a logged step of a run's training. Raises UserError or Damaged. Never change it."""
    return _history(store.root, listing(store).versions.get(run_id, ""), run_id)


def gate_values(store: Store, run_id: str) -> dict[str, NDArray[np.float32]]:
    """Gate vector to its final values, (size,) in [0, 1]; empty for a run without gates."""
    return _gate_values(store.root, listing(store).versions.get(run_id, ""), run_id)


def gate_history(store: Store, run_id: str) -> GateHistory | None:
    """Gate values over a run's training, or None. Raises UserError or Damaged."""
    return _gate_history(store.root, listing(store).versions.get(run_id, ""), run_id)


def sweeps(store: Store) -> list[SweepState]:
    """The store's sweeps, newest first. Not cached: they change while one looks."""
    return read_sweeps(Path(store.root))


def memo(name: str, size: int = 4096) -> "Memo":
    """A bounded cache of computed values, shared by all users; keys hold the runs' versions."""
    return _memo(name, size)


class Memo:
    """The last `size` computed values by key, the oldest dropped first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: dict[Any, Any] = {}

    def get(self, key: Any) -> Any | None:
        """The value, or None."""
        return self._values.get(key)

    def put(self, key: Any, value: Any) -> None:
        """Keep a value."""
        while len(self._values) >= self._size:
            self._values.pop(next(iter(self._values)), None)
        self._values[key] = value


@st.cache_resource(max_entries=16, show_spinner=False)
def _memo(name: str, size: int) -> Memo:
    return Memo(size)


@st.cache_data(ttl=_FRESH_SECONDS, max_entries=8, show_spinner=False)
def _version(root: str) -> str:
    return _digest(run_versions(root))


def run_versions(root: str) -> dict[str, str]:
    """Run id -> times and sizes of its folder and its run.json, without reading a file."""
    versions: dict[str, str] = {}
    for task in _folders(root):
        for folder in _folders(task.path):
            try:
                place, file = folder.stat(), os.stat(f"{folder.path}/run.json")
            except OSError:
                versions[folder.name] = "no run.json"
                continue
            versions[folder.name] = f"{place.st_mtime_ns} {file.st_mtime_ns} {file.st_size}"
    return versions


def _folders(path: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as entries:
            return [e for e in entries if not e.name.startswith(".") and os.path.isdir(e.path)]
    except OSError:
        return []


def _digest(versions: Mapping[str, str]) -> str:
    text = "\n".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@st.cache_resource(max_entries=4, show_spinner="Listing the runs")
def _listing(root: str, version: str) -> Listing:
    frame, damaged = list_runs(Path(root))
    return Listing(frame, tuple(damaged), run_versions(root))


@st.cache_resource(max_entries=4, show_spinner=False)
def _curves(root: str, version: str) -> Curves:
    rows = curve_rows(_listing(root, version).frame)
    return Curves(rows, curve_levels(rows))


@st.cache_resource(max_entries=64, show_spinner=False)
def _run(root: str, version: str, run_id: str) -> StoredRun:
    return RunStore(root).load(run_id)


@st.cache_resource(max_entries=64, show_spinner=False)
def _predictions(root: str, version: str, run_id: str, split: str) -> pd.DataFrame:
    frame = RunStore(root).load(run_id).predictions
    return frame[frame["split"] == split].reset_index(drop=True)


@st.cache_resource(max_entries=64, show_spinner=False)
def _history(root: str, version: str, run_id: str) -> pd.DataFrame:
    return RunStore(root).load(run_id).history


@st.cache_resource(max_entries=512, show_spinner=False)
def _gate_values(root: str, version: str, run_id: str) -> dict[str, NDArray[np.float32]]:
    values = RunStore(root).load(run_id).gate_values
    return {name: np.asarray(vector, dtype=np.float32) for name, vector in values.items()}


@st.cache_resource(max_entries=16, show_spinner=False)
def _gate_history(root: str, version: str, run_id: str) -> GateHistory | None:
    return RunStore(root).load(run_id).gate_history
