"""One run on disk: its files, written and read back. No torch.

run.json is read first and holds size and SHA-256 of the other core files, which are read when
they are asked for. Nothing is unpickled.
"""

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json

from finegates_engine.config import RunConfig, explain
from finegates_engine.files import Damaged, list_folder, read_file
from finegates_engine.ladder import Ladder
from finegates_engine.results import (
    RECORD,
    SCHEMA_VERSION,
    GateHistory,
    RunRecord,
    RunResult,
    StoredFile,
    check_adapter,
    check_history,
    check_predictions,
    gate_masks,
)
from finegates_engine.tables.limits import TableLimits
from finegates_engine.tables.parquet import read_parquet

MIB = 2**20
RECORD_BYTES = 4 * MIB
"""Largest run.json, and largest file that may follow later, that is read."""

CORE_FILES = {
    "history.parquet": 256 * MIB,
    "predictions.parquet": 1024 * MIB,
    "adapter.safetensors": 4096 * MIB,
    "gate_history.safetensors": 1024 * MIB,
}
"""Core file beside run.json to the largest size that is read, in bytes."""

MOST_TIMINGS = 1000
"""Timing files of a run; a folder with more is damaged."""

TABLE_LIMITS = TableLimits(unpacked_bytes=1024 * MIB, rows=5_000_000)
"""Of the tables of a run, once they are unpacked."""

_ALWAYS = ("history.parquet", "predictions.parquet")
Content = TypeVar("Content")

_STEPS, _FRAMES = "steps", "frames."
_REASON_LENGTH = 300
_BAD_CONTENT = (ValueError, OSError, KeyError, TypeError, OverflowError, MemoryError)


def encode(result: RunResult) -> dict[str, bytes]:
    """File name to content of a run's core, run.json last."""
    files = {
        "history.parquet": _parquet(result.history),
        "predictions.parquet": _parquet(result.predictions),
    }
    if result.adapter:
        files["adapter.safetensors"] = _safetensors(result.adapter)
    if (frames := result.gate_history) is not None:
        named = {_FRAMES + name: values for name, values in frames.values.items()}
        files["gate_history.safetensors"] = _safetensors(named | {_STEPS: frames.steps})
    for name, data in files.items():
        if len(data) > CORE_FILES[name]:
            raise ValueError(f"{name} has {len(data):,} bytes, at most {CORE_FILES[name]:,}")
    record = result.record({name: _described(data) for name, data in files.items()})
    plain = RECORD.dump_python(record, mode="json")
    files["run.json"] = json.dumps(plain, indent=1, allow_nan=False).encode() + b"\n"
    return files


def read_record(folder: str | Path, *, root: str | Path) -> RunRecord:
    """The content of a run's run.json, checked against its place and the sizes of its files.

    folder: `<root>/<task>/<run id>`. Raises Damaged with the reason.
    """
    task, name = Path(folder).parts[-2:]
    data = read_file(os.path.join(folder, "run.json"), root=root, limit=RECORD_BYTES)
    try:
        record = RECORD.validate_json(data, strict=True)
    except ValidationError as error:
        raise Damaged(_why(error)) from error
    if record.run_id != name:
        raise Damaged(f"run.json is that of {record.run_id!r}, not of its folder")
    if record.config.task.name != task:
        raise Damaged(f"run.json is of task {record.config.task.name!r}, not of its folder")
    if wrong := sorted(set(record.files) - set(CORE_FILES)):
        raise Damaged(f"run.json names files that no run has: {', '.join(wrong)}"[:_REASON_LENGTH])
    if missing := [file for file in _ALWAYS if file not in record.files]:
        raise Damaged(f"run.json does not name {', '.join(missing)}")
    for file, described in record.files.items():
        _check_size(os.path.join(folder, file), described.bytes)
    return record


@dataclasses.dataclass(frozen=True, eq=False)
class StoredRun:
    """A run in a store. Tables and arrays are read, and checked, when first asked for.

    Each of them raises Damaged where its file is missing, too large, or not the one that was
    saved.
    """

    record: RunRecord
    folder: Path
    root: Path

    @property
    def run_id(self) -> str:
        """The run's id, which is also its folder's name."""
        return self.record.run_id

    @property
    def config(self) -> RunConfig:
        """All that decided the result."""
        return self.record.config

    @property
    def ladder(self) -> Ladder:
        """The rungs up to those that need a compiled form."""
        return self.record.ladder

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row a logged step."""
        return self._checked("history.parquet", self._table, check_history)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row a validation row: row_id, text_hash, label, split, and prob_0.. or score."""
        return self._checked("predictions.parquet", self._table, check_predictions)

    @cached_property
    def adapter(self) -> dict[str, NDArray[Any]]:
        """All that was trained; empty for methods that move base weights."""
        return self._checked("adapter.safetensors", self._arrays, check_adapter)

    @cached_property
    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Gate vector to (size,) bool, True where the gate is kept."""
        return gate_masks(self.adapter)

    @cached_property
    def gate_history(self) -> GateHistory | None:
        """Gate values over the training. None: not recorded."""
        return self._checked("gate_history.safetensors", self._frames, lambda _: None)

    @property
    def certificate(self) -> dict[str, Any] | None:
        """Parity after folding. None: not folded yet."""
        path = self.folder / "certificate.json"
        return self._later(path) if os.path.lexists(path) else None

    @property
    def timings(self) -> dict[str, dict[str, Any]]:
        """Fingerprint of a machine to what was measured there."""
        folder = self.folder / "timings"
        if not os.path.lexists(folder):
            return {}
        try:
            names = list_folder(folder, root=self.root, most=MOST_TIMINGS)
        except Damaged as error:
            raise Damaged(f"Run {self.run_id!r}: {error}.") from error
        names = [name for name in names if name.endswith(".json") and not name.startswith(".")]
        return {name.removesuffix(".json"): self._later(folder / name) for name in names}

    def verify(self) -> None:
        """Read every file, and compare with its checksum what has one. Raises Damaged."""
        for name in self.record.files:
            self._bytes(name)
        read = (self.history, self.predictions, self.adapter, self.gate_history)
        assert len(read) == len(CORE_FILES), "each core file is read and checked by one of them"
        _ = self.certificate, self.timings

    def _checked(
        self, name: str, read: Callable[[str], Content], check: Callable[[Content], None]
    ) -> Content:
        """A file's content. Raises Damaged, which names the run and the file."""
        try:
            values = read(name)
            check(values)
        except Damaged:
            raise
        except (*_BAD_CONTENT, pa.ArrowException, safetensors.SafetensorError) as error:
            reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
            raise Damaged(
                f"{name} of {self.run_id} cannot be used ({reason})"[:_REASON_LENGTH]
            ) from error
        return values

    def _bytes(self, name: str) -> bytes:
        described = self.record.files[name]
        try:
            data = read_file(self.folder / name, root=self.root, limit=CORE_FILES[name])
        except Damaged as error:
            raise Damaged(f"Run {self.run_id!r}: {error}.") from error
        if _described(data) != described:
            raise Damaged(f"{name} of {self.run_id} is not the file that was saved (its checksum)")
        return data

    def _table(self, name: str) -> pd.DataFrame:
        table = read_parquet(io.BytesIO(self._bytes(name)), TABLE_LIMITS)
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
        return frame

    def _arrays(self, name: str) -> dict[str, NDArray[Any]]:
        if name not in self.record.files:
            return {}
        return safetensors.numpy.load(self._bytes(name))

    def _frames(self, name: str) -> GateHistory | None:
        arrays = self._arrays(name)
        if not arrays:
            return None
        steps = arrays.pop(_STEPS)
        return GateHistory(steps, {k.removeprefix(_FRAMES): v for k, v in arrays.items()})

    def _later(self, path: Path) -> dict[str, Any]:
        try:
            return json_object(read_file(path, root=self.root, limit=RECORD_BYTES), path.name)
        except Damaged as error:
            raise Damaged(f"Run {self.run_id!r}: {error}.") from error


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """A strict JSON object: no NaN, no infinity. Raises Damaged."""
    try:
        values = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise Damaged(f"{name} is not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise Damaged(f"{name} must be a JSON object, got {type(values).__name__}")
    return values


def _why(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return f"run.json is not valid JSON ({problems[0]['msg'].removeprefix('Invalid JSON: ')})"
    for problem in problems:
        if problem["loc"] == ("schema_version",):
            return (
                f"run.json has schema version {problem['input']!r}, this version of the engine "
                f"reads {SCHEMA_VERSION}"
            )[:_REASON_LENGTH]
    return "run.json has wrong values: " + "; ".join(explain(error).split("\n"))[:_REASON_LENGTH]


def _check_size(path: str, size: int) -> None:
    name = os.path.basename(path)
    try:
        found = os.stat(path).st_size
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise Damaged(f"{name} {reason}") from error
    if found != size:
        raise Damaged(f"{name} has {found:,} bytes, {size:,} were saved")


def _described(data: bytes) -> StoredFile:
    return StoredFile(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _safetensors(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    # order="C" because the writer takes the memory as it lies.
    return safetensors.numpy.save({k: np.asarray(v, order="C") for k, v in arrays.items()})
