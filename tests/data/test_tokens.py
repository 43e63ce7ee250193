"""All rows of a task as token ids."""

from pathlib import Path

import pytest
from tiny import tiny_config

from finegates_engine.data.load import load_task
from finegates_engine.data.tokens import task_tokens
from finegates_engine.errors import UserError


def test_every_split_is_tokenised_and_cut(tiny_backbone: Path, tiny_task: Path) -> None:
    data = load_task(tiny_config(tiny_backbone, tiny_task).task)
    tokens = task_tokens(data, tiny_backbone, 6)
    assert {name: len(split) for name, split in tokens.splits.items()} == {
        "train": 96, "validation": 40,
    }  # fmt: skip
    assert max(tokens.splits["train"].lengths) == 6
    assert tokens.pad_id == 0
    with pytest.raises(UserError, match="the backbone reads at most 256 tokens"):
        task_tokens(data, tiny_backbone, 257)
