"""Single matrices: what is removed is really gone, and zeros in place save nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finegates_engine.errors import UserError
from finegates_engine.timing import matmul
from finegates_engine.timing.benchmark import RaceLimits
from finegates_engine.timing.matmul import (
    FORMS,
    ROUND_TO,
    kept_widths,
    matmul_curve,
    matmul_point,
    parse_size,
)

QUICK = RaceLimits(min_rounds=8, max_rounds=8, block_seconds=0.0)


@given(st.integers(1, 4096), st.floats(0, 0.99))
def test_widths_are_the_kept_share_and_rounding_only_adds(size: int, rate: float) -> None:
    kept, rounded = kept_widths(size, rate)
    assert abs(kept - size * (1 - rate)) <= 1
    assert kept <= rounded <= min(size, kept + ROUND_TO - 1)
    assert rounded % ROUND_TO == 0 or rounded == size


def test_widths_by_hand() -> None:
    assert kept_widths(384, 0.1) == (346, 352)
    assert kept_widths(384, 0.0) == (384, 384)
    assert kept_widths(10, 0.99) == (1, 10)


def test_forms_multiply_matrices_of_their_widths() -> None:
    point = matmul_point((64, 48), 0.3, tokens=4, limits=QUICK)
    assert point is not None
    assert point.widths == {"removed": (45, 34), "rounded": (48, 48), "zeros": (64, 48)}
    assert point.ideal == pytest.approx(1 / 0.49)
    assert set(point.speedup) == set(FORMS)
    assert set(point.latency) == {"dense", *FORMS}


def test_pruned_product_is_that_of_the_kept_rows_and_columns() -> None:
    weight = torch.arange(12.0).reshape(4, 3)
    inputs = torch.ones(2, 3)
    found = matmul._product(inputs, weight, (2, 2))()
    assert found.tolist() == [[1.0, 7.0]] * 2


def test_stopped_point_is_none_and_ends_the_curve() -> None:
    assert matmul_point((16, 16), 0.5, limits=QUICK, stop=lambda: True) is None
    assert matmul_curve([(16, 16)], [0.5, 0.6], stop=lambda: True) == []


@pytest.mark.slow
def test_half_removed_is_faster_and_zeros_in_place_are_not() -> None:
    (point,) = matmul_curve([(1536, 384)], [0.5], budget_seconds=5)
    assert 2 < point.speedup["removed"].value < 6
    assert 0.9 < point.speedup["zeros"].value < 1.1


@pytest.mark.parametrize(
    "text", ["384", "3x4x5", "0x4", "axb", "-1x4", "99999x1", "x", "1e3x4", "²x2"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="rows x columns"):
        parse_size(text)


def test_sizes_and_rates_are_checked() -> None:
    assert parse_size("1536X384") == (1536, 384)
    with pytest.raises(UserError, match=r"\[0, 1\), got 1"):
        matmul_point((16, 16), 1.0)
