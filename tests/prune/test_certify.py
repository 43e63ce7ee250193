"""Certificates of real, tiny runs."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_task
from tiny_runs import places, tiny_run
from transformers import AutoTokenizer

from finegates_engine.errors import UserError
from finegates_engine.fold.block import CANONICAL, DEFAULT
from finegates_engine.parity import Certificate
from finegates_engine.prune.certify import certify, parity_of, stacked, task_of
from finegates_engine.prune.compiled import CompiledRun, compile_run
from finegates_engine.train.evaluation import predict


@pytest.fixture
def compiled(tmp_path: Path) -> CompiledRun:
    _, run = tiny_run(tmp_path)
    return compile_run(run, places()[0])


def certificate_of(compiled: CompiledRun) -> Certificate:
    return certify(compiled, task_of(compiled.run), DEFAULT, tokenizer())[0]


def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(places()[0])


def test_folded_run_passes_over_all_its_rows(compiled: CompiledRun) -> None:
    certificate = certificate_of(compiled)
    assert certificate.passed
    assert certificate.torch.rows == len(compiled.run.predictions)
    assert certificate.kept_hash == compiled.kept_hash
    assert certificate.options == {"round_to": 16, "heads": "auto", "residual": "auto"}
    assert certificate.metrics == compiled.run.record.metrics
    assert certificate.file_bytes < certificate.dense_file_bytes


def test_canonical_layout_is_certified_too(tmp_path: Path) -> None:
    _, run = tiny_run(tmp_path, pooling="model")
    certificate, _ = certify(
        compile_run(run, places()[0], CANONICAL), task_of(run), CANONICAL, tokenizer()
    )
    assert certificate.passed
    assert certificate.options["heads"] == "spread"


@torch.no_grad()
def test_one_changed_weight_fails(compiled: CompiledRun) -> None:
    compiled.folded.blocks[0].ffn.output.weight[0] += 0.5  # type: ignore[union-attr, index]
    certificate = certificate_of(compiled)
    assert not certificate.passed
    assert not certificate.torch.passed
    assert certificate.torch.largest_difference > certificate.torch.bound


def test_model_that_minds_its_padding_fails(
    compiled: CompiledRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = compiled.folded.forward

    def careless(input_ids: torch.Tensor, attention_mask: Any = None, types: Any = None) -> Any:
        return forward(input_ids, None, types)

    monkeypatch.setattr(compiled.folded, "forward", careless)
    certificate = certificate_of(compiled)
    assert not certificate.passed
    assert certificate.alone_difference > 1e-4


@torch.no_grad()
def test_gated_model_that_is_not_the_stored_one_fails(compiled: CompiledRun) -> None:
    head = compiled.gated.head
    assert head is not None
    head.bias[0] += 1.0
    compiled.folded.classifier.bias[0] += 1.0
    certificate = certificate_of(compiled)
    assert certificate.torch.passed
    assert certificate.stored_difference > 0.01
    assert not certificate.passed


def test_another_form_is_held_against_the_same_logits(compiled: CompiledRun) -> None:
    data = task_of(compiled.run)
    _, gated = certify(compiled, data, DEFAULT, tokenizer())

    def dense(rows: Any, pad_id: int) -> Any:
        return predict(compiled.dense, rows, pad_id)

    def same(rows: Any, pad_id: int) -> Any:
        return predict(compiled.gated, rows, pad_id)

    arguments = (compiled.run, data, tokenizer(), gated)
    assert parity_of("onnx", same, *arguments).largest_difference == 0
    assert not parity_of("onnx", dense, *arguments).passed
    assert stacked(gated).shape == (len(compiled.run.predictions), 2)


def test_other_rows_than_the_run_was_scored_on_are_refused(
    compiled: CompiledRun, tmp_path: Path
) -> None:
    other = write_task(tmp_path / "reviews", validation=20)
    with pytest.raises(UserError, match=r"are not those of run .* Pass --data"):
        task_of(compiled.run, other)
    with pytest.raises(UserError, match="Pass --data with the rows of run"):
        task_of(compiled.run, tmp_path / "nowhere")


def test_stored_predictions_of_other_rows_are_refused(compiled: CompiledRun) -> None:
    data = task_of(compiled.run)
    split = data.validation["validation"]
    swapped = dataclasses.replace(split, texts=split.texts[::-1])
    wrong = dataclasses.replace(data, validation={"validation": swapped})
    with pytest.raises(UserError, match="are of other rows"):
        certify(compiled, wrong, DEFAULT, tokenizer())
