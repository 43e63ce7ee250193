"""All runs of a store as one table, from a cache that is never an authority. No torch.

The cache, `.index.parquet`, holds a row a run and the run's signature: times and sizes of its
files. A run whose signature has changed is read again; a cache that cannot be used is ignored.
"""

import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from finegates_engine.config import RunConfig, to_json
from finegates_engine.errors import UserError, printable
from finegates_engine.files import Damaged, inside, read_file, still_there, write_atomic
from finegates_engine.ladder import Ladder
from finegates_engine.results import Costs, RunRecord
from finegates_engine.runs.core_files import ADAPTER, CORE_FILES, GATES, MIB
from finegates_engine.runs.stored_run import read_record
from finegates_engine.tables.limits import TableLimits
from finegates_engine.tables.parquet import read_parquet

INDEX_NAME = ".index.parquet"
INDEX_BYTES = 1024 * MIB
"""Largest cache that is read."""
INDEX_LIMITS = TableLimits(unpacked_bytes=INDEX_BYTES, rows=1_000_000)

RUN_ID = re.compile(
    r"[a-z0-9][a-z0-9_.-]{0,63}-[a-z0-9][a-z0-9_-]{0,44}-t\d\.\d\d-s\d{1,10}-(?P<hash>[0-9a-f]{12})"
)
"""What `config.run_id` makes: task, method, target, seed, hash."""

_FORMAT = b"2"
"""Raised whenever columns or their meaning change."""
_FORMAT_KEY = b"finegates_index"
_SIGNATURE = "_signature"
_DTYPES: dict[type, str] = {bool: "bool", int: "int64", str: "str"}
_OPEN_COLUMNS = ("metrics.", "trained.")
"""Columns that depend on the runs: they are there when one run has a value."""


@dataclass(frozen=True)
class Damage:
    """A run, or what lies in its place, that is skipped."""

    path: str
    """Relative to the store's root."""

    reason: str


@dataclass(frozen=True)
class _Found:
    task: str
    run_id: str
    folder: str
    signature: str


def list_runs(root: Path) -> tuple[pd.DataFrame, list[Damage]]:
    """One row an intact run, ordered by task and id; and what is damaged.

    Reads only what is new or changed since the last listing, and renews the cache where the
    store can be written. Missing values are NaN. Raises UserError where `root` is a file.
    """
    found, damaged = _scan(root)
    cached = _read_cache(root)
    known = dict(zip(cached["run_id"], cached[_SIGNATURE], strict=True))
    signatures = {run.run_id: run.signature for run in found}
    rows = []
    for run in found:
        if known.get(run.run_id) == run.signature:
            continue
        try:
            rows.append(_row(run, read_record(run.folder, root=root)))
        except Damaged as error:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if _signature(run.folder) == run.signature:
                    damaged.append(Damage(printable(f"{run.task}/{run.run_id}"), str(error)))
                    continue
            signatures.pop(run.run_id)  # deleted since it was found
    same = [signatures.get(name) == signature for name, signature in known.items()]
    frame = cached
    if rows or not all(same):
        frame = _tidy(pd.concat([cached[same], _frame(rows)], ignore_index=True))
        _write_cache(root, frame)
    return frame.drop(columns=_SIGNATURE), sorted(damaged, key=lambda item: item.path)


def _scan(root: Path) -> tuple[list[_Found], list[Damage]]:
    """Folders that are named like runs, with their signatures, and others that should be."""
    found: list[_Found] = []
    damaged: list[Damage] = []
    if not os.path.isdir(root):
        if os.path.lexists(root):
            raise UserError(f"Store {str(root)!r} is not a folder. Choose another with --store.")
        return found, damaged
    for task in _folders(root, root, "", damaged):
        for run in _folders(task.path, root, f"{task.name}/", damaged):
            place = printable(f"{task.name}/{run.name}")
            if not RUN_ID.fullmatch(run.name):
                damaged.append(Damage(place, "its name is not a run id"))
                continue
            try:
                found.append(_Found(task.name, run.name, run.path, _signature(run.path)))
            except FileNotFoundError:
                if still_there(run):  # else it was deleted since it was listed
                    damaged.append(Damage(place, "run.json is missing"))
            except OSError as error:
                damaged.append(Damage(place, f"run.json cannot be read ({error.strerror})"))
    return _without_doubles(found, damaged), damaged


def _folders(
    folder: str | Path, root: Path, place: str, damaged: list[Damage]
) -> list["os.DirEntry[str]"]:
    """Folders in `folder` in the order of their names. Hidden ones and files are not for us."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(
                (entry for entry in entries if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
    except OSError as error:
        damaged.append(
            Damage(printable(place.rstrip("/")) or ".", f"cannot be listed ({error.strerror})")
        )
        return []
    kept = []
    for entry in listed:
        name = printable(place + entry.name)
        if entry.is_symlink() and not inside(entry.path, root):
            damaged.append(Damage(name, "is a link that leads out of the store"))
        elif os.path.isdir(entry.path):
            kept.append(entry)
        elif entry.is_symlink():
            damaged.append(Damage(name, "is a link that leads nowhere"))
        elif RUN_ID.fullmatch(entry.name) and still_there(entry):
            damaged.append(Damage(name, "is not a folder"))
    return kept


def _without_doubles(found: list[_Found], damaged: list[Damage]) -> list[_Found]:
    """A run id in two task folders (one copied by hand) counts where its task says."""
    by_name: dict[str, _Found] = {}
    for run in found:
        other = by_name.setdefault(run.run_id, run)
        if other is run:
            continue
        stray = run if other.run_id.startswith(f"{other.task}-") else other
        by_name[run.run_id] = other if stray is run else run
        damaged.append(
            Damage(printable(f"{stray.task}/{stray.run_id}"), "lies in another task's folder too")
        )
    return list(by_name.values())


def _signature(folder: str) -> str:
    """Changes when run.json, the size of a core file, or the list of files changes."""
    record, names = os.stat(f"{folder}/run.json"), os.stat(folder)
    sizes = [_size(f"{folder}/{name}") for name in CORE_FILES]
    return f"{record.st_mtime_ns},{record.st_size},{names.st_mtime_ns},{sizes}"


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _row(run: _Found, record: RunRecord) -> dict[str, Any]:
    """One run, flattened. Names without a dot are the common ones; see `_columns`."""
    config = record.config
    costs, ladder = _fields(record.costs), _fields(record.ladder)
    trained = costs.pop("trained_parameters")
    row: dict[str, Any] = {
        _SIGNATURE: run.signature,
        "run_id": record.run_id,
        "task": config.task.name,
        "backbone": config.model.backbone,
        "method": config.method,
        "seed": config.seed,
        "path": ",".join(f"{level:g}" for level in config.path),
        "metric": record.headline,
        "split": record.headline_split,
        "score": record.score,
        "has_adapter": "adapter.safetensors" in record.files,
        "has_gates": not record.files.keys().isdisjoint((ADAPTER, GATES)),
        "has_gate_history": "gate_history.safetensors" in record.files,
        "has_certificate": os.path.exists(f"{run.folder}/certificate.json"),
        "has_timings": os.path.isdir(f"{run.folder}/timings"),
        "data_hash": record.identity.data_hash,
        "weights_hash": record.identity.weights_hash,
        "cpu": record.environment.cpu,
        "accelerator": record.environment.accelerator,
        "commit": record.environment.commit,
    }
    row |= ladder | costs | _flat_config(config)
    row |= {f"trained.{kind}": count for kind, count in trained.items()}
    for split, scores in record.metrics.items():
        row |= {f"metrics.{split}.{name}": value for name, value in scores.items()}
    return row


def _fields(item: Any) -> dict[str, Any]:
    """Its fields as they are; `dataclasses.asdict` would copy every value."""
    return {field.name: getattr(item, field.name) for field in fields(item)}


def _flat_config(config: RunConfig) -> dict[str, Any]:
    """`gates.axes` and the like. `task.data` stays out: a path is nobody's result."""
    flat: dict[str, Any] = {}
    for part, values in to_json(config).items():
        if isinstance(values, Mapping):
            flat |= {f"{part}.{name}": value for name, value in values.items()}
    del flat["task.data"]
    flat["task.text_fields"] = ",".join(flat["task.text_fields"])
    options = ",".join(f"{name}={value:g}" for name, value in config.method_options)
    return flat | {
        "threads": config.threads,
        "processes": config.processes,
        "method_options": options,
    }


def _columns() -> dict[str, str]:
    """Every fixed column and its dtype, in order."""
    columns = dict.fromkeys(("run_id", "task", "backbone", "method"), "str")
    columns |= {"seed": "int64", "target": "float64", "target_unit": "str", "path": "str"}
    columns |= {"metric": "str", "split": "str", "score": "float64"}
    for field in (*fields(Ladder), *fields(Costs)):
        if field.name != "trained_parameters":
            columns.setdefault(field.name, "int64" if field.type is int else "float64")
    flags = ("has_adapter", "has_gates", "has_gate_history", "has_certificate", "has_timings")
    columns |= dict.fromkeys(flags, "bool")
    machine = ("cpu", "accelerator", "commit")
    columns |= dict.fromkeys(("data_hash", "weights_hash", *machine, _SIGNATURE), "str")
    for name, value in _flat_config(RunConfig()).items():
        columns[name] = _DTYPES.get(type(value), "float64")
    return columns


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    rows = list(rows)
    columns = _columns()
    for name in dict.fromkeys(itertools.chain.from_iterable(rows)):
        columns.setdefault(name, "float64")
    return pd.DataFrame({name: _array(rows, name, kind) for name, kind in columns.items()})


def _array(rows: list[Mapping[str, Any]], name: str, kind: str) -> Any:
    values = [row.get(name) for row in rows]
    return pd.array(values, dtype="str") if kind == "str" else np.array(values, dtype=kind)


def _tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by task and id; open columns in order of name, without those that no run has."""
    fixed = _columns()
    extra = sorted(name for name in frame.columns if name.startswith(_OPEN_COLUMNS))
    extra = [name for name in extra if frame[name].notna().any()]
    return frame[[*fixed, *extra]].sort_values(["task", "run_id"], ignore_index=True)


def _read_cache(root: Path) -> pd.DataFrame:
    """The cache, or an empty table where there is none that can be used."""
    empty = _frame([])
    try:
        data = read_file(root / INDEX_NAME, root=root, limit=INDEX_BYTES)
        table = read_parquet(io.BytesIO(data), INDEX_LIMITS)
        if (table.schema.metadata or {}).get(_FORMAT_KEY) != _FORMAT:
            return empty
        frame: pd.DataFrame = table.to_pandas()
    except (Damaged, OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return empty
    extra = [name for name in frame.columns if name not in empty.columns]
    same_types = dict(frame.dtypes[: len(empty.columns)]) == dict(empty.dtypes)
    if not same_types or any(frame[name].dtype != np.float64 for name in extra):
        return empty
    return frame if frame["run_id"].is_unique else empty


def _write_cache(root: Path, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = (table.schema.metadata or {}) | {_FORMAT_KEY: _FORMAT}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), buffer)
    with contextlib.suppress(OSError):  # a store that cannot be written still lists
        write_atomic(root / INDEX_NAME, buffer.getvalue())
