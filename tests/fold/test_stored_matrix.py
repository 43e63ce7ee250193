"""A stored matrix gives the outputs of the gated one, whatever is picked around it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finegates_engine.fold.stored_matrix import (
    GatedMatrix,
    StoredMatrix,
    copy_into,
    filled_up,
    gathered,
    kept_mask,
    rounded_up,
    scattered,
    spec_of,
)
from finegates_engine.folded.layers import Matrix


def stored_layer(stored):
    matrix = Matrix(spec_of(stored)).double()
    copy_into(matrix, stored)
    return matrix


def gated_matrix(generator, rows, columns, *, bias=True, closed=0.5):
    def gate(size):
        kept = generator.random(size) >= closed
        return torch.from_numpy(generator.uniform(0.1, 1, size) * kept)

    return GatedMatrix(
        torch.from_numpy(generator.standard_normal((rows, columns))),
        torch.from_numpy(generator.standard_normal(rows)) if bias else None,
        gate(rows),
        gate(columns),
    )


def truth(matrix, x):
    """y = r * (W (c * x) + b)."""
    bias = 0 if matrix.bias is None else matrix.bias
    return matrix.rows * ((matrix.columns * x) @ matrix.weight.T + bias)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    bias=st.booleans(),
    closed=st.sampled_from([0.0, 0.5, 1.0]),
    sides=st.tuples(st.booleans(), st.booleans()),
    round_to=st.sampled_from([1, 8]),
    seed=st.integers(0, 2**32 - 1),
)
def test_picked_matrix_equals_gated_matrix(rows, columns, bias, closed, sides, round_to, seed):
    generator = np.random.default_rng(seed)
    gated = gated_matrix(generator, rows, columns, bias=bias, closed=closed)
    kept_rows, kept_columns = (np.flatnonzero(mask) for mask in gated.masks())
    stored = StoredMatrix(gated.folded(), gated.folded_bias())
    stored = gathered(stored, kept_columns if sides[0] else None, round_to)
    stored = scattered(stored, kept_rows if sides[1] else None, round_to)
    assert stored.weight.shape[0] <= rows
    assert stored.weight.shape[1] <= columns
    x = torch.from_numpy(generator.standard_normal((2, 3, columns)))
    torch.testing.assert_close(stored_layer(stored)(x), truth(gated, x), rtol=0, atol=1e-12)


def test_closed_row_takes_its_bias_along():
    gated = GatedMatrix(
        torch.ones(2, 1), torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.5]), torch.tensor([0.5])
    )
    assert gated.folded().tolist() == [[0.0], [0.25]]
    assert gated.folded_bias().tolist() == [0.0, 2.0]


def test_matrix_without_gates_or_bias_is_folded_to_itself():
    weight = torch.arange(6.0).view(2, 3)
    gated = GatedMatrix(weight, None, None, None)
    assert torch.equal(gated.folded(), weight)
    assert gated.folded_bias().tolist() == [0.0, 0.0]
    assert gated.masks() == (None, None)


def test_soft_gates_are_kept_and_only_zero_is_closed():
    assert kept_mask(torch.tensor([0.0, 1e-30, 0.5, 1.0])).tolist() == [False, True, True, True]
    assert kept_mask(None) is None


def test_gathered_columns_are_filled_with_zeros_to_a_multiple():
    stored = StoredMatrix(torch.arange(20.0).view(2, 10), None)
    made = gathered(stored, np.array([1, 4, 7]), 8)
    assert made.weight.shape == (2, 8)
    assert made.weight[0].tolist() == [1, 4, 7, 0, 0, 0, 0, 0]
    assert made.take_in.tolist() == [1, 4, 7, 0, 0, 0, 0, 0]


def test_scattered_rows_leave_one_of_zeros_for_the_closed_ones():
    stored = StoredMatrix(torch.arange(8.0).view(4, 2), torch.arange(4.0))
    made = scattered(stored, np.array([1, 3]), 1)
    assert made.weight.tolist() == [[2, 3], [6, 7], [0, 0]]
    assert made.bias.tolist() == [1, 3, 0]
    assert made.take_out.tolist() == [2, 0, 2, 1]


def test_matrix_with_no_column_left_still_is_one():
    stored = StoredMatrix(torch.zeros(2, 4), torch.tensor([1.0, 2.0]))
    made = gathered(stored, np.zeros(0, dtype=np.int64), 1)
    assert spec_of(made).take_in == 1
    x = torch.randn(1, 1, 4, dtype=torch.float64)
    assert stored_layer(made)(x).tolist() == [[[1.0, 2.0]]]


def test_sizes_of_nothing_are_zero():
    spec = spec_of(None)
    assert (spec.rows, spec.columns, spec.bias) == (0, 0, False)


def test_filling_keeps_what_is_there():
    values = torch.tensor([[1.0, 2.0]])
    assert filled_up(values, 3).tolist() == [[1, 2], [0, 0], [0, 0]]
    assert filled_up(values.bfloat16(), 2).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("value", "multiple", "expected"), [(0, 8, 0), (1, 8, 8), (8, 8, 8), (9, 8, 16), (5, 1, 5)]
)
def test_rounded_up(value, multiple, expected):
    assert rounded_up(value, multiple) == expected
