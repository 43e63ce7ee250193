import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finegates_engine.tables.limits import BadTable, TableLimits
from finegates_engine.tables.parquet import read_parquet

LIMITS = TableLimits(unpacked_bytes=10_000_000, rows=100_000, columns=20)


def file_of(table, **options):
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    file.seek(0)
    return file


def understated(table, **options):
    """A file whose footer claims that each column unpacks to 100 bytes."""
    data = bytearray(file_of(table, **options).getvalue())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    group = metadata.row_group(0)
    for size in {group.total_byte_size, group.column(0).total_uncompressed_size}:
        written = varint(size)
        while (place := data.find(written, footer)) >= 0:
            data[place : place + len(written)] = varint(100, length=len(written))
    assert pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).total_byte_size == 100
    return io.BytesIO(data)


def varint(value, *, length=0):
    """A number in Thrift's compact protocol, filled up to `length` bytes."""
    value <<= 1
    parts = []
    while value or len(parts) < max(length, 1):
        parts.append(value & 127)
        value >>= 7
    return bytes([*(part | 128 for part in parts[:-1]), parts[-1]])


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
)
@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}])
def test_text_of_every_kind_is_read_as_it_was_written(kind, options):
    plain = pa.array(["a", "bb", None, "a", ""])
    column = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)
    table = pa.table({"text": column, "n": [1, 2, 3, 4, 5]})
    read = read_parquet(file_of(table, **options), LIMITS)
    assert read.schema.field("text").type == kind
    assert read.to_pydict() == table.to_pydict()


def test_a_frame_comes_back_as_it_was():
    frame = pd.DataFrame(
        {
            "a": ["x", "y", None],
            "b": [1.5, np.nan, 2],
            "c": [True, False, True],
            "d": [1, 2, 3],
            "e": pd.to_datetime(["2020-01-01", "2021-01-01", None]),
        }
    )
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    read = read_parquet(file, LIMITS).to_pandas(ignore_metadata=True)
    pd.testing.assert_frame_equal(read, frame)


def test_only_wanted_columns_are_read_and_only_they_must_be_flat():
    table = pa.table({"b": [1], "lists": [[1, 2]], "a": ["x"]})
    read = read_parquet(file_of(table), LIMITS, ("a", "b", "c"))
    assert read.to_pydict() == {"b": [1], "a": ["x"]}
    with pytest.raises(BadTable, match=r"its column 'lists' holds list<.*>, not text"):
        read_parquet(file_of(table), LIMITS)


def test_a_table_without_rows_or_columns_is_read():
    assert read_parquet(file_of(pa.table({"a": pa.array([], pa.string())})), LIMITS).num_rows == 0
    assert read_parquet(file_of(pa.table({"a": ["x"]})), LIMITS, ()).num_columns == 0


LONG = "x" * 100_000
BOMBS = {
    "well packed pages": (file_of, pa.table({"a": ["y" * 50_000_000]}), {}, "unpacks to more than"),
    "packed pages that the footer denies": (
        understated,
        pa.table({"a": ["y" * 50_000_000]}),
        {"compression": "zstd", "use_dictionary": False, "write_statistics": False},
        "unpacks to more than 10,000,000 bytes",
    ),
    "many rows in a run length": (
        file_of,
        pa.table({"a": np.zeros(200_000, np.int64)}),
        {},
        "it has 200,000 rows, at most 100,000 are read",
    ),
    "one long text named by many rows": (
        file_of,
        pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(5000, np.int32), [LONG])}),
        {"store_schema": False},
        "10,000,000 bytes of text",
    ),
    "the same as a column of codes": (
        file_of,
        pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(5000, np.int32), [LONG])}),
        {},
        "10,000,000 bytes of text",
    ),
    "texts that repeat the one before": (
        file_of,
        pa.table({"a": [f"{LONG[:900]}{row}" for row in range(1000)]}),
        {"column_encoding": {"a": "DELTA_BYTE_ARRAY"}, "use_dictionary": False},
        "stored as differences",
    ),
    "wide values": (
        file_of,
        pa.table({"a": pa.array([b"1" * 1000], pa.binary(1000))}),
        {},
        "holds fixed_size_binary",
    ),
    "many columns": (
        file_of,
        pa.table({f"c{number}": [1] for number in range(21)}),
        {},
        "it has 21 columns, at most 20 are read",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_of_much_is_refused_before_it_is_in_memory(name):
    make, table, options, reason = BOMBS[name]
    file = make(table, **options)
    assert len(file.getvalue()) < 3_000_000
    before = pa.total_allocated_bytes()
    pa.default_memory_pool().release_unused()
    with pytest.raises(BadTable, match=reason):
        read_parquet(file, LIMITS)
    assert pa.total_allocated_bytes() - before < 1_000_000


@pytest.mark.parametrize("seed", range(60))
def test_no_damage_to_the_bytes_ends_in_anything_but_an_error(seed):
    table = pa.table({"a": [f"text {row % 7}" for row in range(300)], "n": np.arange(300)})
    data = bytearray(file_of(table, compression=["none", "snappy", "zstd"][seed % 3]).getvalue())
    generator = np.random.default_rng(seed)
    for place in generator.integers(4, len(data) - 4, 3):
        data[place] = generator.integers(256)
    try:
        read = read_parquet(io.BytesIO(data), LIMITS)
    except (ValueError, OSError, pa.ArrowException):
        return
    assert read.num_rows <= LIMITS.rows
