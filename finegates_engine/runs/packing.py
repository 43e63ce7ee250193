"""Arrays in the smallest form that holds them exactly, and back. No torch.

| array | stored as |
|---|---|
| vector of fp32 zeros and ones | `bits:<size>:<name>`, eight values a byte |
| uint8 matrix, such as a gate history | `deflate:<rows>x<columns>:<name>`, zlib of its bytes |
| fp32 array, each value of which is an fp16 value | `<name>`, fp16 |
| anything else | `<name>`, as it is |
"""

import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PACKED = re.compile(r"(bits|deflate):(\d{1,9})(?:x(\d{1,9}))?:(.+)")
UNPACKED_BYTES = 2**30
"""Of all arrays together that are unpacked."""

Arrays = Mapping[str, NDArray[Any]]


def pack(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays, each in its smallest exact form; `unpack` gives them back."""
    packed = {}
    for name, values in arrays.items():
        if _is_binary(values):
            packed[f"bits:{values.size}:{name}"] = np.packbits(values.astype(bool))
        elif values.dtype == np.uint8 and values.ndim == 2:
            data = zlib.compress(np.ascontiguousarray(values).tobytes(), 9)
            rows, columns = values.shape
            packed[f"deflate:{rows}x{columns}:{name}"] = np.frombuffer(data, np.uint8)
        else:
            packed[name] = _halved(values)
    return packed


def unpack(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """What was packed, fp16 as fp32. Raises ValueError for an array that is none of `pack`."""
    found, total = {}, 0
    for name, values in arrays.items():
        match = _PACKED.fullmatch(name)
        if match is None:
            found[name] = values.astype(np.float32) if values.dtype == np.float16 else values
            continue
        kind, rows, columns, plain = match[1], int(match[2]), match[3], match[4]
        if values.dtype != np.uint8 or values.ndim != 1 or (columns is None) != (kind == "bits"):
            raise ValueError(f"packed array {name[:80]!r} is not a vector of bytes")
        size = rows * int(columns or 1)
        total += size * (4 if kind == "bits" else 1)
        if total > UNPACKED_BYTES:
            raise ValueError(f"packed array {name[:80]!r} is more than {UNPACKED_BYTES:,} bytes")
        if kind == "bits":
            found[plain] = _from_bits(values, size, name)
        else:
            found[plain] = _inflated(values, size, name).reshape(rows, int(columns))
    return found


def _is_binary(values: NDArray[Any]) -> bool:
    if values.dtype != np.float32 or values.ndim != 1:
        return False
    return bool(((values == 0) | (values == 1)).all() and not np.signbit(values).any())


def _halved(values: NDArray[Any]) -> NDArray[Any]:
    """As fp16 where nothing is lost, else unchanged."""
    if values.dtype != np.float32:
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else values


def _from_bits(values: NDArray[Any], size: int, name: str) -> NDArray[np.float32]:
    if len(values) != -(-size // 8):
        raise ValueError(f"packed array {name[:80]!r} has {len(values):,} bytes")
    return np.unpackbits(values, count=size).astype(np.float32)


def _inflated(values: NDArray[Any], size: int, name: str) -> NDArray[np.uint8]:
    """At most `size` bytes are ever made, whatever the data say."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(values.tobytes(), size + 1)  # a limit of 0 would be none
    except zlib.error as error:
        raise ValueError(f"packed array {name[:80]!r} cannot be unpacked ({error})") from error
    if len(data) != size or not stream.eof:
        raise ValueError(f"packed array {name[:80]!r} does not hold {size:,} bytes")
    return np.frombuffer(data, np.uint8).copy()
