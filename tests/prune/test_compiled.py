"""Whole models: the folded one gives the gated one's logits, and costs what the ladder says."""

import copy
import itertools
import shutil
from typing import Any

import pytest
import torch
from tiny import REPOSITORY
from tiny_models import FAMILIES, dense_model, gate_config, gated_model
from tiny_runs import places, tiny_run
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from finegates_engine.backbone import local_folder
from finegates_engine.config import ModelConfig
from finegates_engine.fold.block import CANONICAL, DEFAULT, FoldOptions
from finegates_engine.fold.dimensions import LayerWidths, folded_widths, macs_per_token
from finegates_engine.folded import FoldedClassifier
from finegates_engine.gates.model import TextClassifier, build_model, iter_gated_layers
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.prune.compiled import (
    compile_run,
    fold_model,
    gated_blocks,
    hash_of_kept,
    stored_weights,
)
from finegates_engine.runs.store import RunStore

CHOICES = list(itertools.product(("inner", "attention", "all"), (True, False), (True, False)))
POOLINGS = ("mean", "model")
LAYOUTS = (DEFAULT, CANONICAL, FoldOptions(round_to=8, heads="padded", residual="gather"))
SIZES = {"hidden": 36, "heads": 3, "ffn": 40}
BF16_RATIO = 1.5  # DESIGN section 4


def random_model(
    family: str = "bert",
    *,
    pooling: Any = "mean",
    axes: str = "all",
    tie: bool = False,
    head_gates: bool = False,
    rank: int = 0,
    closed: float = 0.3,
    soft: bool = True,
    seed: int = 0,
    sizes: dict[str, int] = SIZES,
) -> TextClassifier:
    """Random gates: a share of them closed for good, the others soft, open or clipped to 0."""
    config = ModelConfig(pooling=pooling, low_rank=rank)
    gates = gate_config(axes=axes, tie=tie, head_gates=head_gates)
    model, _ = gated_model(family, gates=gates, model=config, sizes=sizes)
    assert model.gates is not None
    generator = torch.Generator().manual_seed(seed)
    logit = model.gates.logit.data
    if soft:
        logit.uniform_(-0.7, 1.5, generator=generator)
    model.gates.close(torch.rand(logit.shape, generator=generator) < closed)
    for _, _, layer in iter_gated_layers(model):
        if layer.low_rank_up is not None:
            layer.low_rank_up.data.normal_(std=0.1, generator=generator)
    return model.requires_grad_(False)


def padded_inputs(family: str, *, lengths=(8, 5, 1, 3), tokens: int = 9, left: bool = False):
    """Random tokens, every row padded, to another length; token types where there are any."""
    generator = torch.Generator().manual_seed(len(family))
    steps, many = torch.arange(tokens), torch.tensor(lengths).unsqueeze(1)
    mask = steps >= tokens - many if left else steps < many
    ids = torch.randint(1, 60, mask.shape, generator=generator) * mask
    batch = {"input_ids": ids, "attention_mask": mask.long()}
    if family != "distilbert":
        kinds = torch.randint(0, 2, mask.shape, generator=generator)
        batch["token_type_ids"] = kinds * mask
    return batch


@torch.no_grad()
def difference(one: Any, other: Any, batch: dict[str, Tensor]) -> tuple[float, float]:
    """(largest difference of a logit, largest logit)."""
    first, second = one(**batch), other(**batch)
    assert first.dtype == second.dtype == torch.float32
    return float((first - second).abs().max()), float(first.abs().max())


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


# What a folded model costs, counted by torch itself.


def counted_macs(model: FoldedClassifier, tokens: int) -> float:
    """Of one row of `tokens` tokens; attention as two plain products, so that both are seen."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(torch.ones(1, tokens, dtype=torch.int64))
    return counter.get_total_flops() / 2


def filling(model: FoldedClassifier, widths: list[LayerWidths], tokens: int) -> int:
    """MACs of what fills the canonical form up where heads have several widths, or odd ones.

    One row of zeros in query, key and value for all that is missing, and in attention's two
    products heads of the common width.
    """
    macs = 0
    for spec, kept in zip(model.spec.blocks, widths, strict=True):
        common = spec.heads * spec.width
        rows = sum(map(sum, (kept.query, kept.key, kept.value)))
        macs += tokens * spec.qkv.columns * (spec.qkv.rows - rows)
        assert spec.qkv.rows - rows == (rows < 3 * common)
        macs += tokens**2 * (2 * common - sum(kept.query) - sum(kept.context))
    return macs


def widths_of(model: TextClassifier) -> list[LayerWidths]:
    masks = [{role: m.masks() for role, m in block.items()} for block in gated_blocks(model)]
    return folded_widths(encoder_shape(model), masks)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("closed", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("tokens", [1, 7])
def test_macs_of_the_canonical_form_are_the_ladders(family, pooling, closed, tokens):
    model = random_model(family, pooling=pooling, axes="all", closed=closed)
    folded, widths = fold_model(model, CANONICAL), widths_of(model)
    expected = tokens * macs_per_token(encoder_shape(model), widths, tokens=tokens)
    assert counted_macs(folded, tokens) == pytest.approx(
        expected + filling(folded, widths, tokens), rel=1e-12
    )


@pytest.mark.parametrize("removed", [0, 8])
def test_heads_of_one_width_are_not_filled_up(removed):
    sizes = {"hidden": 48, "heads": 2, "ffn": 40}  # heads of 24
    model = random_model(axes="inner", tie=True, closed=0.0, soft=False, sizes=sizes)
    parts = model.gates.split(torch.zeros_like(model.gates.closed))
    for name in ("query_key", "value_output"):
        parts[f"1/{name}"].view(2, 24)[:, :removed] = True
    parts["0/ffn"][:11] = True
    model.gates.close(torch.cat(list(parts.values())))
    folded, widths = fold_model(model, CANONICAL), widths_of(model)
    assert widths[1].query == (24 - removed,) * 2
    assert widths[0].ffn == 29
    assert counted_macs(folded, 6) == 6 * macs_per_token(encoder_shape(model), widths, tokens=6)
    assert filling(folded, widths, 6) == 0


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
