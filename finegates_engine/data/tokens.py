"""All rows of a task as token ids: made once, and shared by the cells of a sweep."""

import dataclasses
from pathlib import Path

from finegates_engine.data.batches import TokenizedSplit
from finegates_engine.data.load import TaskData, tokenize


@dataclasses.dataclass(frozen=True, eq=False)
class TaskTokens:
    """The rows of a task, tokenised."""

    splits: dict[str, TokenizedSplit]
    """"train", and the validation splits by name."""

    pad_id: int
    """Token id of padding."""


def task_tokens(data: TaskData, folder: Path, max_tokens: int) -> TaskTokens:
    """All rows with the tokenizer of a backbone's folder, each cut to `max_tokens`.

    Raises UserError where the backbone reads fewer tokens.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return TaskTokens(tokenize(data, tokenizer, max_tokens), int(tokenizer.pad_token_id))
