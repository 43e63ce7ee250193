"""A bundle holds all that it needs, what was certified, and nothing else."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from tiny import REPOSITORY
from tiny_runs import places, tiny_run

from finegates_engine.bundle import files as bundle_files
from finegates_engine.bundle import folder as bundle_folder
from finegates_engine.folded import class_names, load_model
from finegates_engine.prune.compiled import compile_run


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


def test_stored_weights_are_the_certified_ones_to_the_bit(made: Path, tmp_path: Path) -> None:
    _, run = tiny_run(tmp_path)
    expected = compile_run(run, places()[0]).folded.state_dict()
    found = load_model(made).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


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


def test_loader_and_writer_agree_on_names() -> None:
    from finegates_engine.folded.check import MANIFEST_FILE

    assert MANIFEST_FILE == bundle_folder.MANIFEST_FILE
    assert bundle_files.LOADER_FOLDER == "finegates_model"
