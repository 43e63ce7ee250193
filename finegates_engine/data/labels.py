"""Labels of any column to class indices or real values. No torch.

Every label is read as text first, so that 1, 1.0 and "1" are one class whatever the file format.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from finegates_engine.data.table_files import Rows
from finegates_engine.errors import UserError
from finegates_engine.tasks import TaskSpec

_MOST_DIGITS = 18  # of a label that is taken for a number
MAX_CLASSES = 1000
"""More distinct labels than this are taken for a wrong column."""

Array = npt.NDArray[Any]


def encode_labels(
    rows: dict[str, Rows], spec: TaskSpec, field: str
) -> tuple[tuple[str, ...] | None, dict[str, Array]]:
    """Class names (None: regression), and for each split its labels (rows,).

    Regression: the spec says so, or it is open and a label column holds decimal numbers; labels
    are float32. Classification: int64 indices into the names of the spec, else of the source,
    else the sorted distinct labels of the training rows (numbers by size, text by alphabet).
    Raises UserError for missing labels, and for a label that is no class of the task.
    """
    columns = {name: _plain_column(split, field) for name, split in rows.items()}
    declared = rows["train"].class_names
    open_kind = spec.kind is None and declared is None
    if spec.kind == "regression" or (open_kind and any(map(_holds_decimals, columns.values()))):
        return None, {n: _values(rows[n].where, field, c) for n, c in columns.items()}
    texts = {n: _label_texts(rows[n].where, field, c) for n, c in columns.items()}
    if known := spec.labels or declared:
        return known, {n: _known_indices(rows[n], field, t, known) for n, t in texts.items()}
    names = _sorted_names(rows["train"].where, field, texts["train"])
    return names, {n: _own_indices(rows[n].where, t, names) for n, t in texts.items()}


def _plain_column(rows: Rows, field: str) -> Any:
    """The label column as a flat array of numbers, text or booleans."""
    import pyarrow as pa

    column = rows.table.column(field)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    plain = (
        pa.types.is_integer(kind)
        or _is_decimal(kind)
        or _is_text(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )
    if not plain:
        raise UserError(
            f"Column {field!r} of {rows.where} holds {kind}, no labels: allowed are numbers and "
            "text. Choose another with --label-field."
        )
    return column.cast(pa.float64()) if pa.types.is_decimal(kind) else column


def _is_decimal(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _holds_decimals(column: Any) -> bool:
    return _is_decimal(column.type)


def _values(where: str, field: str, column: Any) -> Array:
    """Real-valued labels, float32 (rows,)."""
    try:
        listed = [np.nan if v is None else float(v) for v in column.to_pylist()]
    except ValueError as error:
        raise UserError(
            f"Column {field!r} of {where} must hold numbers, since the task is regression: "
            f"{error}. Choose another with --label-field."
        ) from error
    values = np.array(listed, dtype=np.float32)
    _check_missing(where, field, ~np.isfinite(values))
    return values


def _label_texts(where: str, field: str, column: Any) -> list[str]:
    """Labels as text: whole numbers without a point, booleans in lower case."""
    texts = []
    for value in column.to_pylist():
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        elif isinstance(value, float) and not np.isfinite(value):
            value = None
        texts.append("" if value is None else str(value).strip())
    _check_missing(where, field, np.array([not text for text in texts], dtype=bool))
    return texts


def _check_missing(where: str, field: str, missing: Array) -> None:
    if missing.any():
        raise UserError(
            f"{where}: {int(missing.sum()):,} of {len(missing):,} rows have no label in column "
            f"{field!r}, the first is row {int(missing.argmax())} (counted from 0). Remove these "
            "rows, or choose another column with --label-field."
        )


def _known_indices(rows: Rows, field: str, texts: list[str], names: Sequence[str]) -> Array:
    """Indices into known class names; a label is a name, or the index of one.

    Indices are read by the source's own names where these are the task's in another order.
    """
    index = {str(i): i for i in range(len(names))}
    if rows.class_names and set(rows.class_names) == set(names):
        index = {str(i): list(names).index(name) for i, name in enumerate(rows.class_names)}
    index |= {name: i for i, name in enumerate(names)}
    unlabelled = np.array([text == "-1" and text not in index for text in texts], dtype=bool)
    _check_missing(rows.where, field, unlabelled)
    for position, text in enumerate(texts):
        if text not in index:
            listed = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
            raise UserError(
                f"{rows.where}: row {position} has the label {text!r}, which is no class of the "
                f"task. Allowed: {listed}. Mend the file, or choose another --label-field."
            )
    return np.array([index[text] for text in texts], dtype=np.int64)


def _sorted_names(where: str, field: str, texts: list[str]) -> tuple[str, ...]:
    distinct = set(texts)
    if len(distinct) > MAX_CLASSES:
        raise UserError(
            f"{where}: column {field!r} has {len(distinct):,} different labels, at most "
            f"{MAX_CLASSES:,} classes are allowed. For regression write them as decimal numbers "
            "(3.0); otherwise choose another column with --label-field."
        )
    if all(_is_whole(text) for text in distinct):
        return tuple(sorted(distinct, key=int))
    return tuple(sorted(distinct))


def _is_whole(text: str) -> bool:
    """Whether the text is how Python writes some whole number: "01" stays a name."""
    short = len(text) <= _MOST_DIGITS
    return (
        short and text.removeprefix("-").isdecimal() and text.isascii() and str(int(text)) == text
    )


def _own_indices(where: str, texts: list[str], names: tuple[str, ...]) -> Array:
    index = {name: i for i, name in enumerate(names)}
    for position, text in enumerate(texts):
        if text not in index:
            note = " (-1 often marks rows without a label)" if text == "-1" else ""
            raise UserError(
                f"{where}: row {position} has the label {text!r}, which no training row has"
                f"{note}. Classes of the training rows: {', '.join(names[:20])}. Add training "
                "rows of that class, or remove these."
            )
    return np.array([index[text] for text in texts], dtype=np.int64)
