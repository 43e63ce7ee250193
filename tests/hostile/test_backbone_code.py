"""A backbone whose files bring Python code or pickles: neither is run."""

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest

from finegates_engine.backbone import local_folder, weights_hash
from finegates_engine.errors import UserError


class Boom:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was opened')",))


@pytest.fixture
def folder(tiny_backbone, tmp_path):
    return shutil.copytree(tiny_backbone, tmp_path / "backbone")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("kind", ["bert", "mine"])
def test_code_beside_a_backbone_is_refused_by_name(folder, name, kind):
    (folder / "modeling_mine.py").write_text("raise SystemExit('its code was run')")
    values = json.loads((folder / name).read_text())
    values |= {"auto_map": {"AutoModel": "modeling_mine.Mine", "AutoConfig": "modeling_mine.C"}}
    if name == "config.json":
        values["model_type"] = kind
    (folder / name).write_text(json.dumps(values))
    with pytest.raises(
        UserError, match=rf"Python code of its own \(auto_map in {name}\), which is"
    ):
        local_folder(str(folder))


def test_pickled_weights_are_never_opened(folder):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Boom()))
    before = weights_hash(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no .safetensors file. .*pickled weights are not loaded"):
        weights_hash(folder)
    assert before


def test_no_loader_is_left_to_ask_whether_code_may_be_run():
    source = Path(__file__).parents[2] / "finegates_engine"
    for path in source.rglob("*.py"):
        text = path.read_text()
        loaded = re.findall(r"\bAuto\w+\.from_pretrained\(\s*(?:[^()]|\([^()]*\))*\)", text)
        for call in loaded:
            shown = path.name in (
                "usage.py",
                "prune.py",
            )  # code that is printed, of our own bundles
            assert shown or "trust_remote_code=False" in call or "**safe" in call, (path, call)
            assert "trust_remote_code=True" not in call


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff"])
def test_a_config_that_cannot_be_read_is_said_so(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config.json of the backbone in .* cannot be read"):
        local_folder(str(folder))
