"""Where a backbone's files come from, and the hash of its weights."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import backbone_folder

from finegates_engine import backbone
from finegates_engine.backbone import PACKAGED_ID, local_folder, resolve_backbone, weights_hash
from finegates_engine.errors import UserError


def test_packaged_backbone_is_used_after_a_check_of_its_hash() -> None:
    folder = Path(resolve_backbone(PACKAGED_ID))
    assert (folder / "model.safetensors").is_file()
    assert local_folder(PACKAGED_ID) == folder


def test_packaged_backbone_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "PACKAGED_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"SHA-256 53aa51172d14\.\.\., expected 000000000000") as e:
        resolve_backbone(PACKAGED_ID)
    assert "pip install --force-reinstall" in str(e.value)


def test_hub_id_without_a_package_stays_a_hub_id() -> None:
    assert resolve_backbone("roberta-base") == "roberta-base"
    assert resolve_backbone("google-bert/bert-base-uncased") == "google-bert/bert-base-uncased"


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c"])
def test_missing_folder_is_named(name: str) -> None:
    with pytest.raises(UserError, match="does not exist") as caught:
        resolve_backbone(name)
    assert repr(name) in str(caught.value)


def test_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config\.json"):
        resolve_backbone(str(tmp_path))


def test_unreachable_hub_id_is_named() -> None:
    with pytest.raises(UserError, match="'no-such-organisation/no-such-model' is not a local"):
        local_folder("no-such-organisation/no-such-model")


def copy_with(
    folder: Path, *, dtype: torch.dtype | None = None, change: float = 0.0, files: int = 1
) -> Path:
    """A copy of the tiny BERT's weights, changed."""
    folder.mkdir()
    tensors = load_file(backbone_folder("bert") / "model.safetensors")
    if dtype is not None:
        tensors = {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}
    first = sorted(tensors)[0]
    tensors[first].view(-1)[0] += change
    names = sorted(tensors)
    for part in range(files):
        save_file({n: tensors[n] for n in names[part::files]}, folder / f"{part}.safetensors")
    return folder


def test_fp16_copy_and_shards_have_the_hash_of_the_original(tmp_path: Path) -> None:
    original = weights_hash(backbone_folder("bert"))
    assert weights_hash(copy_with(tmp_path / "half", dtype=torch.float16)) == original
    assert weights_hash(copy_with(tmp_path / "shards", files=3)) == original
    assert len(original) == 64


def test_changed_weight_and_changed_name_change_the_hash(tmp_path: Path) -> None:
    original = weights_hash(backbone_folder("bert"))
    assert weights_hash(copy_with(tmp_path / "changed", change=0.01)) != original
    renamed = copy_with(tmp_path / "renamed")
    tensors = load_file(renamed / "0.safetensors")
    name = sorted(tensors)[0]
    tensors[f"{name}2"] = tensors.pop(name)
    save_file(tensors, renamed / "0.safetensors")
    assert weights_hash(renamed) != original


def test_bf16_weights_have_a_hash(tmp_path: Path) -> None:
    folder = copy_with(tmp_path / "bf16", dtype=torch.bfloat16)
    assert weights_hash(folder) != weights_hash(backbone_folder("bert"))


def test_integer_buffers_do_not_count(tmp_path: Path) -> None:
    folder = copy_with(tmp_path / "with_ids")
    tensors = load_file(folder / "0.safetensors")
    tensors["embeddings.position_ids"] = torch.arange(40)
    save_file(tensors, folder / "0.safetensors")
    assert weights_hash(folder) == weights_hash(backbone_folder("bert"))


def test_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    shutil.copy(backbone_folder("bert") / "config.json", tmp_path)
    with pytest.raises(UserError, match=r"no \.safetensors file.*pickled weights are not loaded"):
        weights_hash(tmp_path)
