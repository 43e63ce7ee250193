"""One run on disk: its files, written and read back. No torch.

run.json is read first and holds size and SHA-256 of the other core files, which are read when
they are asked for. Nothing is unpickled.
"""

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json

from finegates_engine.config import RunConfig, explain
from finegates_engine.files import Damaged, inside, read_file
from finegates_engine.ladder import Ladder
from finegates_engine.results import (
    RECORD,
    SCHEMA_VERSION,
    GateHistory,
    RunRecord,
    RunResult,
    StoredFile,
    gate_masks,
)

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

_ALWAYS = ("history.parquet", "predictions.parquet")
_STEPS, _FRAMES = "steps", "frames."
_REASON_LENGTH = 300


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
        return self._table("history.parquet")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row a validation row: row_id, text_hash, label, split, and prob_0.. or score."""
        return self._table("predictions.parquet")

    @cached_property
    def adapter(self) -> dict[str, NDArray[Any]]:
        """All that was trained; empty for methods that move base weights."""
        return self._arrays("adapter.safetensors")

    @cached_property
    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Gate vector to (size,) bool, True where the gate is kept."""
        return gate_masks(self.adapter)

    @cached_property
    def gate_history(self) -> GateHistory | None:
        """Gate values over the training. None: not recorded."""
        arrays = self._arrays("gate_history.safetensors")
        if not arrays:
            return None
        try:
            steps = arrays.pop(_STEPS)
            return GateHistory(steps, {k.removeprefix(_FRAMES): v for k, v in arrays.items()})
        except (KeyError, ValueError) as error:
            raise Damaged(f"gate_history.safetensors cannot be used ({error})") from error

    @property
    def certificate(self) -> dict[str, Any] | None:
        """Parity after folding. None: not folded yet."""
        path = self.folder / "certificate.json"
        return self._later(path) if os.path.lexists(path) else None

    @property
    def timings(self) -> dict[str, dict[str, Any]]:
        """Fingerprint of a machine to what was measured there."""
        folder = self.folder / "timings"
        if not folder.is_dir() or not inside(folder, self.root):
            return {}
        paths = sorted(p for p in folder.glob("*.json") if not p.name.startswith("."))
        return {path.stem: self._later(path) for path in paths}

    def verify(self) -> None:
        """Read every core file and compare it with its checksum. Raises Damaged."""
        for name in self.record.files:
            self._bytes(name)

    def _bytes(self, name: str) -> bytes:
        described = self.record.files[name]
        data = read_file(self.folder / name, root=self.root, limit=CORE_FILES[name])
        if _described(data) != described:
            raise Damaged(f"{name} of {self.run_id} is not the file that was saved (its checksum)")
        return data

    def _table(self, name: str) -> pd.DataFrame:
        data = self._bytes(name)
        try:
            return pd.read_parquet(io.BytesIO(data))
        except (ValueError, OSError, pa.ArrowException) as error:
            raise Damaged(f"{name} is not a Parquet file ({error})"[:_REASON_LENGTH]) from error

    def _arrays(self, name: str) -> dict[str, NDArray[Any]]:
        if name not in self.record.files:
            return {}
        data = self._bytes(name)
        try:
            return safetensors.numpy.load(data)
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
            raise Damaged(f"{name} is not a safetensors file ({error})"[:_REASON_LENGTH]) from error

    def _later(self, path: Path) -> dict[str, Any]:
        return json_object(read_file(path, root=self.root, limit=RECORD_BYTES), path.name)


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
