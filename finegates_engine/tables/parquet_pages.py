"""What the pages of a Parquet file unpack to, as the pages themselves say. No torch.

The sizes in a file's footer are not checked by anyone who reads it: 15 kB that claim to be 100
bytes can hold half a gigabyte. The header of each page is what a reader goes by, so it is read here
first (Thrift's compact protocol, https://github.com/apache/parquet-format, PageHeader).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

MOST_PAGES = 200_000
"""Pages of one file that are looked at; more are refused."""

_HEADER_BYTES = 64 * 1024
_TYPE, _UNPACKED, _PACKED = 1, 2, 3
_DATA, _DICTIONARY, _DATA_V2 = 5, 7, 8
_ENCODING_OF = {_DATA: 2, _DICTIONARY: 2, _DATA_V2: 4}
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(
    13
)
_DEPTH = 16


class BadPages(ValueError):  # noqa: N818
    """Page headers that cannot be read; the text says why."""


@dataclass(frozen=True)
class Page:
    """What one page says of itself."""

    unpacked_bytes: int
    encodings: tuple[int, ...]
    """As numbered in parquet.thrift."""


def pages_of(file: BinaryIO, chunk: Any) -> Iterator[Page]:
    """The pages of one column chunk. chunk: pyarrow's ColumnChunkMetaData.

    Raises BadPages.
    """
    if chunk.num_values <= 0:  # Arrow reads no page then
        return
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    end = start + chunk.total_compressed_size
    if start < 0 or end < start:
        raise BadPages("a column lies outside of the file")
    while start < end:
        file.seek(start)
        reader = _Compact(file.read(_HEADER_BYTES))
        header = reader.struct()
        unpacked, packed = header.get(_UNPACKED), header.get(_PACKED)
        if (
            not isinstance(unpacked, int)
            or not isinstance(packed, int)
            or min(unpacked, packed) < 0
        ):
            raise BadPages("a page does not say its size")
        nested = [header.get(part) for part in _ENCODING_OF]
        encodings = tuple(
            part[place]
            for part, place in zip(nested, _ENCODING_OF.values(), strict=True)
            if isinstance(part, dict) and isinstance(part.get(place), int)
        )
        yield Page(unpacked, encodings)
        start += reader.place + packed


class _Compact:
    """One struct in Thrift's compact protocol: numbers and structs kept, the rest passed over."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEPTH:
            raise BadPages("a page header is nested too deeply")
        fields: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) & 0x0F != _STOP:
            field = field + (head >> 4) if head >> 4 else self._signed()
            fields[field] = self._value(head & 0x0F, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in (_I16, _I32, _I64):
            return self._signed()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_BYTE, _DOUBLE, _BINARY):
            self._skip({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._unsigned())
        elif kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            for _ in range(min(count, len(self.data))):
                self._element(head & 0x0F, depth)
        else:
            raise BadPages("a page header has a field of an unknown kind")
        return None

    def _element(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):
            self._skip(1)
        else:
            self._value(kind, depth + 1)

    def _byte(self) -> int:
        self._skip(1)
        return self.data[self.place - 1]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self.data):
            raise BadPages("a page header is cut off, or too long")

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
            if shift > 63:
                raise BadPages("a number in a page header is too long")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
