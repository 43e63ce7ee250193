"""Runs are pruned as their options say; what fails leaves its certificate and no bundle."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_bundle import make
from tiny_runs import places, tiny_run

from finegates_engine.bundle import pruned as bundle
from finegates_engine.errors import UserError
from finegates_engine.fold.block import DEFAULT, FoldOptions
from finegates_engine.prune.certify import certify, task_of
from finegates_engine.prune.compiled import compile_run
from finegates_engine.train.evaluation import predict


def test_compatible_form_is_certified_through_transformers(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    made = make(tmp_path, pooling="model", target=target, compatible=True)
    assert made.certificate.transformers is not None
    assert made.certificate.transformers.passed
    assert made.certificate.transformers.rows == made.certificate.torch.rows
    assert not (target / "folded.json").exists()
    assert made.stored_weight_fraction > made.certificate.stored_weight_fraction
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(target)
    _, run = tiny_run(tmp_path / "again", pooling="model")
    data = task_of(run)
    _, gated = certify(compile_run(run, places()[0]), data, DEFAULT, tokenizer)
    with torch.inference_mode():
        text = data.validation["validation"].texts[5]
        found = network(**tokenizer(*text, return_tensors="pt")).logits[0].numpy()
    assert np.abs(found - gated["validation"][5]).max() < 1e-5


def test_options_of_the_fold_are_those_of_the_certificate(tmp_path: Path) -> None:
    fold = FoldOptions(round_to=1, heads="spread", residual="zeros")
    made = make(tmp_path, target=tmp_path / "bundle", fold=fold)
    assert made.certificate.options == {"round_to": 1, "heads": "spread", "residual": "zeros"}
    assert made.certificate.passed


def test_without_a_folder_only_the_certificate_is_made(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made.files == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    _, run = tiny_run(tmp_path / "other")
    assert made.certificate.run_id == run.run_id


def test_failed_certificate_is_kept_and_no_bundle_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> Any:
        certificate, gated = certify(*arguments)
        parity = dataclasses.replace(certificate.torch, largest_difference=0.5, passed=False)
        return dataclasses.replace(certificate, torch=parity, passed=False), gated

    monkeypatch.setattr(bundle, "certify", broken)
    with pytest.raises(
        UserError, match=r"is not written: a logit of the folded model differs by 0\.5"
    ):
        make(tmp_path, target=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    (stored,) = (tmp_path / "store").rglob("certificate.json")
    assert json.loads(stored.read_text())["passed"] is False


def test_form_that_fails_leaves_the_folded_certificate_and_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "predict", lambda *given: predict(*given) + 0.25)
    with pytest.raises(UserError, match=r"a logit of the transformers model differs by 0\.25"):
        make(tmp_path, pooling="model", target=tmp_path / "bundle", compatible=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    (stored,) = (tmp_path / "store").rglob("certificate.json")
    plain = json.loads(stored.read_text())
    assert plain["passed"] is True
    assert plain["transformers"] is None


@pytest.mark.parametrize("step", ["write_kept", "write_manifest", "write_expected"])
def test_error_at_any_step_leaves_nothing_half_written(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, step, fail)
    with pytest.raises(UserError, match="No space left on device"):
        make(tmp_path, target=tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_older_bundle_is_replaced_only_with_force(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a bundle already"):
        make(tmp_path, target=copied)
    made = make(tmp_path, target=copied, force=True, fold=FoldOptions(round_to=1))
    assert json.loads((copied / "certificate.json").read_text())["options"]["round_to"] == 1
    assert made.files["model.safetensors"] == (copied / "model.safetensors").stat().st_size
