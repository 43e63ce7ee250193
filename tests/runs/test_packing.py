"""Arrays in their smallest exact form, and back."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finegates_engine.runs.packing import pack, unpack

HALF = np.float16(0.1)


def test_binary_gates_take_a_bit_each():
    packed = pack({"gate_values.0/ffn": np.array([0, 1, 1] * 6, np.float32)})
    assert {name: value.nbytes for name, value in packed.items()} == {
        "bits:18:gate_values.0/ffn": 3
    }


def test_soft_gates_keep_every_digit():
    values = {"gate_values.0/ffn": np.array([0, 1, 0.1], np.float32)}
    assert pack(values)["gate_values.0/ffn"].dtype == np.float32
    np.testing.assert_array_equal(
        unpack(pack(values))["gate_values.0/ffn"], [0, 1, np.float32(0.1)]
    )


def test_values_of_fp16_are_stored_so_and_read_as_fp32():
    values = np.full((2, 3), HALF, np.float32)
    packed = pack({"head.weight": values})
    assert packed["head.weight"].dtype == np.float16
    found = unpack(packed)["head.weight"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_trained_values_take_less_than_two_bytes_each():
    values = np.random.default_rng(0).normal(0, 0.02, (8, 384)).astype(np.float16)
    (packed,) = pack({"low_rank.0.query.down": values.astype(np.float32)}).items()
    assert packed[0] == "halves:8x384:low_rank.0.query.down"
    assert packed[1].nbytes < 0.9 * values.nbytes
    assert unpack(dict([packed]))["low_rank.0.query.down"].tobytes() == (
        values.astype(np.float32).tobytes()
    )


def test_a_history_that_repeats_itself_is_small():
    frames = np.full((32, 1536), 255, np.uint8)
    assert sum(value.nbytes for value in pack({"frames.0/ffn": frames}).values()) < 200


floats = st.sampled_from([0.0, -0.0, 1.0, 0.1, float(HALF), 1e-9, 1e9, 70000.0, float("inf")]).map(
    np.float32
)
halves = st.floats(-1, 1, width=16).map(np.float32)


@given(
    st.one_of(
        arrays(np.float32, st.integers(0, 20), elements=floats),
        arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(0, 4)), elements=floats),
        arrays(np.float32, st.sampled_from([(20, 2), (40,), (3, 3, 5)]), elements=halves),
        arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 9))),
        arrays(np.int64, 3),
    )
)
def test_unpacking_gives_back_every_bit(values):
    found = unpack(pack({"a:b/c": values}))
    assert list(found) == ["a:b/c"]
    assert found["a:b/c"].dtype == values.dtype
    assert found["a:b/c"].shape == values.shape
    assert found["a:b/c"].tobytes() == values.tobytes()


BOMB = np.frombuffer(zlib.compress(bytes(10**7)), np.uint8)
BAD = {
    "too many bits": ("bits:8:x", np.zeros(2, np.uint8), "has 2 bytes"),
    "not bytes": ("bits:8:x", np.zeros(1, np.float32), "is not a vector of bytes"),
    "no shape": ("deflate:8:x", np.zeros(1, np.uint8), "is not a vector of bytes"),
    "not deflated": ("deflate:2x2:x", np.zeros(9, np.uint8), "cannot be unpacked"),
    "more than it says": ("deflate:2x2:x", BOMB, "does not hold 4 bytes"),
    "less than it says": ("deflate:2x2:x", BOMB[:8], "does not hold 4 bytes"),
    "a plane too many": ("deflate:2x2x2:x", BOMB, "is not a vector of bytes"),
    "upper bytes cut": ("halves:4:x", np.zeros(3, np.uint8), "does not hold 4 bytes"),
    "upper bytes of more": ("halves:4:x", BOMB, "does not hold 4 bytes"),
    "halves too large": ("halves:9999x9999x9999:x", BOMB, "is more than"),
    "too large": ("deflate:99999x99999:x", BOMB, "is more than"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_was_not_packed_so_is_refused(case):
    name, values, text = BAD[case]
    with pytest.raises(ValueError, match=text):
        unpack({name: values})
