"""Parquet files that others wrote, read in bounded memory. No torch.

A few kB of Parquet can unpack to gigabytes in three ways, and each is counted before it is done:
pages that are packed well (`parquet_pages`), many rows in a run length, and many rows that name one
long text of a dictionary.
"""

from collections.abc import Container, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finegates_engine.tables.limits import BadTable, TableLimits
from finegates_engine.tables.parquet_pages import MOST_PAGES, BadPages, pages_of

_BATCH_ROWS = 65_536
_WIDEST = 64  # bytes of a value of fixed width
_PREFIXED = 7  # DELTA_BYTE_ARRAY: each text may repeat all of the one before
_THRIFT_ITEMS, _THRIFT_BYTES = 20_000, 64 * 2**20


def read_parquet(
    file: BinaryIO, limits: TableLimits, wanted: Container[str] | None = None
) -> pa.Table:
    """The wanted columns of a Parquet file, in its order; None: all of them.

    Columns hold numbers, times or text, flat. Raises BadTable, or an error of Arrow.
    """
    try:
        opened = pq.ParquetFile(
            file,
            thrift_string_size_limit=_THRIFT_BYTES,
            thrift_container_size_limit=_THRIFT_ITEMS,
        )
        schema, metadata = opened.schema_arrow, opened.metadata
        names = _checked(schema, metadata, limits, wanted)
        _check_pages(file, metadata, names, limits)
    except BadPages as error:
        raise BadTable(str(error)) from error
    texts = [name for name in names if _is_text(schema.field(name).type)]
    opened = pq.ParquetFile(
        file,
        metadata=metadata,
        read_dictionary=texts,
        thrift_string_size_limit=_THRIFT_BYTES,
        thrift_container_size_limit=_THRIFT_ITEMS,
    )
    kept = pa.schema([schema.field(name) for name in names], schema.metadata)
    if not names:
        return pa.table({}, schema=kept)
    return pa.Table.from_batches(_batches(opened, kept, texts, limits), schema=kept)


def _checked(
    schema: Any, metadata: Any, limits: TableLimits, wanted: Container[str] | None
) -> list[str]:
    """Names of the columns to read."""
    limits.check(rows=metadata.num_rows, columns=metadata.num_columns)
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    if min(groups, default=0) < 0 or sum(groups) != metadata.num_rows:
        raise BadTable("its groups of rows do not add up to its rows")
    names = [name for name in schema.names if wanted is None or name in wanted]
    for name in names:
        if schema.names.count(name) > 1:
            raise BadTable(f"it has two columns named {name[:80]!r}")
        if not _is_flat(schema.field(name).type):
            kind = str(schema.field(name).type)[:80]
            raise BadTable(f"its column {name[:80]!r} holds {kind}, not text and no labels")
    return names


def _check_pages(file: BinaryIO, metadata: Any, names: list[str], limits: TableLimits) -> None:
    chosen = set(names)
    unpacked = pages = 0
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            if chunk.path_in_schema not in chosen:
                continue
            for page in pages_of(file, chunk):
                pages, unpacked = pages + 1, unpacked + page.unpacked_bytes
                if unpacked > limits.unpacked_bytes:
                    raise BadTable(
                        f"it unpacks to more than {limits.unpacked_bytes:,} bytes, which is the "
                        "most that is read"
                    )
                if pages > MOST_PAGES:
                    raise BadTable(f"it has more than {MOST_PAGES:,} pages")
                if _PREFIXED in page.encodings:
                    raise BadTable("its text is stored as differences (DELTA_BYTE_ARRAY)")
    file.seek(0)


def _batches(
    opened: Any, kept: Any, texts: list[str], limits: TableLimits
) -> Iterator[pa.RecordBatch]:
    """Batches of rows; texts come as codes, and are written out once their length is known."""
    rows = text_bytes = 0
    for batch in opened.iter_batches(_BATCH_ROWS, columns=kept.names, use_threads=False):
        codes = {name: batch.column(name) for name in texts}
        if not all(pa.types.is_dictionary(column.type) for column in codes.values()):
            raise BadTable("its text cannot be read as codes")
        rows += batch.num_rows
        text_bytes += sum(_length(column) for column in batch.columns)
        if rows > limits.rows or text_bytes > limits.unpacked_bytes:
            raise BadTable(
                f"it has more than {limits.rows:,} rows or {limits.unpacked_bytes:,} bytes of "
                "text, which is the most that is read"
            )
        columns = [
            codes[field.name].dictionary_decode().cast(field.type)
            if field.name in codes
            else batch.column(field.name)
            for field in kept
        ]
        yield pa.record_batch(columns, schema=pa.schema(list(kept)))


def _length(column: Any) -> int:
    """Bytes of all texts of a column of codes once they are written out; 0 for another."""
    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return 0
    each = pc.fill_null(pc.binary_length(column.dictionary), 0)
    if not len(each):
        return 0
    counts = pc.value_counts(column.indices.drop_null())
    used = pc.cast(each.take(counts.field("values")), pa.int64())
    return pc.sum(pc.multiply(used, counts.field("counts"))).as_py() or 0


def _is_text(kind: Any) -> bool:
    checks = ("string", "large_string", "binary", "large_binary", "string_view", "binary_view")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in checks)


def _is_flat(kind: Any) -> bool:
    """Numbers, times, text or nothing, and codes of these."""
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_nested(kind):
        return False
    if pa.types.is_dictionary(kind):
        return _is_flat(kind.value_type)
    return _is_text(kind) or pa.types.is_null(kind) or kind.bit_width <= 8 * _WIDEST
