"""`finegates prune`: what it prints, and how it refuses."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import typer
from tiny import save_tiny_backbone, write_task
from tiny_runs import places, tiny_run
from typer.testing import CliRunner, Result

from finegates_engine.bundle import pruned as bundle
from finegates_engine.cli.commands import prune
from finegates_engine.cli.entry import _said_plainly
from finegates_engine.parity import read_certificate
from finegates_engine.runs.store import RunStore

BAD_INPUT = 2


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return tiny_run(tmp_path)[0]


def run_prune(store: RunStore, *arguments: str | Path, run: str = "reviews") -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(_said_plainly(prune))
    words = [run, "--store", str(store.root), *map(str, arguments)]
    return CliRunner().invoke(app, words)


def refused(store: RunStore, *arguments: str | Path, run: str = "reviews") -> str:
    """Why, on one line, of a command that must leave nothing behind."""
    before = sorted(path for path in store.root.parent.rglob("*"))
    done = run_prune(store, *arguments, run=run)
    assert done.exit_code == BAD_INPUT, done.output
    after = sorted(path for path in store.root.parent.rglob("*"))
    assert [p for p in after if p not in before and p.name != ".index.parquet"] == []
    return " ".join(done.output.split())


def test_bundle_is_written_and_the_certificate_kept(store: RunStore, tmp_path: Path) -> None:
    done = run_prune(store, "--out", tmp_path / "bundle")
    assert done.exit_code == 0, done.output
    for text in (
        r"Target +40\.0% of encoder weights",
        r"Weights stored +\d+\.\d% of dense",
        r"Size on disk +.* \(dense: ",
        r"Latency +not measured: finegates bench reviews-",
        r"the folded model +40 .* 100\.00% the same",
        r"Check it: cd .*bundle && python -m finegates_model",
    ):
        assert re.search(text, done.output), (text, done.output)
    run = store.load(store.ids()[0])
    certificate = read_certificate(run)
    assert certificate is not None
    assert certificate.passed
    kept = (run.folder / "certificate.json").read_bytes()
    assert kept == (tmp_path / "bundle" / "certificate.json").read_bytes()


def test_without_out_only_the_certificate_is_made(store: RunStore, tmp_path: Path) -> None:
    done = run_prune(store)
    assert done.exit_code == 0, done.output
    again = rf"finegates prune reviews-\S+ --store {re.escape(str(store.root))} --out DIR"
    assert re.search(f"Certified. As a bundle: {again}", done.output), done.output
    assert store.load(store.ids()[0]).certificate is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_store_that_cannot_be_written_is_a_warning(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("finegates_engine.runs.store.write_atomic", fail)
    done = run_prune(store, "--out", tmp_path / "bundle")
    assert done.exit_code == 0, done.output
    assert "The certificate is not kept in the store" in done.output
    assert (tmp_path / "bundle" / "certificate.json").is_file()


def test_compatible_form_says_how_it_is_loaded(tmp_path: Path) -> None:
    store, _ = tiny_run(tmp_path, pooling="model")
    done = run_prune(store, "--out", tmp_path / "bundle", "--compatible")
    assert done.exit_code == 0, done.output
    assert "the transformers model" in done.output
    assert "AutoModelForSequenceClassification" in done.output


def test_mean_pooling_has_no_compatible_form(store: RunStore, tmp_path: Path) -> None:
    text = refused(store, "--out", tmp_path / "bundle", "--compatible")
    assert "averages over tokens" in text
    assert "--pooling model" in text


def test_onnx_that_is_not_installed_is_said_first(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finegates_engine.prune.onnx_export._NEEDED", ("no_such_package",))
    text = refused(store, "--out", tmp_path / "bundle", "--onnx")
    assert 'pip install "finegates-explorer[onnx]"' in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--round-to", "7"], "round_to must be one of (1, 8, 16, 32), got 7"),
        (["--heads", "wide"], "Unknown value of --heads 'wide'. Choose from: auto, padded, spread"),
        (["--residual", "x"], "Unknown value of --residual 'x'"),
        (["--backbone", "/no/such"], "'/no/such' of --backbone does not exist"),
        (["--data", "/no/such"], "Pass --data with the rows of run"),
    ],
)
def test_bad_option_is_named(arguments: list[str], text: str, store: RunStore) -> None:
    assert text in refused(store, *arguments)


def test_unknown_run_and_path_as_run_are_refused(store: RunStore) -> None:
    assert "No run id begins or ends with 'nothing'" in refused(store, run="nothing")
    assert "is not one" in refused(store, run="../../etc")


def test_other_base_weights_are_refused(store: RunStore, tmp_path: Path) -> None:
    other = save_tiny_backbone(tmp_path / "other-bert", seed=1)
    text = refused(store, "--out", tmp_path / "bundle", "--backbone", other)
    assert "was trained on weights with hash" in text
    assert "other-bert" in text


def test_base_model_that_has_moved_is_found_with_backbone(store: RunStore, tmp_path: Path) -> None:
    moved = shutil.copytree(places()[0], tmp_path / "moved")
    done = run_prune(store, "--backbone", moved)
    assert done.exit_code == 0, done.output


def test_other_rows_are_refused(store: RunStore, tmp_path: Path) -> None:
    rows = write_task(tmp_path / "other-rows", validation=20)
    text = refused(store, "--out", tmp_path / "bundle", "--data", rows)
    assert "are not those of run" in text


def test_run_without_weights_is_refused(store: RunStore, tmp_path: Path) -> None:
    run = store.load(store.ids()[0])
    record = json.loads((run.folder / "run.json").read_text())
    del record["files"]["adapter.safetensors"]  # as of a method that moves base weights
    (run.folder / "run.json").write_text(json.dumps(record))
    text = refused(store, "--out", tmp_path / "bundle")
    assert "keeps no weights" in text


def test_damaged_adapter_is_refused(store: RunStore, tmp_path: Path) -> None:
    adapter = store.load(store.ids()[0]).folder / "adapter.safetensors"
    data = bytearray(adapter.read_bytes())
    data[-5] ^= 1
    adapter.write_bytes(bytes(data))
    text = refused(store, "--out", tmp_path / "bundle")
    assert "adapter.safetensors" in text
    assert "is not the file that was saved" in text


def test_adapter_of_other_shapes_is_refused(store: RunStore, tmp_path: Path) -> None:
    run = store.load(store.ids()[0])
    arrays = dict(run.adapter)
    name = next(name for name in arrays if name.startswith("biases."))
    arrays[name] = arrays[name][:-1]
    data = safetensors.numpy.save(arrays)
    (run.folder / "adapter.safetensors").write_bytes(data)
    record = json.loads((run.folder / "run.json").read_text())
    described = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    record["files"]["adapter.safetensors"] = described
    (run.folder / "run.json").write_text(json.dumps(record))
    text = refused(store, "--out", tmp_path / "bundle")
    assert "cannot be folded: adapter tensor" in text


def test_architecture_that_is_not_in_the_table_is_refused(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(places()[0], tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "electra"}))
    text = refused(store, "--out", tmp_path / "bundle", "--backbone", other)
    assert "Model type 'electra' is not supported. Supported: bert, distilbert, roberta" in text


def test_folder_that_is_no_bundle_is_refused_before_anything_is_computed(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "compile_run", None)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert "is a file, not a folder" in refused(store, "--out", tmp_path / "file")
    assert "is not empty and no bundle" in refused(store, "--out", tmp_path / "full", "--force")
