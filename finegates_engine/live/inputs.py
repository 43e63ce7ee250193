"""A user's text as a batch of token ids."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finegates_engine.data.batches import collate, tokenize_rows
from finegates_engine.errors import UserError
from finegates_engine.live.results import Reading, Row
from finegates_engine.timing.inputs import TokenStream, most_tokens


@dataclass(frozen=True)
class Inputs:
    """Rows as tensors on the CPU."""

    tensors: Mapping[str, Tensor]
    """input_ids, attention_mask and, where the backbone has them, token_type_ids."""

    reading: Reading

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return len(self.tensors["input_ids"])

    def repeated(self, batch: int) -> "Inputs":
        """So many rows: these over and over, or the first of them."""
        index = torch.arange(batch) % self.rows
        return dataclasses.replace(self, tensors={n: v[index] for n, v in self.tensors.items()})

    def stream(self) -> TokenStream:
        """The tokens that are no padding, to be cut into full rows."""
        seen = self.tensors["attention_mask"].bool()
        return TokenStream(self.tensors["input_ids"][seen].numpy(), "your text")


def tokenizer_of(folder: Path) -> Any:
    """The backbone's tokenizer. folder: its local files."""
    from transformers import AutoTokenizer, logging

    logging.set_verbosity_error()  # it warns of long rows, which `Reading.cut` says
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def read_text(
    rows: Sequence[Row], tokenizer: Any, *, most: int, tokens: int | None = None
) -> Inputs:
    """Rows to tensors. most: tokens of a row unless `tokens` pads or cuts it to another length.

    Raises UserError where `tokens` is more than the backbone reads.
    """
    limit = most if tokens is None else tokens
    split = tokenize_rows(rows, np.zeros(len(rows), np.int64), tokenizer, limit)
    columns = [list(column) for column in zip(*rows, strict=True)]
    whole = tokenizer(*columns, truncation=False, padding=False)["input_ids"]
    batch = collate(split.rows(range(len(rows))), int(tokenizer.pad_token_id), max_tokens=limit)
    names = ("input_ids", "attention_mask", "token_type_ids")
    tensors = {name: batch[name] for name in names if name in batch}
    if tokens is not None:
        tensors = {n: _padded_to(v, tokens, n, tokenizer) for n, v in tensors.items()}
    width = tensors["input_ids"].shape[1]
    return Inputs(tensors, Reading(tokens=tuple(len(ids) for ids in whole), width=width))


def check_width(folder: Path, tokens: int | None) -> None:
    """Raises UserError where the backbone in `folder` does not read rows that long."""
    most = most_tokens(folder)
    if tokens is not None and most is not None and tokens > most:
        raise UserError(f"The backbone reads at most {most} tokens a row, got {tokens}.")


def _padded_to(values: Tensor, tokens: int, name: str, tokenizer: Any) -> Tensor:
    fill = int(tokenizer.pad_token_id) if name == "input_ids" else 0
    return nn.functional.pad(values, (0, tokens - values.shape[1]), value=fill)
