"""An explanation of a real, tiny run: counts are the model's, parts the whole, changes timed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from timing_examples import make_certificate
from tiny_runs import places, tiny_run

from finegates_engine.errors import UserError
from finegates_engine.explain.advice import gap_text
from finegates_engine.explain.certified import CertifiedRun, as_certified
from finegates_engine.explain.diagnosis import explain_run
from finegates_engine.explain.explanation import EXPLANATION, SCALED
from finegates_engine.explain.part_counts import layer_forms, mac_ratio, part_work
from finegates_engine.fold.block import DEFAULT, FoldOptions
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.parity import to_bytes
from finegates_engine.prune.compiled import CompiledRun, compile_run, fold_model, stored_weights
from finegates_engine.timing.inputs import TokenStream
from finegates_engine.timing.stored import Setting

STREAM = TokenStream(np.arange(4, 40), "made up")
PRODUCTS = ("qkv", "attention_output", "ffn_in", "ffn_out")


@pytest.fixture
def compiled(tmp_path: Path) -> CompiledRun:
    _, run = tiny_run(tmp_path)
    return compile_run(run, places()[0])


def test_work_of_the_products_is_the_models_weights(compiled: CompiledRun) -> None:
    work = part_work(compiled, 10)
    ladder, shape = compiled.run.record.ladder, encoder_shape(compiled.gated)
    assert set(work) == set(SCALED)
    assert sum(work[part].dense for part in PRODUCTS) == shape.encoder_weights
    assert sum(work[part].left for part in PRODUCTS) == ladder.folded_weights
    assert sum(work[part].stored for part in PRODUCTS) == stored_weights(compiled.folded)
    assert work["attention"].dense == 2 * 10 * shape.layers * shape.hidden
    assert all(part.left <= part.dense for part in work.values())


def test_ratio_is_that_of_the_ladder(compiled: CompiledRun) -> None:
    ladder = compiled.run.record.ladder
    expected = ladder.dense_macs_per_token / ladder.macs_per_token
    assert mac_ratio(compiled, ladder.macs_tokens) == pytest.approx(expected)


def test_layers_say_what_is_left_and_how_it_lies(compiled: CompiledRun) -> None:
    for form, block in zip(layer_forms(compiled), compiled.folded.spec.blocks, strict=True):
        assert form.rows_left <= form.qkv_rows
        assert form.ffn <= form.stored_ffn == block.ffn
        assert form.padded_rows == 3 * block.heads * block.width


@pytest.fixture
def found(compiled: CompiledRun):  # type: ignore[no-untyped-def]
    setting = Setting(batch=2, tokens=8)
    told: list[str] = []
    result = explain_run(
        CertifiedRun(compiled, DEFAULT),
        STREAM,
        setting,
        budget_seconds=0.1,
        on_progress=lambda what, _: told.append(what),
    )
    assert set(told) == {"Parts", "Changes"}
    return result


def test_an_explanation_is_whole(found) -> None:  # type: ignore[no-untyped-def]
    assert sum(part.dense_ms for part in found.parts) == pytest.approx(found.dense_ms)
    assert sum(part.pruned_ms for part in found.parts) == pytest.approx(found.pruned_ms)
    assert found.dense_ms / found.pruned_ms == pytest.approx(found.speedup.value)
    assert found.efficiency == pytest.approx(found.speedup.value / found.mac_ratio)
    assert found.part("python").pruned_ms > found.part("qkv").pruned_ms  # tiny: nearly all Python
    assert 0 < found.fixed_ms[1] < 2 * found.pruned_ms
    assert found.clock == "thread"
    names = {trial.name for trial in found.trials} | set(found.not_tried)
    assert {"larger batch", "shorter rows", "heads spread", "onnx"} <= names
    assert names & {"threads", "other threads"}  # the second where there is one core
    assert gap_text(found)
    assert EXPLANATION.validate_json(EXPLANATION.dump_json(found)) == found


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (Setting(batch=1, tokens=8, backend="onnx"), "not onnx in fp32"),
        (Setting(batch=1, tokens=8, precision="bf16"), "not torch in bf16"),
    ],
)
def test_other_backends_are_left_to_bench(
    compiled: CompiledRun, setting: Setting, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        explain_run(CertifiedRun(compiled, DEFAULT), STREAM, setting)


def test_a_run_is_folded_as_its_certificate_says(tmp_path: Path, compiled: CompiledRun) -> None:
    store, run = tiny_run(tmp_path)
    options = {"round_to": 1, "heads": "padded", "residual": "auto"}
    certificate = make_certificate(run.run_id, kept_hash=compiled.kept_hash, options=options)
    store.add_file(run.run_id, "certificate.json", to_bytes(certificate))
    certified = as_certified(store.load(run.run_id), places()[0])
    assert certified.options == FoldOptions(round_to=1, heads="padded")
    assert not any(block.qkv.take_out for block in certified.compiled.folded.spec.blocks)


def test_on_a_gpu_heads_are_padded_and_the_cpu_keeps_its_form(compiled: CompiledRun) -> None:
    spread = FoldOptions(round_to=1)
    folded = fold_model(compiled.gated, FoldOptions(round_to=1, heads="spread"))
    certified = CertifiedRun(dataclasses.replace(compiled, folded=folded), spread)
    assert certified.laid_out_for("cpu") is certified
    on_gpu = certified.laid_out_for("cuda")
    assert on_gpu.options == FoldOptions(round_to=1, heads="padded", residual="zeros")
    assert not any(block.qkv.take_out for block in on_gpu.compiled.folded.spec.blocks)
    ids = torch.arange(12).view(2, 6)
    torch.testing.assert_close(on_gpu.compiled.folded(ids), folded(ids))


def test_a_layout_with_other_outputs_is_refused(compiled: CompiledRun) -> None:
    folded = fold_model(compiled.gated, FoldOptions(round_to=1, heads="spread"))
    with torch.no_grad():
        folded.classifier.bias.add_(1)
    certified = CertifiedRun(dataclasses.replace(compiled, folded=folded), FoldOptions(round_to=1))
    with pytest.raises(UserError, match="differ from the certified form's"):
        certified.laid_out_for("cuda")


@pytest.mark.parametrize("bad", [{"heads": "wide"}, {"round_to": 7}, {"colour": "red"}])
def test_a_certificate_with_a_layout_that_is_none_is_refused(
    bad: dict[str, str | int], tmp_path: Path, compiled: CompiledRun
) -> None:
    store, run = tiny_run(tmp_path)
    certificate = make_certificate(run.run_id, kept_hash=compiled.kept_hash, options=bad)
    store.add_file(run.run_id, "certificate.json", to_bytes(certificate))
    with pytest.raises(UserError, match="layout that is none"):
        as_certified(store.load(run.run_id), places()[0])


def test_a_certificate_of_other_indices_is_refused(tmp_path: Path, compiled: CompiledRun) -> None:
    store, run = tiny_run(tmp_path)
    with pytest.raises(UserError, match="no certificate"):
        as_certified(run, places()[0])
    certificate = make_certificate(run.run_id)
    store.add_file(run.run_id, "certificate.json", to_bytes(certificate))
    with pytest.raises(UserError, match="finegates prune"):
        as_certified(store.load(run.run_id), places()[0])
