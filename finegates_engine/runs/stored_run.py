"""One run on disk, read back. No torch.

run.json is read first and holds size and SHA-256 of the other core files, which are read when
they are asked for. Nothing is unpickled.
"""

import dataclasses
import io
import os
import reprlib
from collections.abc import Callable
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

from finegates_engine.config import RunConfig
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged, list_folder, read_file
from finegates_engine.ladder import Ladder
from finegates_engine.results import (
    RECORD,
    SCHEMA_VERSION,
    VALUE,
    GateHistory,
    RunRecord,
    check_adapter,
    check_history,
    check_predictions,
    gate_masks,
)
from finegates_engine.runs.core_files import (
    ADAPTER,
    CORE_FILES,
    FRAMES,
    GATE_HISTORY,
    GATES,
    MIB,
    STEPS,
    describe,
)
from finegates_engine.runs.packing import unpack
from finegates_engine.tables.limits import TableLimits
from finegates_engine.tables.parquet import read_parquet
from finegates_engine.validation import MOST_PROBLEMS, explain

RECORD_BYTES = MIB // 2
"""Largest run.json that is read; they have some 8 kB."""

LATER_BYTES = 4 * MIB
"""Largest file that may follow later."""

MOST_TIMINGS = 1000
"""Timing files of a run; a folder with more is damaged."""

TABLE_LIMITS = TableLimits(unpacked_bytes=1024 * MIB, rows=5_000_000)
"""Of the tables of a run, once they are unpacked."""

_ALWAYS = ("history.parquet", "predictions.parquet")
Content = TypeVar("Content")

_REASON_LENGTH = 300
_BAD_CONTENT = (ValueError, OSError, KeyError, TypeError, OverflowError, MemoryError)


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
    if record.left_out is not None and ADAPTER in record.files:
        raise Damaged(f"run.json names {ADAPTER} and says that it was left out")
    if missing := [file for file in _ALWAYS if file not in record.files]:
        raise Damaged(f"run.json does not name {', '.join(missing)}")
    for file, described in record.files.items():
        _check_size(os.path.join(folder, file), described.bytes)
    return record


class LeftOut(UserError):  # noqa: N818  (a state of a run, told to the user as such)
    """The weights of a light run were asked for; the text has the command that makes them."""


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
        """All that was trained; empty for methods that move base weights.

        Raises LeftOut for a light run.
        """
        if self.is_light:
            raise LeftOut(_without_weights(self.record))
        return self._checked(ADAPTER, self._arrays, check_adapter)

    @property
    def has_adapter(self) -> bool:
        """Whether what was trained is here."""
        return ADAPTER in self.record.files

    @property
    def is_light(self) -> bool:
        """Whether it was shipped without its weights: gates, scores and tables are there."""
        return self.record.left_out is not None

    @cached_property
    def gate_values(self) -> dict[str, NDArray[Any]]:
        """Gate vector to its final values in [0, 1], (size,) fp32; empty where there are none."""
        arrays = self._gate_arrays
        return {k.removeprefix(VALUE): v for k, v in arrays.items() if k.startswith(VALUE)}

    @cached_property
    def _gate_arrays(self) -> dict[str, NDArray[Any]]:
        """The adapter, or what is left of it."""
        return self._checked(GATES, self._arrays, check_adapter) if self.is_light else self.adapter

    @cached_property
    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Gate vector to (size,) bool, True where the gate is kept."""
        return gate_masks(self._gate_arrays)

    @cached_property
    def gate_history(self) -> GateHistory | None:
        """Gate values over the training. None: not recorded."""
        return self._checked(GATE_HISTORY, self._frames, lambda _: None)

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
        _ = self.history, self.predictions, self.gate_values, self.gate_history
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
            reason = f"{name} of {self.run_id} cannot be used ({type(error).__name__}: {error})"
            raise Damaged(reason[:_REASON_LENGTH]) from error
        return values

    def _bytes(self, name: str) -> bytes:
        described = self.record.files[name]
        try:
            data = read_file(self.folder / name, root=self.root, limit=CORE_FILES[name])
        except Damaged as error:
            raise Damaged(f"Run {self.run_id!r}: {error}.") from error
        if describe(data) != described:
            raise Damaged(f"{name} of {self.run_id} is not the file that was saved (its checksum)")
        return data

    def _table(self, name: str) -> pd.DataFrame:
        table = read_parquet(io.BytesIO(self._bytes(name)), TABLE_LIMITS)
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
        return frame

    def _arrays(self, name: str) -> dict[str, NDArray[Any]]:
        if name not in self.record.files:
            return {}
        return unpack(safetensors.numpy.load(self._bytes(name)))

    def _frames(self, name: str) -> GateHistory | None:
        arrays = self._arrays(name)
        if not arrays:
            return None
        steps = arrays.pop(STEPS)
        return GateHistory(steps, {k.removeprefix(FRAMES): v for k, v in arrays.items()})

    def _later(self, path: Path) -> dict[str, Any]:
        try:
            return json_object(read_file(path, root=self.root, limit=LATER_BYTES), path.name)
        except Damaged as error:
            raise Damaged(f"Run {self.run_id!r}: {error}.") from error


def _without_weights(record: RunRecord) -> str:
    remake = record.left_out.remake if record.left_out is not None else ""
    return (
        f"Run {record.run_id!r} was shipped without its trained weights; its gates, scores and "
        f"predictions are there. To train it again, in a store of your own: {remake}"
    )


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
    if error.error_count() > MOST_PROBLEMS:
        return f"run.json has wrong values: {error.error_count():,}"
    problems = error.errors(include_url=False, include_context=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return f"run.json is not valid JSON ({problems[0]['msg'].removeprefix('Invalid JSON: ')})"
    for problem in problems:
        if problem["loc"] == ("schema_version",):
            found = reprlib.repr(problem["input"])
            return (
                f"run.json has schema version {found}, this version of the engine reads "
                f"{SCHEMA_VERSION}"
            )
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
