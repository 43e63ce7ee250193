"""Token ids to time a model with: of the run's evaluation texts where they can be read. No torch
until a tokenizer is loaded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finegates_engine.data.load import load_task
from finegates_engine.errors import UserError
from finegates_engine.runs.stored_run import StoredRun

_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert")
_TEXTS = 512  # rows that are tokenised; larger batches repeat them


@dataclass(frozen=True)
class TokenStream:
    """Token ids one after the other, to be cut into rows of any length."""

    ids: NDArray[np.int64]
    """(tokens,)"""

    source: str
    """Where they came from, in words."""

    def rows(self, batch: int, tokens: int) -> NDArray[np.int64]:
        """(batch, tokens), full rows without padding; from its beginning again when it ends."""
        return np.resize(self.ids, (batch, tokens))


def token_stream(run: StoredRun, folder: Path) -> TokenStream:
    """The run's evaluation texts as token ids; random ids where the texts cannot be read here.

    folder: the backbone's local files.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    try:
        split = next(iter(load_task(run.config.task).validation.values()))
    except UserError as error:
        reason = str(error).splitlines()[0][:120]
        return TokenStream(_random_ids(tokenizer), f"random ids of the vocabulary ({reason})")
    texts = [list(column) for column in zip(*split.texts[:_TEXTS], strict=True)]
    rows = tokenizer(*texts, padding=False, truncation=True, max_length=run.config.task.max_tokens)
    ids = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows["input_ids"]])
    return TokenStream(ids, f"evaluation texts of {run.config.task.name}")


def most_tokens(folder: Path) -> int | None:
    """The longest row that the backbone in `folder` reads. None: its config does not say."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return None
    # These count positions from behind that of the padding token.
    offset = config.pad_token_id + 1 if config.model_type in _OFFSET_POSITIONS else 0
    return int(positions) - offset


def _random_ids(tokenizer: object) -> NDArray[np.int64]:
    special = set(getattr(tokenizer, "all_special_ids", ()))
    ids = np.array([i for i in range(len(tokenizer)) if i not in special], dtype=np.int64)  # type: ignore[arg-type]
    return np.random.default_rng(0).choice(ids, size=8192)
