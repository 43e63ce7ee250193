"""Parts of a tiny gated model closed for a moment."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import places, tiny_run

from finegates_engine.errors import UserError
from finegates_engine.fold.block import DEFAULT
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.live.ablation import (
    FFN_GROUPS,
    AblationBench,
    closed,
    kept_group,
    part_group,
    part_names,
    random_group,
)
from finegates_engine.prune.compiled import (
    CompiledRun,
    assemble,
    compile_run,
    fold_model,
    gated_blocks,
)

IDS = torch.tensor([[2, 5, 9, 11, 3]])
MASK = torch.ones_like(IDS)


@pytest.fixture
def compiled(tmp_path: Path) -> CompiledRun:
    _, run = tiny_run(tmp_path)
    return compile_run(run, places()[0])


def bench_of(compiled: CompiledRun) -> AblationBench:
    def run() -> np.ndarray:
        with torch.inference_mode():
            return compiled.gated(IDS, MASK).numpy()

    return AblationBench(compiled.gated, run)


def test_kept_dimensions_are_those_of_the_ladder(compiled: CompiledRun) -> None:
    kept, shape = kept_group(compiled.gated), encoder_shape(compiled.gated)
    left = sum(layer.spec.ffn for layer in fold_model(compiled.gated).blocks)
    assert 0 < kept.ffn.sum() <= left
    assert kept.context.shape == (shape.layers, shape.hidden)
    assert kept.size < shape.layers * (shape.hidden + shape.ffn)


def test_heads_and_quarters_make_up_the_layer(compiled: CompiledRun) -> None:
    shape = encoder_shape(compiled.gated)
    layer = part_group(shape, "1")
    pieces = [part_group(shape, f"1.head.{head}") for head in range(shape.heads)]
    pieces += [part_group(shape, f"1.ffn.{number}") for number in range(FFN_GROUPS)]
    assert sum(piece.size for piece in pieces) == layer.size == shape.hidden + shape.ffn
    assert set(part_names(shape)) >= {"0", "1", "0.attention", "1.ffn", "1.ffn.3", "0.head.3"}


def test_closing_a_head_gives_what_folding_without_it_gives(compiled: CompiledRun) -> None:
    bench = bench_of(compiled)
    blocks = gated_blocks(compiled.gated)
    columns = torch.ones(bench.shape.hidden, dtype=torch.float64)
    columns[2 * bench.shape.head_size : 3 * bench.shape.head_size] = 0
    output = blocks[1]["attention_output"]
    gates = columns if output.columns is None else output.columns * columns
    blocks[1] = {**blocks[1], "attention_output": dataclasses.replace(output, columns=gates)}
    folded = assemble(compiled.gated, blocks, DEFAULT, torch.float32)
    found = bench.without(bench.group(["1.head.2"]))
    with torch.inference_mode():
        np.testing.assert_allclose(found, folded(IDS, MASK).numpy(), atol=1e-5)
    assert np.abs(found - bench.run()).max() > 1e-4


def test_model_is_as_before_afterwards_even_after_an_error(compiled: CompiledRun) -> None:
    bench = bench_of(compiled)
    before = bench.run()
    with pytest.raises(RuntimeError), closed(compiled.gated, bench.group(["0"])):
        raise RuntimeError
    bench.random(bench.group(["0.head.1"]), groups=3)
    np.testing.assert_array_equal(bench.run(), before)


def test_everything_closed_leaves_only_the_residual_stream(compiled: CompiledRun) -> None:
    bench = bench_of(compiled)
    nothing_left = bench.without(bench.group(["0", "1"]))
    assert bench.group(["0", "1"]).size == bench.kept.size
    assert np.isfinite(nothing_left).all()


def test_random_group_is_as_large_and_of_kept_dimensions(compiled: CompiledRun) -> None:
    bench = bench_of(compiled)
    group = bench.group(["0.head.0", "0.ffn.1"])
    drawn = random_group(bench.kept, group, np.random.default_rng(1))
    assert drawn.context.sum() == group.context.sum()
    assert drawn.ffn.sum() == group.ffn.sum()
    assert (drawn & bench.kept).size == drawn.size
    assert not np.array_equal(drawn.context, group.context)


def test_random_groups_are_the_same_for_a_seed(compiled: CompiledRun) -> None:
    bench = bench_of(compiled)
    like = bench.group(["0.ffn"])
    one, two = bench.random(like, groups=2), bench.random(like, groups=2)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one[0], one[1])


@pytest.mark.parametrize("part", ["", "9", "0.head.4", "0.ffn.4", "0.head", "../x", "0.tail.1"])
def test_part_that_is_not_there_is_refused(part: str, compiled: CompiledRun) -> None:
    with pytest.raises(UserError, match="has no part"):
        part_group(encoder_shape(compiled.gated), part)
