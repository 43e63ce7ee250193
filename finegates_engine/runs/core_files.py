"""The core files of a run, and a run result as their content. No torch."""

import hashlib
import io
import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
from pandas.api.types import is_float_dtype
from pydantic import ValidationError

from finegates_engine.files import Damaged
from finegates_engine.results import RECORD, GateHistory, RunRecord, RunResult, StoredFile
from finegates_engine.runs.packing import Arrays, pack
from finegates_engine.validation import explain

MIB = 2**20
ZSTD_LEVEL = 19

ADAPTER, GATE_HISTORY = "adapter.safetensors", "gate_history.safetensors"
GATES = "gates.safetensors"
"""Final gate values of a light run, one without its weights, in the place of the adapter."""

CORE_FILES = {
    "history.parquet": 256 * MIB,
    "predictions.parquet": 1024 * MIB,
    ADAPTER: 4096 * MIB,
    GATE_HISTORY: 1024 * MIB,
    GATES: 1024 * MIB,
}
"""Core file beside run.json to the largest size that is read, in bytes."""

STEPS, FRAMES = "steps", "frames."
"""Arrays of a gate history: the steps, and before a gate vector's name its frames."""


def encode(result: RunResult) -> dict[str, bytes]:
    """File name to content of a run's core, run.json last."""
    files = core_content(result.history, result.predictions, result.adapter, result.gate_history)
    for name, data in files.items():
        if len(data) > CORE_FILES[name]:
            raise ValueError(f"{name} has {len(data):,} bytes, at most {CORE_FILES[name]:,}")
    record = result.record({name: describe(data) for name, data in files.items()})
    return files | {"run.json": record_bytes(record)}


def decode(files: Mapping[str, bytes]) -> RunRecord:
    """The record of an encoded run, wherever it comes from, held against its other files.

    Raises Damaged with the reason.
    """
    if "run.json" not in files:
        raise Damaged("run.json is missing")
    try:
        record = RECORD.validate_json(files["run.json"], strict=True)
    except ValidationError as error:
        raise Damaged(f"run.json has wrong values: {explain(error)}"[:300]) from error
    for name in sorted({*files, *record.files} - {"run.json"}):
        if name not in files or record.files.get(name) != describe(files[name]):
            raise Damaged(f"{name} is not the file that run.json describes")
    return record


def core_content(
    history: pd.DataFrame, predictions: pd.DataFrame, adapter: Arrays, frames: GateHistory | None
) -> dict[str, bytes]:
    """File name to content of all core files but run.json."""
    files = {
        "history.parquet": table_bytes(history),
        "predictions.parquet": table_bytes(predictions),
    }
    if adapter:
        files[ADAPTER] = array_bytes(adapter)
    if frames is not None:
        named = {FRAMES + name: values for name, values in frames.values.items()}
        files[GATE_HISTORY] = array_bytes(named | {STEPS: frames.steps})
    return files


def record_bytes(record: RunRecord) -> bytes:
    """The content of run.json."""
    plain = RECORD.dump_python(record, mode="json")
    if record.left_out is None:
        del plain["left_out"]
    return json.dumps(plain, indent=1, allow_nan=False).encode() + b"\n"


def describe(data: bytes) -> StoredFile:
    """Size and checksum of a file's content."""
    return StoredFile(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def table_bytes(frame: pd.DataFrame) -> bytes:
    """A table as Parquet, without what pandas would add to restore an index."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=False,  # nearly every value is another one
        use_byte_stream_split=[name for name in frame if is_float_dtype(frame[name])],
    )
    return buffer.getvalue()


def array_bytes(arrays: Arrays) -> bytes:
    """Named arrays as safetensors, packed without loss."""
    # order="C" because the writer takes the memory as it lies.
    packed = {name: np.asarray(values, order="C") for name, values in pack(arrays).items()}
    return safetensors.numpy.save(packed)
