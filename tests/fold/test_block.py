"""A folded block equals its gated block, computed head by head from the definition."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_block import FFN, HIDDEN, SIZE, GatedLlama

from finegates_engine.errors import UserError
from finegates_engine.fold.block import CANONICAL, DEFAULT, ROUND_TO, FoldOptions, fold_block
from finegates_engine.fold.dimensions import EncoderShape, folded_weights, folded_widths
from finegates_engine.fold.stored_matrix import GatedMatrix
from finegates_engine.folded.layers import BlockKind

LARGEST = 1e-10  # DESIGN section 4, fp64
AT_ZERO = {"sigmoid": 0.5}
ACT = {
    "relu": lambda x: x.clamp(min=0),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
}


# The truth: gates as they are defined, one head and one sum after the other.


def gated(matrix, x):
    """y = r * (W (c * x) + b)."""
    inner = x if matrix.columns is None else matrix.columns * x
    y = inner @ matrix.weight.T
    y = y if matrix.bias is None else y + matrix.bias
    return y if matrix.rows is None else matrix.rows * y


def rotated(x, base):
    """x: (batch, tokens, size); pair (j, j + size / 2) turns by token * base^(-2 j / size)."""
    size = x.shape[-1]
    rates = 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.float32) / size))
    angle = torch.arange(x.shape[1], dtype=torch.float32)[:, None] * rates  # fp32: transformers
    cos, sin = angle.cos().double(), angle.sin().double()
    first, second = x[..., : size // 2], x[..., size // 2 :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def gated_attention(shape, kind, matrices, x, seen):
    """seen: (batch, tokens, tokens), True where the first token sees the second."""
    query, key, value = (gated(matrices[role], x) for role in ("query", "key", "value"))
    size, group, contexts = shape.head_size, shape.heads // shape.key_value_heads, []
    for head in range(shape.heads):
        q = query[..., head * size : (head + 1) * size]
        shared = slice(head // group * size, (head // group + 1) * size)
        k, v = key[..., shared], value[..., shared]
        if kind.rotary_base:
            q, k = rotated(q, kind.rotary_base), rotated(k, kind.rotary_base)
        scores = q @ k.transpose(1, 2) / math.sqrt(size)
        weights = torch.exp(scores) * seen
        contexts.append(weights @ v / weights.sum(-1, keepdim=True))
    return gated(matrices["attention_output"], torch.cat(contexts, -1))


def gated_ffn(kind, matrices, x):
    inner = ACT[kind.activation](gated(matrices["ffn_in"], x))
    if kind.gated:
        inner = inner * gated(matrices["ffn_up"], x)
    return gated(matrices["ffn_out"], inner)


def normalised(norm, kind, x):
    if kind.norm == "rms":
        return x / (x.square().mean(-1, keepdim=True) + kind.norm_eps).sqrt() * norm.weight
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + kind.norm_eps).sqrt()
    return scaled * norm.weight + norm.bias


def gated_block(shape, kind, matrices, norms, x, seen):
    first, second = norms
    if kind.pre_norm:
        x = x + gated_attention(shape, kind, matrices, normalised(first, kind, x), seen)
        return x + gated_ffn(kind, matrices, normalised(second, kind, x))
    x = normalised(first, kind, x + gated_attention(shape, kind, matrices, x, seen))
    return normalised(second, kind, x + gated_ffn(kind, matrices, x))


# Blocks to fold.


def block_of(heads=2, shared=None, *, size=4, hidden=6, ffn=5, activation="gelu", **kind):
    """(shape, kind) of a small block."""
    block = BlockKind(hidden=hidden, activation=activation, head_size=size, norm_eps=1e-5, **kind)
    shape = EncoderShape(
        layers=1,
        hidden=hidden,
        heads=heads,
        key_value_heads=shared or heads,
        head_size=size,
        ffn=ffn,
        ffn_matrices=3 if block.gated else 2,
        model_parameters=1,
        act_at_zero_is_zero=activation not in AT_ZERO,
        rotary=bool(block.rotary_base),
    )
    return shape, block


def random_matrices(shape, generator, *, gates=None, biases=True):
    """gates: (role, "rows" or "columns") -> values."""
    gates = {
        place: torch.as_tensor(value, dtype=torch.float64) for place, value in (gates or {}).items()
    }
    matrices = {}
    for role, (rows, columns) in shape.matrices().items():
        weight = 1.5 * generator.standard_normal((rows, columns)) / math.sqrt(columns)
        matrices[role] = GatedMatrix(
            torch.from_numpy(weight),
            torch.from_numpy(generator.standard_normal(rows)) if biases else None,
            gates.get((role, "rows")),
            gates.get((role, "columns")),
        )
    return matrices


def largest_difference(shape, kind, matrices, options, *, seed=0, mask=None, tokens=5):
    """Of the folded and the gated block on random rows, over tokens that are seen."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, tokens, shape.hidden, generator=generator, dtype=torch.float64)
    block = fold_block(shape, kind, matrices, options, dtype=torch.float64)
    norms = (block.attention_norm, block.ffn_norm)
    for norm in norms:
        for parameter in norm.parameters():
            parameter.data.add_(torch.randn(parameter.shape, generator=generator).double() / 3)
    seen = torch.ones(3, tokens, tokens, dtype=torch.bool)
    seen = seen if mask is None else seen & mask[:, None, :]
    seen = seen.tril() if kind.causal else seen
    with torch.no_grad():
        expected = gated_block(shape, kind, matrices, norms, x, seen)
        folded = block(x, None if mask is None else mask[:, None, None, :])
    compared = seen.any(-1)
    assert torch.isfinite(folded).all()
    return float((folded - expected)[compared].abs().max())


def padding(lengths, *, tokens=5, left=False):
    steps = torch.arange(tokens)
    lengths = torch.tensor(lengths)[:, None]
    return steps >= tokens - lengths if left else steps < lengths


SIDES = ("open", "none", "closed", "soft", "binary", "mixed", "one_left", "one_closed", "blocks")


def gate_values(kind, size, unit, generator):
    """(size,) values of one side of a matrix; `unit` dimensions belong to a head (or half one)."""
    soft = generator.uniform(0.05, 0.95, size)
    kept = generator.random(size) < generator.choice([0.2, 0.5, 0.8])
    single = np.arange(size) == generator.integers(size)
    heads = np.repeat(generator.random(math.ceil(size / unit)) < 0.5, unit)[:size]
    values = {
        "open": np.ones(size),
        "closed": np.zeros(size),
        "soft": soft,
        "binary": 1.0 * kept,
        "mixed": soft * kept,
        "one_left": soft * single,
        "one_closed": 1.0 * ~single,
        "blocks": 1.0 * heads,
    }
    return values[kind]


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


def folded_case(shape, kind, gates, *, options=CANONICAL, lengths=(5, 3, 1)):
    """The spec of a block with these gates, after a check of its outputs."""
    matrices = random_matrices(shape, np.random.default_rng(1), gates=gates)
    mask = padding(lengths)
    assert largest_difference(shape, kind, matrices, options, mask=mask) <= LARGEST
    assert largest_difference(shape, kind, matrices, options) <= LARGEST
    return fold_block(shape, kind, matrices, options).spec


def closed(size, *dimensions, value=1.0):
    gate = np.full(size, value)
    gate[list(dimensions)] = 0
    return gate


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


@pytest.mark.parametrize("removed", [0, 8])
def test_heads_that_fill_their_width_are_not_spread(removed):
    shape, kind = block_of(2, size=24)
    gone = [*range(removed), *range(24, 24 + removed)]
    gates = {(role, "rows"): closed(48, *gone) for role in ("query", "value")}
    spec = folded_case(shape, kind, gates)
    assert (spec.width, spec.qkv.rows) == (24 - removed, 6 * (24 - removed))
    assert (spec.qkv.take_out, spec.attention_output.take_in) == (0, 0)


@pytest.mark.parametrize("round_to", ROUND_TO)
def test_ffn_width_is_filled_up_to_a_multiple(round_to):
    shape, kind = block_of(ffn=40)
    options = FoldOptions(round_to=round_to)
    gates = {("ffn_in", "rows"): closed(40, *range(21))}
    expected = {1: 19, 8: 24, 16: 32, 32: 32}[round_to]
    assert folded_case(shape, kind, gates, options=options).ffn == expected


@pytest.mark.parametrize("heads", ["padded", "spread"])
@pytest.mark.parametrize("narrow", [(), (1,)])
def test_residual_dimensions_are_gathered_and_scattered_where_asked(heads, narrow):
    shape, kind = block_of(ffn=8, hidden=16)
    inputs, outputs = closed(16, 0, 3, 4), closed(16, 1, 2)
    gates = {(role, "columns"): inputs for role in ("query", "key", "value", "ffn_in")}
    gates |= {(role, "rows"): outputs for role in ("attention_output", "ffn_out")}
    gates["value", "rows"] = closed(8, *narrow)
    options = FoldOptions(round_to=1, heads=heads, residual="zeros")
    dense = folded_case(shape, kind, gates, options=options)
    assert (dense.qkv.take_in, dense.ffn_out.take_out) == (0, 0)
    thin = folded_case(shape, kind, gates, options=dataclasses.replace(options, residual="gather"))
    assert (thin.qkv.columns, thin.ffn_in.columns) == (13, 13)
    assert (thin.attention_output.rows, thin.ffn_out.rows) == (15, 15)  # one of zeros
    assert (thin.attention_output.take_out, thin.ffn_out.take_out) == (16, 16)
    spread = heads == "spread" and narrow != ()
    assert (thin.qkv.take_out > 0, thin.attention_output.take_in > 0) == (spread, spread)


def test_nothing_is_picked_where_nothing_is_closed():
    shape, kind = block_of()
    gates = {
        (role, side): np.ones(size)
        for role, sizes in shape.matrices().items()
        for side, size in zip(("rows", "columns"), sizes, strict=True)
    }
    spec = folded_case(shape, kind, gates, options=FoldOptions(residual="gather"))
    for part in (spec.qkv, spec.attention_output, spec.ffn_in, spec.ffn_out):
        assert (part.take_in, part.take_out) == (0, 0)


@pytest.mark.parametrize("reader", ["query", "key", "value", "ffn_in", "ffn_up"])
def test_residual_input_stays_while_a_single_matrix_reads_it(reader):
    shape, kind = block_of(hidden=16, gated=True)
    roles = ("query", "key", "value", "ffn_in", "ffn_up")
    gates = {(role, "columns"): closed(16, 0, 3) for role in roles}
    gates[reader, "columns"] = closed(16, 0)
    options = FoldOptions(round_to=1, residual="gather")
    spec = folded_case(shape, kind, gates, options=options)
    in_ffn = reader.startswith("ffn")
    assert (spec.qkv.columns, spec.ffn_in.columns) == ((14, 15) if in_ffn else (15, 14))


def test_residual_input_stays_while_one_of_query_key_value_reads_it():
    shape, kind = block_of(hidden=16)
    gates = {("query", "columns"): closed(16, 0, 3), ("key", "columns"): closed(16, 0, 3, 4)}
    options = FoldOptions(round_to=1, residual="gather")
    assert folded_case(shape, kind, gates, options=options).qkv.columns == 16
    gates["value", "columns"] = closed(16, 0, 5)
    assert folded_case(shape, kind, gates, options=options).qkv.columns == 15


def test_auto_gathers_only_what_pays():
    generator = np.random.default_rng(0)
    shape, kind = block_of(4, size=32, hidden=128, ffn=512)
    few, many = closed(128, 5), closed(128, *range(96))
    for gate, taken in ((few, 0), (many, 32)):
        matrices = random_matrices(shape, generator, gates={("ffn_in", "columns"): gate})
        assert fold_block(shape, kind, matrices).spec.ffn_in.take_in == taken


def test_low_precision_block_holds_its_indices_exactly():
    shape, kind = block_of(ffn=8, hidden=600)
    gates = {("ffn_in", "columns"): closed(600, 0, 3, 4)}
    matrices = random_matrices(shape, np.random.default_rng(0), gates=gates)
    options = FoldOptions(round_to=1, residual="gather")
    block = fold_block(shape, kind, matrices, options, dtype=torch.bfloat16)
    assert block.ffn.input.weight.dtype == torch.bfloat16
    assert block.ffn.input.take_in.tolist() == [1, 2, *range(5, 600)]


@pytest.mark.parametrize(
    ("heads", "gone", "least"),
    [
        # Heads of 32, all but 8 dimensions of the last closed. In rows of attention and its inputs:
        # 2 heads: 256 padded, 160 kept; 96 x 123 > 46 x 256
        ((2, 2), (), 123),
        # 3 of 4 heads, in groups of two: 320 padded, 176 kept; 144 x 103 > 46 x 320
        ((4, 2), (0,), 103),
    ],
)
def test_auto_spreads_heads_only_where_it_pays(heads, gone, least):
    narrow = closed(32 * heads[1], *range(32 * heads[1] - 24, 32 * heads[1]))
    columns = closed(32 * heads[0], *(32 * head + j for head in gone for j in range(32)))
    gates = {(role, "rows"): narrow for role in ("key", "value")}
    gates["attention_output", "columns"] = columns
    for hidden, spread in ((least - 1, False), (least, True)):
        shape, kind = block_of(*heads, size=32, hidden=hidden)
        matrices = random_matrices(shape, np.random.default_rng(0), gates=gates)
        spec = fold_block(shape, kind, matrices).spec
        assert (spec.width, spec.heads) == (32, heads[0] - len(gone))
        assert (spec.qkv.take_out > 0, spec.attention_output.take_in > 0) == (spread, spread)


@pytest.mark.parametrize(("rows", "taken"), [(1, True), (2, False)])
def test_auto_gathers_inputs_of_attention_only_where_it_pays(rows, taken):
    # 8 of 16 closed: 8 x (48 - rows) weights saved, 46 x 8 for picking the others
    shape, kind = block_of(2, size=8, hidden=16)
    gates = {(role, "columns"): closed(16, *range(8)) for role in ("query", "key", "value")}
    gates["query", "rows"] = closed(16, *range(rows))
    matrices = random_matrices(shape, np.random.default_rng(0), gates=gates)
    assert (fold_block(shape, kind, matrices).spec.qkv.take_in > 0) == taken


@pytest.mark.parametrize(("columns", "taken"), [(7, True), (8, False)])
def test_auto_scatters_outputs_only_where_it_pays(columns, taken):
    # 8 of 16 closed: 8 x (100 - columns) weights saved, 46 x 16 for spreading to all
    shape, kind = block_of(hidden=16, ffn=100)
    gates = {
        ("ffn_out", "rows"): closed(16, *range(8)),
        ("ffn_out", "columns"): closed(100, *range(columns)),
    }
    matrices = random_matrices(shape, np.random.default_rng(0), gates=gates)
    assert (fold_block(shape, kind, matrices).spec.ffn_out.take_out > 0) == taken


def test_unknown_layout_is_refused():
    for choice, names in (("heads", "auto, padded, spread"), ("residual", "auto, gather, zeros")):
        with pytest.raises(UserError, match=f"Unknown {choice} 'wide'. Choose from: {names}."):
            FoldOptions(**{choice: "wide"})


@pytest.mark.parametrize("value", [0, 7, 64])
def test_unknown_multiple_is_refused(value):
    with pytest.raises(UserError, match=rf"round_to must be one of \(1, 8, 16, 32\), got {value}"):
        FoldOptions(round_to=value)


def test_gates_of_another_size_are_refused():
    shape, kind = block_of()
    matrices = random_matrices(shape, np.random.default_rng(0))
    matrices["query"] = dataclasses.replace(matrices["query"], rows=torch.ones(3))
    with pytest.raises(UserError, match=r"rows of query need a bool array of shape \(8,\)"):
        fold_block(shape, kind, matrices)


# Llama's block: transformers' own layer is the truth.


def pairs_closed(heads, pattern, generator):
    """(heads * SIZE,) rows of query or key; which rotated pairs are closed, whole or half."""
    gate = generator.uniform(0.3, 1.0, (heads, 2, SIZE // 2))
    for head in range(heads):
        for pair in generator.choice(SIZE // 2, 2, replace=False):
            members = {"whole": (0, 1), "half": (int(generator.integers(2)),)}[pattern]
            gate[head, members, pair] = 0
    return gate.reshape(-1)


def llama_gates(pattern, heads, shared, generator):
    """(role, side) -> values, for one way to close an inner part of Llama's block."""
    rows, columns, group = heads * SIZE, shared * SIZE, heads // shared
    by_group = np.ones((shared, group, SIZE))
    if pattern in ("whole", "half"):
        return {
            ("query", "rows"): pairs_closed(heads, pattern, generator),
            ("key", "rows"): pairs_closed(shared, pattern, generator),
        }
    if pattern == "key_pair":
        return {("key", "rows"): closed(columns, 2, 2 + SIZE // 2)}
    if pattern == "pair_of_a_group":
        by_group[0, :, [1, 1 + SIZE // 2]] = 0
        return {("query", "rows"): by_group.reshape(-1)}
    if pattern == "head_without_values":
        return {("attention_output", "columns"): closed(rows, *range(SIZE))}
    if pattern == "group_without_values":
        by_group[0] = 0
        return {("attention_output", "columns"): by_group.reshape(-1)}
    if pattern == "value_head":
        return {("value", "rows"): closed(columns, *range(SIZE))}
    return {}


LLAMA_PATTERNS = (
    "open",
    "whole",
    "half",
    "key_pair",
    "pair_of_a_group",
    "head_without_values",
    "group_without_values",
    "value_head",
)


@pytest.mark.parametrize("outer", [None, "binary", "mixed"])
@pytest.mark.parametrize("pattern", LLAMA_PATTERNS)
@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (4, 1)])
def test_folded_block_equals_llamas(heads, shared, pattern, outer):
    generator = np.random.default_rng(len(pattern) + heads + shared)
    gates = llama_gates(pattern, heads, shared, generator)
    if outer:
        sizes = {"columns": {"query", "key", "value", "ffn_in", "ffn_up"}, "rows": {"ffn_out"}}
        for side, roles in sizes.items():
            gates |= {(role, side): gate_values(outer, HIDDEN, 3, generator) for role in roles}
        for place in (("ffn_in", "rows"), ("ffn_up", "rows"), ("ffn_out", "columns")):
            gates[place] = gate_values(outer, FFN, 2, generator)
        gates["attention_output", "rows"] = gate_values(outer, HIDDEN, 3, generator)
    gates = {place: torch.from_numpy(values) for place, values in gates.items()}
    gated = GatedLlama(heads, shared, gates, rank=2 if outer else 0)
    x = torch.from_numpy(generator.standard_normal((3, 7, HIDDEN)))
    masks = [None, padding((7, 4, 2), tokens=7), padding((7, 4, 2), tokens=7, left=True)]
    for options in (DEFAULT, CANONICAL, FoldOptions(round_to=8, residual="gather")):
        block = gated.folded(options)
        for mask in masks:
            expected = gated(x, mask)
            folded = block(x, None if mask is None else mask[:, None, None, :])
            seen = slice(None) if mask is None else mask
            assert (folded - expected)[seen].abs().max() <= LARGEST


@pytest.mark.parametrize(
    ("pattern", "heads", "gone"),
    [
        # of 12 x (4 + 2 + 2) rows of query, key and value with 4 query and 2 key heads
        ("open", 4, 0),
        ("key_pair", 4, 3 * 2),
        ("pair_of_a_group", 4, 3 * 2),
        ("half", 4, 0),
        ("head_without_values", 3, 12),
        ("group_without_values", 2, 48),
        ("value_head", 2, 48),
    ],
)
def test_what_goes_from_llamas_block(pattern, heads, gone):
    gates = llama_gates(pattern, 4, 2, np.random.default_rng(0))
    gates = {place: torch.from_numpy(values) for place, values in gates.items()}
    spec = GatedLlama(4, 2, gates).folded(CANONICAL).spec
    filled = pattern in ("key_pair", "pair_of_a_group")  # a row of zeros for heads of two widths
    assert (spec.heads, spec.qkv.rows) == (heads, 12 * 8 - gone + filled)
