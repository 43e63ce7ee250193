"""A task to checked rows and tokenised, length-bucketed batches.

`load_task` finds the rows (hub, folder, one file, or generated), checks them and encodes their
labels; `tokenize` makes them ready for batches. All that can be wrong with a file is said here,
before any training.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from finegates_engine.config import TaskConfig
from finegates_engine.data.batches import (
    TokenizedSplit,
    bucketed_batches,
    collate,
    tokenize_rows,
)
from finegates_engine.data.labels import encode_labels
from finegates_engine.data.table_files import (
    ID_FIELD,
    Rows,
    read_file,
    read_folder,
    read_hub,
)
from finegates_engine.errors import UserError
from finegates_engine.tasks import TaskSpec, complete_spec, resolve_task

__all__ = [
    "Split",
    "TaskData",
    "TokenizedSplit",
    "bucketed_batches",
    "collate",
    "load_task",
    "text_hashes",
    "tokenize",
]

VALIDATION_SHARE = 0.2
"""Share of one file's rows that validates."""

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows that are trained on, or scored."""

    texts: list[tuple[str, ...]]
    """One or two texts a row, in the order of the spec's text fields."""

    labels: Array
    """(rows,), int64 class indices or float32 values."""

    row_ids: npt.NDArray[np.int64]
    """(rows,), the source's `idx` where it has one, else the number of the row in its source."""

    def __len__(self) -> int:
        return len(self.texts)


@dataclasses.dataclass(frozen=True)
class TaskData:
    """The rows of a task, checked, with encoded labels."""

    spec: TaskSpec
    """The task, its class names and metrics decided."""

    train: Split
    """Rows to train on."""

    validation: dict[str, Split]
    """Rows to score, by split name, the headline first."""

    data_hash: str
    """SHA-256 over texts and encoded labels of all used rows, in order: 64 hex digits. File
    format, path and order of columns do not change it."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names by index; None: regression."""
        return self.spec.labels


def load_task(config: TaskConfig, *, seed_split: int = 0) -> TaskData:
    """The rows that a config names, checked and encoded.

    From `config.data`: a folder with a file for each split, or one file with all rows. Without
    it: generated for `agreement`, else from the hub. One file is split by content: of each class,
    the fifth of its distinct texts with the lowest hash (salted by `seed_split`) validates, so
    that equal texts stay together and the order of rows does not matter.

    Raises UserError for anything in the request or the rows that would spoil the training.
    """
    spec = resolve_task(config)
    rows = _read(config, spec)
    texts = {name: _texts(split, spec.text_fields) for name, split in rows.items()}
    names, labels = encode_labels(rows, spec, config.label_field)
    splits = {n: Split(texts[n], labels[n], _row_ids(rows[n].table)) for n in rows}
    if len(splits) == 1:
        splits = _split_file(rows["train"].where, splits["train"], names, seed_split)
    limits = {"train": config.max_train_samples}
    splits = {n: _first(s, limits.get(n, config.max_eval_samples)) for n, s in splits.items()}
    _check_used(splits, names, config)
    train = splits.pop("train")
    spec = complete_spec(spec, names, tuple(splits))
    return TaskData(spec, train, splits, _data_hash({"train": train} | splits))


def tokenize(data: TaskData, tokenizer: Any, max_tokens: int) -> dict[str, TokenizedSplit]:
    """All splits as token ids: "train", and the validation splits by name.

    tokenizer: of Hugging Face. max_tokens: of one row, pairs together; longer rows are cut.
    Raises UserError when the tokenizer takes fewer tokens.
    """
    splits = {"train": data.train} | data.validation
    return {n: tokenize_rows(s.texts, s.labels, tokenizer, max_tokens) for n, s in splits.items()}


def text_hashes(split: Split) -> list[str]:
    """For each row the first 16 hex digits of the SHA-256 of its texts, written as JSON."""
    return [_text_hash(texts) for texts in split.texts]


def _read(config: TaskConfig, spec: TaskSpec) -> dict[str, Rows]:
    required = (*spec.text_fields, config.label_field)
    wanted = (*required, ID_FIELD)
    if config.data is None:
        if spec.hub_id is None:
            return _generated()
        return read_hub(spec, wanted, required)
    path = Path(config.data).expanduser()
    if path.is_dir():
        return read_folder(path, spec, wanted, required)
    return {"train": read_file(path, wanted, required)}


def _generated() -> dict[str, Rows]:
    import pyarrow as pa

    from finegates_engine.data.agreement import generate

    return {
        name: Rows(f"agreement {name}", pa.Table.from_pylist(rows))
        for name, rows in generate().items()
    }


def _texts(rows: Rows, fields: tuple[str, ...]) -> list[tuple[str, ...]]:
    if not rows.table.num_rows:
        raise UserError(f"{rows.where} has no rows. Pass a file with rows.")
    return list(zip(*(_text_column(rows, field) for field in fields), strict=True))


def _text_column(rows: Rows, field: str) -> list[str]:
    """One text column, (rows,). Raises UserError if it is no text, or has gaps."""
    import pyarrow as pa

    column = rows.table.column(field)
    kind = column.type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    textual = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not any(check(kind) for check in (*textual, pa.types.is_null)):
        problem = "bytes that are not UTF-8" if pa.types.is_binary(kind) else str(kind)
        raise UserError(
            f"Column {field!r} of {rows.where} holds {problem}, not text. "
            "Choose another with --text-fields, or save the file as UTF-8 text."
        )
    try:
        texts = column.to_pylist()
    except UnicodeDecodeError as error:
        raise UserError(
            f"Column {field!r} of {rows.where} is not UTF-8 text: {error}. Save it as UTF-8."
        ) from error
    missing = [row for row, text in enumerate(texts) if text is None]
    if missing:
        raise UserError(
            f"Column {field!r} of {rows.where} has no text in {len(missing):,} of {len(texts):,} "
            f"rows, the first is row {missing[0]} (counted from 0). Fill or remove these rows."
        )
    return list(texts)


def _row_ids(table: Any) -> npt.NDArray[np.int64]:
    """The ID_FIELD where it holds distinct whole numbers, else the number of each row."""
    import pyarrow as pa

    if ID_FIELD in table.schema.names and pa.types.is_integer(table.column(ID_FIELD).type):
        listed = table.column(ID_FIELD).to_pylist()
        fits = all(i is not None and abs(i) < 2**63 for i in listed)
        if fits and len(set(listed)) == len(listed):
            return np.array(listed, dtype=np.int64)
    return np.arange(table.num_rows, dtype=np.int64)


def _split_file(
    where: str, rows: Split, names: tuple[str, ...] | None, seed: int
) -> dict[str, Split]:
    """Training and validation rows of one file, by the hash of their texts within each class."""
    label_of: dict[tuple[str, ...], float] = {}
    for texts, label in zip(rows.texts, rows.labels.tolist(), strict=True):
        stratum = 0 if names is None else label
        label_of[texts] = min(label_of.get(texts, stratum), stratum)
    strata: dict[float, list[tuple[str, ...]]] = {}
    for texts, label in label_of.items():
        strata.setdefault(label, []).append(texts)
    chosen: set[tuple[str, ...]] = set()
    for members in strata.values():
        members.sort(key=lambda texts: (_text_hash(texts, salt=str(seed)), texts))
        count = round(VALIDATION_SHARE * len(members))
        chosen.update(members[: max(count, int(len(members) > 1))])
    held_out = np.array([texts in chosen for texts in rows.texts], dtype=bool)
    if not held_out.any():
        raise UserError(
            f"{where} has too few rows to set some aside for validation: each class needs at "
            f"least 2 different texts. Add rows, or pass a folder with both splits."
        )
    return {"train": _take(rows, ~held_out), "validation": _take(rows, held_out)}


def _take(split: Split, rows: npt.NDArray[Any]) -> Split:
    indices = np.flatnonzero(rows)
    return Split([split.texts[i] for i in indices], split.labels[rows], split.row_ids[rows])


def _first(split: Split, count: int | None) -> Split:
    return Split(split.texts[:count], split.labels[:count], split.row_ids[:count])


def _check_used(
    splits: dict[str, Split], names: tuple[str, ...] | None, config: TaskConfig
) -> None:
    """Raises UserError where the used rows cannot be learned from, or scored."""
    cut = config.max_train_samples
    which = "training rows" if cut is None else f"training rows (the first {cut:,})"
    for name, split in splits.items():
        labels = np.unique(split.labels)
        if len(labels) < 2 and (name == "train" or names is None):
            only = names[int(labels[0])] if names else f"{labels[0]:g}"
            kind = which if name == "train" else f"{name} rows"
            raise UserError(
                f"All {kind} have the label {only!r}: nothing can be learned or scored. Pass rows "
                "of at least two labels, or raise --max-train-samples and --max-eval-samples."
            )
        lacking = np.setdiff1d(labels, splits["train"].labels)
        if names and len(lacking):
            classes = ", ".join(repr(names[int(i)]) for i in lacking)
            raise UserError(
                f"The {name} rows have the class {classes}, which the {which} lack. Add training "
                "rows of it, or raise --max-train-samples."
            )


def _data_hash(splits: dict[str, Split]) -> str:
    digest = hashlib.sha256()
    for name, split in splits.items():
        digest.update(f"{name} {len(split)}\n".encode())
        for texts, label in zip(split.texts, split.labels.tolist(), strict=True):
            digest.update(json.dumps([*texts, label]).encode())
    return digest.hexdigest()


def _text_hash(texts: tuple[str, ...], *, salt: str = "") -> str:
    return hashlib.sha256((salt + json.dumps(texts)).encode()).hexdigest()[:16]
