"""Arrays in the smallest form that holds them exactly, and back. No torch.

| array | stored as |
|---|---|
| vector of fp32 zeros and ones | `bits:<size>:<name>`, eight values a byte |
| uint8 matrix, such as a gate history | `deflate:<rows>x<columns>:<name>`, zlib of its bytes |
| fp32 array of fp16 values | `halves:<shape>:<name>`, as below, or where small `<name>`, fp16 |
| anything else | `<name>`, as it is |

Halves are zlib of the upper bytes of all values, which hold sign and exponent, many of them alike,
and then the lower bytes as they are, which are noise.
"""

import math
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PACKED = re.compile(r"(bits|deflate|halves):(\d{1,9}(?:x\d{1,9}){0,3}):(.+)")
_DIMENSIONS = {"bits": (1,), "deflate": (2,), "halves": (1, 2, 3, 4)}
_UNPACKED_SIZE = {"bits": 4, "deflate": 1, "halves": 4}
UNPACKED_BYTES = 2**30
"""Of all arrays together that are unpacked."""

Arrays = Mapping[str, NDArray[Any]]


def pack(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays, each in its smallest exact form; `unpack` gives them back."""
    packed = {}
    for name, values in arrays.items():
        shape = "x".join(map(str, values.shape))
        if _is_binary(values):
            packed[f"bits:{shape}:{name}"] = np.packbits(values.astype(bool))
        elif values.dtype == np.uint8 and values.ndim == 2:
            packed[f"deflate:{shape}:{name}"] = _deflated(values)
        elif not _is_half(values):
            packed[name] = values
        elif len(planes := _planes(values)) < 2 * values.size and values.ndim in range(1, 5):
            packed[f"halves:{shape}:{name}"] = planes
        else:
            packed[name] = values.astype(np.float16)
    return packed


def unpack(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """What was packed, fp16 as fp32. Raises ValueError for an array that is none of `pack`."""
    found, total = {}, 0
    for name, values in arrays.items():
        match = _PACKED.fullmatch(name)
        if match is None:
            found[name] = values.astype(np.float32) if values.dtype == np.float16 else values
            continue
        kind, shape = match[1], tuple(map(int, match[2].split("x")))
        if values.dtype != np.uint8 or values.ndim != 1 or len(shape) not in _DIMENSIONS[kind]:
            raise ValueError(f"packed array {name[:80]!r} is not a vector of bytes")
        size = math.prod(shape)
        total += size * _UNPACKED_SIZE[kind]
        if total > UNPACKED_BYTES:
            raise ValueError(f"packed array {name[:80]!r} is more than {UNPACKED_BYTES:,} bytes")
        found[match[3]] = _READ[kind](values, size, name).reshape(shape)
    return found


def _is_binary(values: NDArray[Any]) -> bool:
    if values.dtype != np.float32 or values.ndim != 1:
        return False
    return bool(((values == 0) | (values == 1)).all() and not np.signbit(values).any())


def _is_half(values: NDArray[Any]) -> bool:
    """Whether fp16 holds each of these fp32 values."""
    if values.dtype != np.float32:
        return False
    with np.errstate(over="ignore"):
        return np.array_equal(values.astype(np.float16).astype(np.float32), values)


def _deflated(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.compress(np.ascontiguousarray(values).tobytes(), 9), np.uint8)


def _planes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Upper bytes of fp16 values, deflated, before their lower bytes."""
    pairs = values.astype("<f2").reshape(-1, 1).view(np.uint8)
    return np.concatenate([_deflated(pairs[:, 1]), pairs[:, 0]])


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


def _from_planes(values: NDArray[Any], size: int, name: str) -> NDArray[np.float32]:
    upper = _inflated(values[: max(len(values) - size, 0)], size, name)
    lower = values[len(values) - size :]
    return np.stack([lower, upper], axis=1).view("<f2").ravel().astype(np.float32)


_READ: dict[str, Callable[[NDArray[Any], int, str], NDArray[Any]]] = {
    "bits": _from_bits,
    "deflate": _inflated,
    "halves": _from_planes,
}
