"""A small model's folder: loaded as it was written, refused when it is damaged."""

import json

import pytest
import torch
from folded_examples import HIDDEN, changed, model
from safetensors.torch import save_file
from tiny import save_tiny_backbone

from finegates_engine.folded import load, spec_to_json
from finegates_engine.folded.classifier import SPEC_FILE, WEIGHTS_FILE, load_model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, model) with a tokenizer."""
    folder = save_tiny_backbone(tmp_path_factory.mktemp("bundle"))
    made = model()
    (folder / SPEC_FILE).write_text(json.dumps(spec_to_json(made.spec)), encoding="utf-8")
    save_file(made.state_dict(), folder / WEIGHTS_FILE)
    return folder, made


@pytest.fixture
def folder(written, tmp_path):
    for name in (SPEC_FILE, WEIGHTS_FILE):
        (tmp_path / name).write_bytes((written[0] / name).read_bytes())
    return tmp_path


def test_loaded_model_gives_the_same_logits(written):
    folder, made = written
    loaded, tokenizer = load(folder)
    batch = tokenizer(["the film was good", "a dull walk"], padding=True, return_tensors="pt")
    assert torch.equal(loaded(**batch), made(**batch))
    assert not loaded.training
    assert loaded.blocks[0].attention.qkv.take_in.dtype == torch.int64


def test_folder_without_sizes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no folded\.json"):
        load(tmp_path)


def test_damaged_sizes_are_refused(folder):
    (folder / SPEC_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"folded\.json is damaged"):
        load_model(folder)


@pytest.mark.parametrize("damage", ["missing", "cut", "smaller", "huge", "extra"])
def test_weights_that_do_not_fit_are_refused(folder, damage):
    weights, spec = folder / WEIGHTS_FILE, folder / SPEC_FILE
    if damage == "missing":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "extra":
        save_file(model(pooling="tanh").state_dict(), weights)
    else:  # nothing of that size is allocated
        size = 99 if damage == "smaller" else 2**31 - 1
        spec.write_text(json.dumps(changed(("vocabulary",), size)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"model\.safetensors is missing, damaged or of another"):
        load_model(folder)


@pytest.mark.parametrize("value", [-1, HIDDEN])
def test_index_into_nothing_is_refused(folder, value):
    made = model()
    made.blocks[0].attention.qkv.take_in[3] = value
    save_file(made.state_dict(), folder / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=r"attention\.qkv\.take_in picks what is not there"):
        load_model(folder)
