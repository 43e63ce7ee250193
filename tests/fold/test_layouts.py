"""How a folded block is laid out: widths, spread heads, picked and scattered dimensions."""

import dataclasses

import numpy as np
import pytest
import torch
from gated_blocks import block_of, closed, folded_case, random_matrices

from finegates_engine.errors import UserError
from finegates_engine.fold.block import ROUND_TO, FoldOptions, fold_block


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
