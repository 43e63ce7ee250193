"""Whole models: the folded one gives the gated one's logits."""

import copy
import itertools
import shutil
from typing import Any

import pytest
import torch
from random_gates import difference, padded_inputs, random_model
from tiny import REPOSITORY
from tiny_models import FAMILIES, dense_model
from tiny_runs import places, tiny_run
from torch import Tensor

from finegates_engine.backbone import local_folder
from finegates_engine.fold.block import CANONICAL, DEFAULT, FoldOptions
from finegates_engine.folded import FoldedClassifier
from finegates_engine.gates.model import TextClassifier, build_model
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.prune.compiled import (
    compile_run,
    fold_model,
    hash_of_kept,
    stored_weights,
)
from finegates_engine.runs.store import RunStore

CHOICES = list(itertools.product(("inner", "attention", "all"), (True, False), (True, False)))
POOLINGS = ("mean", "model")
LAYOUTS = (DEFAULT, CANONICAL, FoldOptions(round_to=8, heads="padded", residual="gather"))
BF16_RATIO = 1.5  # DESIGN section 4


@torch.no_grad()
def exact_difference(gated: TextClassifier, folded: FoldedClassifier, batch: Any) -> float:
    """The same in fp64; both models round their logits to fp32 only at the very end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "float", Tensor.double)
        first, second = gated(**batch), folded(**batch)
    assert first.dtype == second.dtype == torch.float64
    return float((first - second).abs().max())


def assert_parity(family: str, layout: FoldOptions, **choices: Any) -> None:
    """fp32 and fp64 within the bounds of DESIGN section 4, gates on random values."""
    model, batch = random_model(family, **choices), padded_inputs(family)
    largest, scale = difference(model, fold_model(model, layout), batch)
    assert largest <= 1e-5 * max(1.0, scale)
    folded = fold_model(model.double(), layout, dtype=torch.float64)
    assert exact_difference(model, folded, batch) <= 1e-10


def spread_over(*places: int) -> tuple[int, FoldOptions]:
    """A rank and a layout, so that each of both meets every other choice."""
    return (0, 4)[sum(places) % 2], LAYOUTS[sum(places) % 3]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("choice", CHOICES)
def test_folded_model_equals_gated_model(family, pooling, choice):
    places = (FAMILIES.index(family), POOLINGS.index(pooling), CHOICES.index(choice))
    rank, layout = spread_over(*places)
    names = dict(zip(("axes", "tie", "head_gates"), choice, strict=True))
    assert_parity(family, layout, pooling=pooling, rank=rank, **names)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("choice", CHOICES)
def test_folded_model_equals_gated_model_for_every_combination(family, choice):
    names = dict(zip(("axes", "tie", "head_gates"), choice, strict=True))
    for pooling, rank, layout in itertools.product(POOLINGS, (0, 4), LAYOUTS):
        assert_parity(family, layout, pooling=pooling, rank=rank, **names)


@pytest.mark.parametrize("closed", [0.0, 0.95, 1.0])
@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("axes", ["inner", "all"])
def test_models_with_no_gate_or_every_gate_closed_are_folded(axes, soft, closed):
    for layout in LAYOUTS:
        assert_parity("bert", layout, axes=axes, soft=soft, closed=closed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_row_alone_and_in_a_padded_batch_agree(family, pooling):
    folded = fold_model(random_model(family, pooling=pooling))
    batch = padded_inputs(family)
    together = folded(**batch)
    scale = max(1.0, float(together.abs().max()))
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = folded(**{name: ids[row : row + 1, :length] for name, ids in batch.items()})
        assert (alone[0] - together[row]).abs().max() <= 1e-5 * scale


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_the_left_and_in_the_middle_is_the_gated_models(family):
    model = random_model(family)
    folded, batch = fold_model(model), padded_inputs(family, left=True)
    largest, scale = difference(model, folded, batch)
    assert largest <= 1e-5 * max(1.0, scale)
    batch = padded_inputs(family, lengths=(9, 9, 9, 9))
    for name, column in (("attention_mask", 3), ("input_ids", 5)):
        batch[name][1:3, column] = 0  # RoBERTa counts positions around the token, not the mask
        largest, scale = difference(model, folded, batch)
        assert largest <= 1e-5 * max(1.0, scale)


def test_without_a_mask_every_token_is_seen():
    folded, batch = fold_model(random_model()), padded_inputs("bert", lengths=(9, 9))
    whole = folded(**batch)
    assert torch.equal(folded(batch["input_ids"], None, batch["token_type_ids"]), whole)
    types = torch.zeros_like(batch["token_type_ids"])
    assert torch.equal(folded(batch["input_ids"]), folded(batch["input_ids"], None, types))
    assert not torch.equal(folded(batch["input_ids"]), whole)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_all_open_is_the_model_with_every_gate_at_one(family, pooling):
    model = random_model(family, pooling=pooling, rank=4, head_gates=True)
    dense, batch = fold_model(model, all_open=True), padded_inputs(family)
    assert stored_weights(dense) == encoder_shape(model).encoder_weights
    assert dense.spec.types == (0 if family == "distilbert" else 2)
    assert difference(model, dense, batch)[0] > 1e-3
    assert model.gates is not None
    model.gate_values = torch.ones_like(model.gates.logit)
    largest, scale = difference(model, dense, batch)
    assert largest <= 1e-5 * max(1.0, scale)


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_folded_is_hardly_further_off_than_bf16_gated(family):
    model = random_model(family, axes="all", rank=4, closed=0.2)
    model.gate_values = model.gates.value()  # fp32 beside weights in bf16
    batch = padded_inputs(family, lengths=[1 + row % 9 for row in range(200)])
    exact = model(**batch)
    folded = fold_model(model).to(torch.bfloat16)(**batch)
    gated = copy.deepcopy(model).to(torch.bfloat16)(**batch)
    assert folded.dtype == torch.float32
    off = {name: (part - exact).abs() for name, part in (("folded", folded), ("gated", gated))}
    assert off["folded"].max() <= BF16_RATIO * off["gated"].max()
    assert off["folded"].mean() <= BF16_RATIO * off["gated"].mean()


def test_encoder_of_a_single_block_is_folded():
    model = dense_model()
    encoder: Any = model.base_model.get_submodule("encoder")
    encoder.layer = encoder.layer[:1]
    largest, scale = difference(model, fold_model(model), padded_inputs("bert"))
    assert largest <= 1e-5 * max(1.0, scale)


def test_folding_changes_nothing_in_the_model():
    model = random_model(rank=4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = fold_model(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not folded.training
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    theirs = {parameter.data_ptr() for parameter in model.parameters()}
    assert not theirs & {parameter.data_ptr() for parameter in folded.parameters()}


def test_hash_is_of_the_kept_dimensions_alone():
    model = random_model(soft=False, axes="inner", tie=True)
    assert model.gates is not None
    one = hash_of_kept(model)
    model.gates.logit.data.clamp_(max=0.1)
    assert model.gates.value().max() < 1
    assert hash_of_kept(model) == one  # soft gates keep what open ones keep
    closed = model.gates.closed.clone()
    last = int((~closed).nonzero()[-1])  # an open one of the last FFN
    closed[last] = True
    model.gates.close(closed)
    assert hash_of_kept(model) != one


@pytest.mark.parametrize("pooling", POOLINGS)
def test_compiled_run_is_its_model_in_every_form(tmp_path, pooling):
    _, run = tiny_run(tmp_path, pooling=pooling)
    layout = FoldOptions(round_to=8, heads="padded")
    compiled = compile_run(run, places()[0], layout)
    gated, plain = compiled.gated, compiled.plain
    assert compiled.run is run
    assert compiled.folded.spec == fold_model(gated, layout).spec
    assert compiled.dense.spec == fold_model(gated, layout, all_open=True).spec
    assert compiled.folded.spec != compiled.dense.spec
    assert compiled.kept_hash == hash_of_kept(gated)
    dense = encoder_shape(gated).encoder_weights
    assert compiled.stored_weight_fraction == stored_weights(compiled.folded) / dense < 1
    assert plain.gates is None
    assert not any(part.training for part in (gated, compiled.folded, compiled.dense, plain))
    assert (plain.outputs, plain.head is None) == (gated.outputs, gated.head is None)
    start = build_model(places()[0], run.config.model, outputs=2, seed=run.config.seed)
    same = zip(plain.state_dict().items(), start.state_dict().items(), strict=True)
    assert all(n == m and torch.equal(one, other) for (n, one), (m, other) in same)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_by_torch_the_logits_are_the_same(family):
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    folded = fold_model(random_model(family), FoldOptions(round_to=8, residual="gather"))
    batch = padded_inputs(family)
    largest, scale = difference(torch.compile(folded), folded, batch)
    assert largest <= 1e-5 * max(1.0, scale)


@pytest.mark.slow
def test_shipped_run_is_folded_to_what_its_ladder_says(tmp_path):
    store = tmp_path / "store"
    shutil.copytree(REPOSITORY / "cached_runs", store)
    run_id = next(name for name in RunStore(store).ids() if "-t0.50-" in name)
    run = RunStore(store).load(run_id)
    compiled = compile_run(run, local_folder(run.config.model.backbone), CANONICAL)
    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(40) < torch.tensor([[40], [23], [7]])).long()
    ids = torch.randint(1000, 20000, mask.shape, generator=generator) * mask
    batch = {"input_ids": ids, "attention_mask": mask}
    for layout in LAYOUTS:
        largest, scale = difference(compiled.gated, fold_model(compiled.gated, layout), batch)
        assert largest <= 1e-5 * max(1.0, scale)
    assert difference(compiled.gated, compiled.dense, batch)[0] > 1e-3
    stored = stored_weights(compiled.folded)
    zeros = sum(block.qkv.columns for block in compiled.folded.spec.blocks)  # a row in each block
    assert 0 <= stored - run.ladder.folded_weights <= zeros
    assert compiled.stored_weight_fraction == stored / run.ladder.encoder_weights
