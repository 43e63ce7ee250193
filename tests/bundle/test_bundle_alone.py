"""A bundle is used without this package, as its card says."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import make
from tiny_runs import places, tiny_run

from finegates_engine.fold.block import DEFAULT
from finegates_engine.folded import load
from finegates_engine.folded.check import answer
from finegates_engine.prune.certify import certify, task_of
from finegates_engine.prune.compiled import compile_run

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


def test_model_can_be_asked_for_the_share_of_each_class(made: Path) -> None:
    found = answer(made, ["the film was great"])
    assert list(found) == ["bad", "good"]
    assert sum(found.values()) == pytest.approx(1)


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
