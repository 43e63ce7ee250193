"""Bundles of tiny runs: whole, exact, and usable without this package."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import REPOSITORY
from tiny_runs import places, tiny_run

from finegates_engine.bundle import files as bundle_files
from finegates_engine.bundle import folder as bundle_folder
from finegates_engine.bundle import pruned as bundle
from finegates_engine.bundle.pruned import BundleOptions, Pruned, prune_run
from finegates_engine.errors import UserError
from finegates_engine.fold.block import DEFAULT, FoldOptions
from finegates_engine.folded import check as folded_check
from finegates_engine.folded import class_names, load, load_model
from finegates_engine.folded.check import answer
from finegates_engine.parity import Certificate, to_bytes
from finegates_engine.prune.certify import certify, task_of
from finegates_engine.prune.compiled import compile_run
from finegates_engine.train.evaluation import predict

ISOLATED = """
import sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "finegates_engine":
            raise ImportError("the bundle must not need the package")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
"""
"""Run with -I: no PYTHONPATH, no folder of the user's."""

LOGITS = """
import json, torch
from finegates_model import load
model, tokenizer = load(sys.argv[1])
texts = json.load(open(sys.argv[2]))
with torch.inference_mode():
    rows = [model(**tokenizer(*row, return_tensors="pt"))[0].tolist() for row in texts]
print(json.dumps(rows))
"""


def make(
    folder: Path, *, pooling: str = "mean", target: Path | None = None, **options: Any
) -> Pruned:
    store, run = tiny_run(folder, pooling=pooling)
    force = options.pop("force", False)

    def keep(certificate: Certificate) -> None:
        store.add_file(run.run_id, "certificate.json", to_bytes(certificate))

    return prune_run(
        run,
        places()[0],
        task_of(run),
        options=BundleOptions(**options),
        target=target,
        force=force,
        keep=keep,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    make(folder, target=folder / "bundle")
    return folder / "bundle"


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def isolated(code: str, *arguments: str | Path, python: str | Path = sys.executable) -> str:
    """What Python prints in a fresh process elsewhere, without this package."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-I", "-c", ISOLATED + code, *map(str, arguments)],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bundle_holds_all_that_it_needs_and_nothing_else(made: Path) -> None:
    names = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    loader = {
        f"finegates_model/{p.name}" for p in (REPOSITORY / "finegates_engine/folded").glob("*.py")
    }
    assert names - loader == {
        "README.md",
        "certificate.json",
        "config.json",
        "expected.json",
        "folded.json",
        "kept.json",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert loader <= names


def test_bundle_holds_no_row_and_no_folder_of_this_machine(made: Path) -> None:
    _, task = places()
    texts = [json.loads(line)["text"] for line in (task / "validation.jsonl").open()]
    for path in made.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [text for text in texts if text.encode() in content], path.name
            assert str(task.parent).encode() not in content, path.name


def test_process_without_the_package_gives_the_certified_logits(made: Path, tmp_path: Path) -> None:
    _, run = tiny_run(tmp_path)
    compiled, data = compile_run(run, places()[0]), task_of(run)
    from transformers import AutoTokenizer

    certificate, gated = certify(
        compiled, data, DEFAULT, AutoTokenizer.from_pretrained(places()[0])
    )
    texts = data.validation["validation"].texts
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    found = np.array(json.loads(isolated(LOGITS, made, tmp_path / "texts.json")))
    assert found.shape == gated["validation"].shape
    assert np.abs(found - gated["validation"]).max() <= certificate.torch.bound


def test_stored_weights_are_the_certified_ones_to_the_bit(made: Path, tmp_path: Path) -> None:
    _, run = tiny_run(tmp_path)
    expected = compile_run(run, places()[0]).folded.state_dict()
    found = load_model(made).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_checking_command_says_ok_from_the_bundle(copied: Path) -> None:
    command = [sys.executable, "-m", "finegates_model"]
    done = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OK: logits as expected")


def test_model_can_be_asked_for_the_share_of_each_class(made: Path) -> None:
    found = answer(made, ["the film was great"])
    assert list(found) == ["bad", "good"]
    assert sum(found.values()) == pytest.approx(1)


def test_changed_weights_and_changed_files_are_noticed(copied: Path) -> None:
    assert folded_check(copied) == 0
    card = (copied / "README.md").read_bytes()
    (copied / "README.md").write_bytes(card + b"!")
    with pytest.raises(ValueError, match=r"README\.md is not the file that was written"):
        folded_check(copied)
    (copied / "README.md").unlink()
    with pytest.raises(ValueError, match=r"README\.md is missing"):
        folded_check(copied)


def test_other_logits_and_other_tokens_are_noticed(copied: Path) -> None:
    expected = json.loads((copied / "expected.json").read_text())
    expected["rows"][1]["logits"][0] += 0.01
    write_expected(copied, expected)
    with pytest.raises(ValueError, match="logits differ by"):
        folded_check(copied)
    expected["rows"][0]["input_ids"][1] += 1
    write_expected(copied, expected)
    with pytest.raises(ValueError, match="other token ids for"):
        folded_check(copied)


def write_expected(folder: Path, values: dict[str, Any]) -> None:
    (folder / "expected.json").write_text(json.dumps(values))
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256((folder / "expected.json").read_bytes()).hexdigest()
    manifest["files"]["expected.json"]["sha256"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_kept_indices_have_the_hash_of_the_certificate(made: Path) -> None:
    kept = json.loads((made / "kept.json").read_text())
    certificate = json.loads((made / "certificate.json").read_text())
    digest = hashlib.sha256()
    for layer in kept["layers"]:
        heads = np.isin(np.arange(kept["dense"]["heads"]), layer["heads"])
        digest.update(heads.tobytes())
        for part in ("query_key", "value"):
            for head in layer[part]:
                digest.update(np.isin(np.arange(kept["dense"]["head_size"]), head).tobytes())
        digest.update(np.isin(np.arange(kept["dense"]["ffn"]), layer["ffn"]).tobytes())
    assert digest.hexdigest() == kept["sha256"] == certificate["kept_hash"]


def test_classes_of_the_task_are_in_the_config(made: Path) -> None:
    assert class_names(made) == ["bad", "good"]


def test_classes_of_transformers_refuse_the_folded_form(made: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    with pytest.raises(ValueError, match="model_type"):
        AutoModelForSequenceClassification.from_pretrained(made)


def test_tokenizer_cuts_to_what_the_model_reads(made: Path) -> None:
    model, tokenizer = load(made)
    long = "good " * 1000
    inputs = tokenizer(long, truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape[1] == model.most_tokens == 256
    assert model(**inputs).isfinite().all()
    with pytest.raises(ValueError, match=r"at most 256; pass truncation=True"):
        model(**tokenizer(long, return_tensors="pt"))


@pytest.mark.parametrize("form", ["folded", "transformers"])
def test_code_of_the_card_runs_as_it_stands(
    form: str,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = made
    if form == "transformers":
        folder = tmp_path / "bundle"
        make(tmp_path, pooling="model", target=folder, compatible=True)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    printed = []
    for block in code_of(folder):
        exec(block, {})
        printed.append(capsys.readouterr().out)
    assert "good" in printed[0]
    assert len(printed) == (1 if form == "folded" else 2)
    assert form == "folded" or printed[1] == "OK\n"


def code_of(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)


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


def test_loader_and_writer_agree_on_names() -> None:
    from finegates_engine.folded.check import MANIFEST_FILE

    assert MANIFEST_FILE == bundle_folder.MANIFEST_FILE
    assert bundle_files.LOADER_FOLDER == "finegates_model"


@pytest.mark.slow
def test_onnx_file_is_certified_and_runs_from_the_card(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    target = tmp_path / "bundle"
    made = make(tmp_path, target=target, onnx=True)
    assert made.certificate.onnx is not None
    assert made.certificate.onnx.passed
    assert made.files["model.onnx"] == (target / "model.onnx").stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", code_of(target)[1]],
        cwd=target,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_fresh_environment_with_three_packages_is_enough(made: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    wanted = ["torch>=2.6,<2.14", "transformers>=5.10,<6", "safetensors>=0.5"]
    install = [str(python), "-m", "pip", "install", "-q", *wanted]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    code = "from finegates_model import check; print(check(sys.argv[1]))"
    assert float(isolated(code, made, python=python).split()[-1]) <= 1e-4
