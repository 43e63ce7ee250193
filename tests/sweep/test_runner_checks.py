"""What cannot work is said before the first training."""

from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_config

from finegates_engine.config import RunConfig
from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import run_sweep


def test_everything_is_checked_before_the_first_training(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]], tmp_path: Path
) -> None:
    task, model = base.task, base.model
    cases: list[tuple[dict[str, Any], str]] = [
        ({"task": {"name": "mrcp", "data": None}}, "Unknown task 'mrcp'. Choose from: agreement"),
        ({"task": {"text_fields": ["body"]}}, "has no column 'body'. Its columns: "),
        ({"task": {"max_tokens": 999}}, "the backbone reads at most 256 tokens"),
        ({"model": {"backbone": "./no-model"}}, "Backbone folder './no-model' does not exist."),
        ({"gates": {"axes": "attention"}}, "target must be at most 0.500 of encoder_weights"),
        ({"method": "lottery"}, "Unknown method 'lottery'. Choose from: activation, "),
    ]
    for changes, message in cases:
        wrong = tiny_config(Path(model.backbone), Path(str(task.data)), **changes)
        with pytest.raises(UserError) as error:
            run_sweep(wrong, (0.0, 0.9), (0,), store=store)
        assert message in str(error.value), changes
    assert trained == []
    assert not (store.root / ".sweeps").exists()


def test_backbones_that_cannot_be_used_are_named(
    tiny_task: Path, store: RunStore, tiny_backbone: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    cases = {"{": f"config.json of the backbone in {str(bare)!r} cannot be read: EOF"}
    cases['{"model_type": "t5"}'] = "Model type 't5' is not supported. Supported: bert, distilbert,"
    cases['{"model_type": "bert"}'] = "has no .safetensors file"
    for text, message in cases.items():
        (bare / "config.json").write_text(text)
        with pytest.raises(UserError) as error:
            run_sweep(tiny_config(bare, tiny_task), (0.0,), (0,), store=store)
        assert message in str(error.value)
    (bare / "config.json").write_text((tiny_backbone / "config.json").read_text())
    (bare / "model.safetensors").write_bytes((tiny_backbone / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"has no tokenizer. Save the model's own there"):
        run_sweep(tiny_config(bare, tiny_task), (0.0,), (0,), store=store)


def test_a_store_that_is_a_file_is_refused(base: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Store '.*file' (cannot be written|is not a folder)"):
        run_sweep(base, (0.0,), (0,), store=RunStore(tmp_path / "file"))
