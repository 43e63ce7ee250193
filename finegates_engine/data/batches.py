"""Tokenised rows, batches of rows of like length, and their padding to tensors.

torch is imported when a batch becomes tensors, not before.
"""

import dataclasses
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from finegates_engine.errors import UserError

if TYPE_CHECKING:
    import torch

PAD_MULTIPLE = 8
"""Batches are padded to a multiple of this many tokens: fewer shapes, aligned matrices."""

_MEGA_BATCHES = 50  # as in Hugging Face's LengthGroupedSampler


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of whole numbers, each of its own length, in two flat arrays.

    A tenth of the memory of lists, and what processes of one machine can share.
    """

    values: npt.NDArray[np.int32]
    """All rows, one after the other."""

    ends: npt.NDArray[np.int64]
    """(rows,): where each row ends in `values`."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Self:
        """From one sequence a row."""
        values = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int32)
        return cls(values, np.cumsum([len(row) for row in rows], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> list[int]:
        """One row; negative indices count from the end. Raises IndexError."""
        end = self.ends[row]
        start = self.ends[row - 1] if row % len(self.ends) else 0
        values: list[int] = self.values[start:end].tolist()
        return values

    @property
    def lengths(self) -> list[int]:
        """Numbers in each row."""
        lengths: list[int] = np.diff(self.ends, prepend=0).tolist()
        return lengths


@dataclasses.dataclass(frozen=True, eq=False)
class TokenizedSplit:
    """Tokenised rows. Has length and items, so that a DataLoader or Trainer takes it as it is."""

    input_ids: Ragged
    """Token ids of each row, special tokens included, not padded."""

    labels: npt.NDArray[Any]
    """(rows,), int64 classes or float32 values."""

    token_type_ids: Ragged | None = None
    """0 for the first text and 1 for the second, where the tokenizer tells them apart."""

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """One row for `collate`: input_ids, token_type_ids (if any), labels, row (its index)."""
        item: dict[str, Any] = {"input_ids": self.input_ids[row]}
        if self.token_type_ids is not None:
            item["token_type_ids"] = self.token_type_ids[row]
        return item | {"labels": self.labels[row].item(), "row": row}

    def rows(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of one batch."""
        return [self[index] for index in indices]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return self.input_ids.lengths


def tokenize_rows(
    texts: Sequence[tuple[str, ...]], labels: npt.NDArray[Any], tokenizer: Any, max_tokens: int
) -> TokenizedSplit:
    """Rows of one or two texts to token ids, cut to `max_tokens` (of a pair, the longer text).

    tokenizer: of Hugging Face. Raises UserError when it takes fewer than `max_tokens` tokens.
    """
    if max_tokens > tokenizer.model_max_length:
        raise UserError(
            f"max_tokens is {max_tokens}, but the backbone reads at most "
            f"{tokenizer.model_max_length} tokens. Lower --max-tokens."
        )
    columns = [list(column) for column in zip(*texts, strict=True)]
    encoded = tokenizer(
        *columns, truncation=True, max_length=max_tokens, padding=False, return_attention_mask=False
    )
    types = encoded.get("token_type_ids")
    return TokenizedSplit(
        Ragged.of(encoded["input_ids"]), labels, None if types is None else Ragged.of(types)
    )


def bucketed_batches(
    lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int
) -> list[list[int]]:
    """Row indices of each batch of one epoch, rows of like length together.

    Rows are shuffled, cut into groups of 50 batches, sorted by length inside a group and cut into
    batches, whose order is shuffled. Every row comes once; the same seed and epoch give the same
    batches. lengths: (rows,) tokens.
    """
    # Strings seed by SHA-512, so that neighbouring seeds and epochs share nothing.
    generator = random.Random(f"batches {seed} {epoch}")  # noqa: S311, no secret
    order = list(range(len(lengths)))
    generator.shuffle(order)
    group = _MEGA_BATCHES * batch_size
    batches = []
    for start in range(0, len(order), group):
        rows = sorted(order[start : start + group], key=lambda row: -lengths[row])
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    generator.shuffle(batches)
    return batches


def collate(
    rows: Sequence[Mapping[str, Any]], pad_id: int, *, max_tokens: int | None = None
) -> dict[str, "torch.Tensor"]:
    """Rows to tensors, padded on the right to a multiple of 8 tokens, at most `max_tokens`.

    rows: items of a TokenizedSplit. Gives input_ids, attention_mask and token_type_ids (if any),
    int64 (batch, tokens); labels (batch,), int64 or float32; row (batch,), int64, unless the
    Trainer has taken it away as no input of the model. max_tokens: for backbones whose longest
    input is no multiple of 8; a row is never cut.
    """
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    width = -(-longest // PAD_MULTIPLE) * PAD_MULTIPLE
    if max_tokens is not None:
        width = max(longest, min(width, max_tokens))
    columns = {
        "input_ids": _padded([row["input_ids"] for row in rows], pad_id, width),
        "attention_mask": _padded([[1] * len(row["input_ids"]) for row in rows], 0, width),
    }
    if "token_type_ids" in rows[0]:
        columns["token_type_ids"] = _padded([row["token_type_ids"] for row in rows], 0, width)
    batch = {name: torch.from_numpy(values) for name, values in columns.items()}
    real = isinstance(rows[0]["labels"], float)
    kind = torch.float32 if real else torch.int64
    batch["labels"] = torch.tensor([row["labels"] for row in rows], dtype=kind)
    if "row" in rows[0]:
        batch["row"] = torch.tensor([row["row"] for row in rows], dtype=torch.int64)
    return batch


def _padded(lists: list[list[int]], value: int, width: int) -> npt.NDArray[np.int64]:
    padded = np.full((len(lists), width), value, dtype=np.int64)
    for row, values in enumerate(lists):
        padded[row, : len(values)] = values
    return padded
