"""Damage to tables and arrays: by accident, or sealed with a checksum that fits."""

import io
import json
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from finegates_engine.runs.packing import unpack
from mutations import CORE, Victim, mutation


def _core(victim: Victim, random: random.Random) -> str:
    return random.choice(victim.there(*CORE))


def _table(victim: Victim, random: random.Random) -> str:
    return random.choice(["predictions.parquet", "history.parquet"])


def _parquet(table: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


@mutation()
def bytes_flipped(victim: Victim, random: random.Random) -> Any:
    """Some bytes of a core file."""
    name = _core(victim, random)
    data = bytearray((victim.folder / name).read_bytes())
    for place in random.sample(range(len(data)), random.choice([1, 3, 30])):
        data[place] ^= random.randrange(1, 256)
    victim.write(name, bytes(data))
    return name


@mutation()
def file_cut(victim: Victim, random: random.Random) -> Any:
    """The end of a core file is missing, or there is more of it."""
    name = _core(victim, random)
    data = (victim.folder / name).read_bytes()
    victim.write(name, data[: random.randrange(len(data))] if random.random() < 0.7 else data * 2)
    return name


@mutation()
def file_gone(victim: Victim, random: random.Random) -> Any:
    """A file of the core is missing."""
    name = random.choice(victim.there(*CORE, "run.json"))
    (victim.folder / name).unlink()
    return name


@mutation()
def file_of_another_kind(victim: Victim, random: random.Random) -> Any:
    """A core file in another's place."""
    names = victim.there(*CORE)
    name, other = random.sample(names, 2)
    victim.write(name, (victim.folder / other).read_bytes())
    return name, other


@mutation(must=False)
def sealed_bytes_flipped(victim: Victim, random: random.Random) -> Any:
    """Damage under a checksum that fits: the decoders of Arrow and safetensors see it."""
    name = _core(victim, random)
    data = bytearray((victim.folder / name).read_bytes())
    for place in random.sample(range(len(data)), random.choice([1, 3, 30])):
        data[place] ^= random.randrange(1, 256)
    victim.seal(name, bytes(data))
    return name


@mutation()
def sealed_noise(victim: Victim, random: random.Random) -> Any:
    """Bytes that are no such file."""
    name = _core(victim, random)
    head = random.choice([b"", b"PAR1", b"\x08\0\0\0\0\0\0\0", b"\x80\x04\x95"])
    data = head + random.randbytes(random.choice([0, 8, 1000])) + head
    victim.seal(name, data)
    return name, head


@mutation()
def parquet_bomb(victim: Victim, random: random.Random) -> Any:
    """A small file of gigabytes: packed pages, long runs, one long text in a million rows."""
    name, kind = _table(victim, random), random.choice(["pages", "rows", "texts", "codes"])
    if kind == "pages":
        buffer, few = io.BytesIO(), pa.table({"a": ["x" * 2**20] * 20})
        options = {"compression": "zstd", "use_dictionary": False}
        with pq.ParquetWriter(buffer, few.schema, **options) as writer:
            for _ in range(60):
                writer.write_table(few)
        data = buffer.getvalue()
    elif kind == "rows":
        chunk = pa.table({"step": pa.array(np.zeros(20_000_000, np.int8))})
        data = _parquet(chunk)
    else:
        codes = pa.array(np.zeros(1_000_000, np.int32))
        table = pa.table({"a": pa.DictionaryArray.from_arrays(codes, ["x" * 100_000])})
        data = _parquet(table, store_schema=kind == "codes")
    victim.seal(name, data)
    return name, kind, len(data)


@mutation(must=False)
def parquet_counts_that_lie(victim: Victim, random: random.Random) -> Any:
    """Numbers of the footer replaced by giant ones of the same length."""
    name = _table(victim, random)
    table = pa.table({"step": np.arange(70_000)})
    data = bytearray(_parquet(table, compression="zstd"))
    written, giant = bytes([0xE0, 0xC5, 0x08]), bytes([0xFE, 0xFF, 0x7F])  # 70,000 as a varint
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    places = [i for i in range(footer, len(data)) if data[i : i + 3] == written]
    for place in random.sample(places, random.randint(1, len(places))):
        data[place : place + 3] = giant
    victim.seal(name, bytes(data))
    return name, len(places)


@mutation()
def table_of_other_columns(victim: Victim, random: random.Random) -> Any:
    """A Parquet file that is whole, and no table of a run."""
    name = _table(victim, random)
    table = random.choice(
        [
            pa.table({"a": [1]}),
            pa.table({"step": [["nested"]], "split": [{"a": 1}]}),
            pa.table({"step": ["<b>x</b>"], "loss": ["high"]}),
            pa.table({f"c{number}": [1.0] for number in range(3000)}),
            pa.table(
                {"row_id": [0, 0], "text_hash": ["a"] * 2, "label": [0, 1], "split": ["s"] * 2}
            ),
            pa.table(
                {"row_id": [0], "text_hash": ["a"], "label": [0], "split": ["s"], "prob_7": [0.5]}
            ),
        ]
    )
    victim.seal(name, _parquet(table))
    return name, table.schema.names[:5]


@mutation(must=False)
def predictions_changed(victim: Victim, random: random.Random) -> Any:
    """NaN, texts, other rows and other columns among the predictions."""
    frame = pq.read_table(victim.folder / "predictions.parquet").to_pandas()
    kind = random.choice(["nan", "huge", "text", "few", "twice", "labels", "split", "one class"])
    last = [name for name in frame.columns if name.startswith("prob_") or name == "score"][-1]
    if kind in ("nan", "huge"):
        frame.loc[0, last] = np.nan if kind == "nan" else 1e300
    elif kind == "text":
        frame[last] = "<b>x</b>"
    elif kind == "few":
        frame = frame.iloc[: random.choice([0, 1, 5])]
    elif kind == "twice":
        frame.loc[0, "row_id"] = frame.loc[1, "row_id"]
    elif kind == "labels":
        frame["label"] = random.choice([-(2**62), 10**9])
    elif kind == "split":
        frame["split"] = "another"
    else:
        frame = frame.drop(columns=last)
    victim.seal("predictions.parquet", _parquet(pa.Table.from_pandas(frame, preserve_index=False)))
    return kind


@mutation()
def safetensors_header(victim: Victim, random: random.Random) -> Any:
    """Headers that claim too much, overlap, or name no type."""
    name = random.choice(victim.there("adapter.safetensors", "gate_history.safetensors"))
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    header, size = random.choice(
        [
            ({"gates.x": entry}, 2**62),
            ({"gates.x": entry}, 99_000_000),
            ({"gates.x": {**entry, "shape": [2**40, 2**40]}}, None),
            ({"gates.x": {**entry, "shape": [2**62]}}, None),
            ({"gates.x": {**entry, "data_offsets": [0, 2**62]}}, None),
            ({"gates.x": entry, "gates.y": entry}, None),
            ({"gates.x": {**entry, "dtype": "F99"}}, None),
            ({"gates.x": {**entry, "dtype": "BF16", "shape": [8]}}, None),
            ({"gates.x": {**entry, "shape": [2**40, 0], "data_offsets": [0, 0]}}, None),
            ({"\x1b[31m<b>": entry}, None),
            ({"__metadata__": {"a": "x" * 1_000_000}, "gates.x": entry}, None),
        ]
    )
    text = json.dumps(header).encode()
    length = len(text) if size is None else size
    victim.seal(name, length.to_bytes(8, "little") + text + bytes(16))
    return name, text[:60], size


@mutation()
def arrays_changed(victim: Victim, random: random.Random) -> Any:
    """Gates that are no gates: NaN, above 1, of another shape, kind or name."""
    arrays = unpack(safetensors.numpy.load((victim.folder / "adapter.safetensors").read_bytes()))
    name = random.choice([name for name in arrays if name.startswith("gate_values.")])
    values = arrays[name]
    arrays[name] = random.choice(
        [
            np.full_like(values, np.nan),
            values + 1.5,
            values - 2,
            values.reshape(1, -1),
            values.astype(np.int64),
            values[:-1],
            np.zeros(0, np.float32),
            np.zeros(5_000_000, np.float32),
        ]
    )
    if random.random() < 0.2:
        arrays["gate_values.999999999/ffn"] = values
    victim.seal("adapter.safetensors", safetensors.numpy.save(arrays))
    return name, arrays[name].shape, str(arrays[name].dtype)
