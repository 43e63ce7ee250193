import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finegates_engine.tables.parquet_pages import BadPages, pages_of


def chunk_of(table, **options):
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file, pq.ParquetFile(file).metadata.row_group(0).column(0)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
def test_pages_add_up_to_what_an_honest_footer_says(version, compression):
    table = pa.table({"a": [f"row {row}" * 50 for row in range(5000)]})
    file, chunk = chunk_of(
        table,
        compression=compression,
        data_page_version=version,
        data_page_size=8192,
        use_dictionary=False,
    )
    pages = list(pages_of(file, chunk))
    assert len(pages) > 4
    unpacked = sum(page.unpacked_bytes for page in pages)
    # The footer counts page headers too, some 30 to 400 bytes each, with their statistics.
    assert unpacked <= chunk.total_uncompressed_size <= unpacked + 1000 * len(pages)
    assert {code for page in pages for code in page.encodings} <= {0, 3}


def test_the_page_of_a_dictionary_is_counted_too():
    file, chunk = chunk_of(pa.table({"a": ["x" * 1000] * 100}))
    first, second = pages_of(file, chunk)
    assert first.unpacked_bytes == 1004
    assert second.unpacked_bytes < 30
    assert second.encodings == (8,)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\x15",
        b"\x00",
        b"\x15\x00\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x15\x00\x00",
        b"\x1c" * 100,
        b"\x15\x00\x15\x01\x15\x00\x00",  # a size of -1
        b"\x1e\x00",
        b"\x18\xff\xff\xff\xff\x0f",
    ],
)
def test_a_header_that_is_none_is_said_so(header):
    _, chunk = chunk_of(pa.table({"a": [1]}), use_dictionary=False)
    with pytest.raises(BadPages, match=r"page|column"):
        list(pages_of(io.BytesIO(b"PAR1" + header), chunk))
