"""A folded block equals its gated block, computed head by head from the definition."""

import dataclasses

import numpy as np
import pytest
from gated_blocks import (
    ACT,
    AT_ZERO,
    LARGEST,
    SIDES,
    block_of,
    closed,
    folded_case,
    gate_values,
    largest_difference,
    padding,
    random_matrices,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finegates_engine.fold.block import CANONICAL, DEFAULT, ROUND_TO, FoldOptions, fold_block
from finegates_engine.fold.dimensions import folded_weights, folded_widths


@st.composite
def options(draw):
    return FoldOptions(
        round_to=draw(st.sampled_from(ROUND_TO)),
        heads=draw(st.sampled_from(["auto", "padded", "spread"])),
        residual=draw(st.sampled_from(["auto", "zeros", "gather"])),
    )


@dataclasses.dataclass(frozen=True)
class Case:
    """One block, drawn: its sizes, and how each side of each matrix is gated."""

    heads: tuple[int, int]
    size: int
    hidden: int
    ffn: int
    activation: str
    kind: dict[str, object]
    patterns: dict[tuple[str, str], tuple[str, bool]]
    biases: bool
    seed: int

    def built(self):
        """(shape, kind, matrices)."""
        sizes = {"size": self.size, "hidden": self.hidden, "ffn": self.ffn}
        shape, kind = block_of(*self.heads, **sizes, activation=self.activation, **self.kind)
        generator, gates = np.random.default_rng(self.seed), {}
        for role, lengths in shape.matrices().items():
            for side, length in zip(("rows", "columns"), lengths, strict=True):
                pattern, halved = self.patterns[role, side]
                unit = max(1, self.size // 2 if halved else self.size)
                if pattern != "none":
                    gates[role, side] = gate_values(pattern, length, unit, generator)
        return shape, kind, random_matrices(shape, generator, gates=gates, biases=self.biases)


ROLES = ("query", "key", "value", "attention_output", "ffn_in", "ffn_up", "ffn_out")


@st.composite
def cases(draw):
    rotary, patterns = draw(st.booleans()), draw(st.sampled_from([SIDES, ("binary", "none")]))
    side = st.tuples(st.sampled_from(patterns), st.booleans())
    return Case(
        heads=draw(st.sampled_from([(1, 1), (2, 2), (3, 3), (4, 2), (4, 1), (2, 1)])),
        size=2 * draw(st.integers(1, 6)) if rotary else draw(st.integers(1, 12)),
        hidden=draw(st.integers(2, 12)),
        ffn=draw(st.sampled_from([1, 5, 20, 35])),
        activation=draw(st.sampled_from(sorted(ACT))),
        kind={
            "rotary_base": 100.0 if rotary else 0.0,
            "norm": draw(st.sampled_from(["layer", "rms"])),
            "pre_norm": draw(st.booleans()),
            "causal": draw(st.booleans()),
            "gated": draw(st.booleans()),
        },
        patterns={(role, name): draw(side) for role in ROLES for name in ("rows", "columns")},
        biases=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    case=cases(),
    layout=options(),
    lengths=st.sampled_from([None, (5, 5, 5), (5, 3, 1), (4, 2, 2)]),
    left=st.booleans(),
)
def test_folded_block_equals_gated_block(case, layout, lengths, left):
    mask = None if lengths is None else padding(lengths, left=left)
    assert largest_difference(*case.built(), layout, mask=mask) <= LARGEST


def inner_rows(widths):
    return sum(sum(part) for part in (widths.query, widths.key, widths.value))


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_canonical_form_stores_what_the_ladder_counts(case):
    shape, kind, matrices = case.built()
    (widths,) = folded_widths(shape, [{role: m.masks() for role, m in matrices.items()}])
    spec = fold_block(shape, kind, matrices, CANONICAL).spec
    assert spec.heads == sum(width > 0 for width in widths.context)
    assert spec.attention_output.columns == sum(widths.context)
    assert (spec.ffn, spec.ffn_out.columns) == (widths.ffn, widths.ffn)
    # A row of zeros stands for the dimensions that a head narrower than attention does not have.
    filled = inner_rows(widths) < spec.width * (spec.heads + 2 * spec.key_value_heads)
    assert spec.qkv.rows == inner_rows(widths) + filled
    stored = sum(
        part.rows * part.columns
        for part in (spec.qkv, spec.attention_output, spec.ffn_in, spec.ffn_out)
    )
    assert stored == folded_weights(shape, [widths]) + filled * shape.hidden


@settings(max_examples=60, deadline=None)
@given(case=cases(), layout=options())
def test_no_layout_stores_more_than_the_dense_block(case, layout):
    shape, kind, matrices = case.built()
    spec = fold_block(shape, kind, matrices, layout).spec
    assert spec.width <= shape.head_size
    assert spec.qkv.rows <= spec.width * (spec.heads + 2 * spec.key_value_heads)
    assert spec.attention_output.columns <= spec.width * spec.heads
    assert spec.ffn <= shape.ffn
    assert max(spec.qkv.columns, spec.ffn_in.columns) <= shape.hidden
    assert max(spec.attention_output.rows, spec.ffn_out.rows) <= shape.hidden


# Each rule of DESIGN section 4 by itself: what goes, and that the outputs stay.


@pytest.mark.parametrize("role", ["query", "key"])
def test_dimension_closed_in_query_or_key_goes_from_both(role):
    shape, kind = block_of(2, size=8)
    spec = folded_case(shape, kind, {(role, "rows"): closed(16, 3, 9)})
    assert spec.qkv.rows == 3 * 16 - 4 + 1  # and a row of zeros in their place


@pytest.mark.parametrize("place", [("value", "rows"), ("attention_output", "columns")])
def test_dimension_closed_in_value_or_output_goes_from_both(place):
    shape, kind = block_of(2, size=8)
    spec = folded_case(shape, kind, {place: closed(16, 3, 9)})
    assert spec.qkv.rows == 3 * 16 - 2 + 1
    assert spec.attention_output.columns == 14


@pytest.mark.parametrize("place", [("value", "rows"), ("attention_output", "columns")])
def test_head_without_values_goes_with_its_query_and_key(place):
    shape, kind = block_of(2, size=8)
    spec = folded_case(shape, kind, {place: closed(16, *range(8))})
    assert (spec.heads, spec.qkv.rows, spec.attention_output.columns) == (1, 24, 8)


@pytest.mark.parametrize("role", ["query", "key"])
def test_head_without_query_and_key_stays_and_averages(role):
    shape, kind = block_of(2, size=8)
    spec = folded_case(shape, kind, {(role, "rows"): closed(16, *range(8))})
    assert (spec.heads, spec.qkv.rows) == (2, 8 + 8 + 16 + 1)


@pytest.mark.parametrize("options", [CANONICAL, FoldOptions(round_to=1, residual="gather")])
def test_attention_without_values_adds_its_output_bias(options):
    shape, kind = block_of(2)
    outputs = closed(6, 1, 3, value=0.5)
    gates = {("value", "rows"): np.zeros(8), ("attention_output", "rows"): outputs}
    spec = folded_case(shape, kind, gates, options=options)
    assert (spec.heads, spec.qkv.rows, spec.attention_output.columns) == (0, 0, 0)


@pytest.mark.parametrize("size", [2, 12])
def test_scores_keep_the_scale_of_the_dense_head(size):
    shape, kind = block_of(2, size=size)
    folded_case(shape, kind, {("query", "rows"): closed(2 * size, *range(1, size), value=0.5)})


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("activation", sorted(ACT))
@pytest.mark.parametrize("soft", [1.0, 0.4])
def test_dimension_closed_in_ffn_in_goes_unless_it_is_no_constant(activation, gated, soft):
    shape, kind = block_of(activation=activation, gated=gated)
    gates = {
        ("ffn_in", "rows"): closed(5, 1, 4, value=soft),
        ("ffn_out", "columns"): closed(5, 2, value=soft),
        ("ffn_out", "rows"): closed(6, 0, value=soft),
    }
    spec = folded_case(shape, kind, gates)
    assert spec.ffn == (4 if gated and activation in AT_ZERO else 2)


def test_dimension_closed_in_ffn_up_goes():
    shape, kind = block_of(activation="sigmoid", gated=True)
    assert folded_case(shape, kind, {("ffn_up", "rows"): closed(5, 1, 4)}).ffn == 3


@pytest.mark.parametrize("activation", sorted(ACT))
@pytest.mark.parametrize("place", [("ffn_in", "rows"), ("ffn_out", "columns")])
@pytest.mark.parametrize("residual", ["zeros", "gather"])
def test_ffn_without_inner_dimensions_adds_its_bias(activation, place, residual):
    shape, kind = block_of(activation=activation)
    gates = {place: np.zeros(5), ("ffn_out", "rows"): closed(6, 2, value=0.3)}
    options = FoldOptions(round_to=1, residual=residual)
    assert folded_case(shape, kind, gates, options=options).ffn == 0


@pytest.mark.parametrize("options", [DEFAULT, CANONICAL, FoldOptions(round_to=1)])
def test_everything_closed_leaves_the_residual_stream(options):
    shape, kind = block_of(4, 2, gated=True)
    gates = {
        (role, side): np.zeros(size)
        for role, sizes in shape.matrices().items()
        for side, size in zip(("rows", "columns"), sizes, strict=True)
    }
    spec = folded_case(shape, kind, gates, options=options)
    assert (spec.heads, spec.ffn) == (0, 0)


@pytest.mark.parametrize("role", ["query", "key"])
@pytest.mark.parametrize(("dimensions", "pairs"), [((1, 5), 3), ((1,), 4), ((0, 5), 4)])
def test_rotated_pair_goes_when_both_members_are_closed_on_one_side(role, dimensions, pairs):
    shape, kind = block_of(1, size=8, rotary_base=100.0, causal=True)
    spec = folded_case(shape, kind, {(role, "rows"): closed(8, *dimensions)})
    assert spec.qkv.rows == 2 * 2 * pairs + 8 + (pairs < 4)


def test_rotated_pair_closed_half_in_query_and_half_in_key_stays():
    shape, kind = block_of(1, size=8, rotary_base=100.0)
    gates = {("query", "rows"): closed(8, 1), ("key", "rows"): closed(8, 5)}
    assert folded_case(shape, kind, gates).qkv.rows == 24


@pytest.mark.parametrize("rotary", [0.0, 100.0])
def test_key_dimension_goes_when_every_query_head_of_the_group_closed_it(rotary):
    shape, kind = block_of(4, 2, size=8, rotary_base=rotary)
    one, other = (3, 7), (8 + 3, 8 + 7)
    dense = 8 * (4 + 2 + 2)
    rows = closed(32, *one)
    assert folded_case(shape, kind, {("query", "rows"): rows}).qkv.rows == dense
    rows = closed(32, *one, *other)
    assert folded_case(shape, kind, {("query", "rows"): rows}).qkv.rows == dense - 3 * 2 + 1


def test_query_head_without_outputs_goes_alone_and_its_group_with_all_of_them():
    shape, kind = block_of(4, 2, size=8)
    one = folded_case(shape, kind, {("attention_output", "columns"): closed(32, *range(8))})
    assert (one.heads, one.key_value_heads, one.qkv.rows) == (3, 2, 24 + 16 + 16)
    both = folded_case(shape, kind, {("attention_output", "columns"): closed(32, *range(16))})
    assert (both.heads, both.key_value_heads, both.qkv.rows) == (2, 1, 16 + 8 + 8)


def test_value_dimension_goes_when_closed_for_all_heads_of_the_group():
    shape, kind = block_of(4, 2, size=8)
    place = ("attention_output", "columns")
    one = folded_case(shape, kind, {place: closed(32, 2)})
    assert (one.qkv.rows, one.attention_output.columns) == (64, 32)
    both = folded_case(shape, kind, {place: closed(32, 2, 8 + 2)})
    assert (both.qkv.rows, both.attention_output.columns) == (64 - 1 + 1, 30)
