"""Rows from files and from the hub, as Arrow tables of text, label and row number. No torch.

Nothing of a file is trusted: its size, its kind and its columns are checked before its rows are
read, nothing is unpickled, and no code of a dataset is run. Local files are read by Arrow itself,
not through the cache of `datasets`: no second copy, no lock between the runs of a sweep, and the
word "NA" in a CSV stays a word.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from finegates_engine.errors import UserError
from finegates_engine.tables.limits import BadTable, TableLimits
from finegates_engine.tasks import TaskSpec

MAX_FILE_BYTES = 2_000_000_000
"""Larger files are refused, packed or unpacked: all rows are held in memory."""

MAX_ROWS = 50_000_000
"""A file with more is refused."""

ID_FIELD = "idx"
"""Column with the number of a row, where a file has one, as in GLUE."""

_HEAD_BYTES = 2**20
_KINDS = {".parquet": "Parquet", ".csv": "CSV", ".jsonl": "JSON lines", ".json": "JSON lines"}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows as they were found: not yet checked for gaps, labels not yet encoded."""

    where: str
    """File or split, as error messages name it."""

    table: Any
    """pyarrow.Table with the text fields, the label and, where there is one, ID_FIELD."""

    class_names: tuple[str, ...] | None = None
    """Names of label indices that the source itself declares."""


def read_folder(
    folder: Path, spec: TaskSpec, wanted: Sequence[str], required: Sequence[str]
) -> dict[str, Rows]:
    """The splits of a folder: `train`, and those of the spec or, failing them, `validation`.

    wanted: columns to read where they exist; required: those that must. Raises UserError.
    """
    found = {name: _split_file(folder, name) for name in ("train", *spec.validation_splits)}
    splits = [name for name in spec.validation_splits if found[name]]
    if not splits:
        found["validation"] = _split_file(folder, "validation")
        splits = ["validation"]
    paths = {}
    for name in ("train", *splits):
        path = found[name]
        if path is None:
            there = ", ".join(sorted(p.name for p in folder.iterdir())[:10]) or "nothing"
            raise UserError(
                f"Folder {folder} has no {name}.parquet (or .csv, .jsonl); it holds {there}. "
                "Add the file, or pass one file with all rows: a fifth of them then validates."
            )
        paths[name] = path
    return {name: read_file(path, wanted, required) for name, path in paths.items()}


def read_file(
    path: Path,
    wanted: Container[str],
    required: Sequence[str],
    *,
    limits: TableLimits | None = None,
) -> Rows:
    """The wanted columns of one Parquet, CSV or JSON lines file.

    CSV: first line is the header; an empty field is missing, a quoted empty field is an empty
    text. JSON lines: columns of lists or objects are left out. Raises UserError for a file that is
    missing, empty, too large, not what its name says, or without a required column.
    """
    import pyarrow as pa

    kind, limits = _checked_kind(path), limits or TableLimits(MAX_FILE_BYTES, MAX_ROWS)
    try:
        if kind == "Parquet":
            return _read_parquet(path, wanted, required, limits)
        if kind == "CSV":
            table = _read_csv(path, limits)
        else:
            table = _read_json(path, wanted, required, limits)
        limits.check(rows=table.num_rows, columns=table.num_columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8.") from error
    except BadTable as error:
        raise UserError(f"{path} is not read: {error}. Cut it to what is needed.") from error
    except (pa.ArrowException, OSError, OverflowError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"{path} cannot be read as {kind}, which its name says it is: {reason}. "
            f"Save it as {kind}, or give it the extension of what it is."
        ) from error
    check_columns(str(path), table.schema.names, required)
    return Rows(str(path), _select(table, wanted))


def read_hub(spec: TaskSpec, wanted: Sequence[str], required: Sequence[str]) -> dict[str, Rows]:
    """The splits of a task from the Hugging Face hub, or from its local cache.

    Raises UserError when they cannot be had, for instance without a network.
    """
    import datasets

    rows = {}
    for name in ("train", *spec.validation_splits):
        try:
            split = datasets.load_dataset(spec.hub_id, spec.hub_config, split=name)
        except (OSError, RuntimeError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).split("\n")[0][:200]
            raise UserError(
                f"Task {spec.name!r} could not be loaded from the hub ({spec.hub_id}, split "
                f"{name}): {reason}. Without a network, pass --data FOLDER with train.parquet "
                f"and {spec.validation_splits[0]}.parquet."
            ) from error
        where = f"{spec.hub_id}/{spec.hub_config} {name}"
        check_columns(where, split.column_names, required)
        kept = [column for column in split.column_names if column in wanted]
        table = split.select_columns(kept).with_format("arrow")[:]
        names = getattr(split.features[required[-1]], "names", None)
        rows[name] = Rows(where, table, tuple(names) if names else None)
    return rows


def check_columns(where: str, names: Sequence[str], required: Sequence[str]) -> None:
    """Raises UserError for a required column that is absent or there twice."""
    for column in required:
        if names.count(column) != 1:
            problem = "no column" if column not in names else "more than one column"
            raise UserError(
                f"{where} has {problem} {column!r}. Its columns: {', '.join(names)}. "
                "Choose with --text-fields and --label-field."
            )


def _split_file(folder: Path, split: str) -> Path | None:
    there = [path for suffix in _KINDS if (path := folder / f"{split}{suffix}").is_file()]
    if len(there) > 1:
        raise UserError(
            f"Folder {folder} has {' and '.join(p.name for p in there)}; which of them is the "
            f"{split} split? Keep one."
        )
    return there[0] if there else None


def _checked_kind(path: Path) -> str:
    if not path.exists():
        raise UserError(f"{path} does not exist. Check the path given to --data.")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file. Pass a CSV, JSONL or Parquet file.")
    if path.suffix.lower() not in _KINDS:
        raise UserError(
            f"{path} has the extension {path.suffix!r}. Allowed: {', '.join(_KINDS)}. "
            "Save the rows in one of these formats."
        )
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty. Pass a file with rows.")
    if size > MAX_FILE_BYTES:
        raise UserError(
            f"{path} has {size / 1e9:.1f} GB; at most {MAX_FILE_BYTES / 1e9:g} GB are read. "
            "Cut it to the rows that are needed."
        )
    return _KINDS[path.suffix.lower()]


def _read_parquet(
    path: Path, wanted: Container[str], required: Sequence[str], limits: TableLimits
) -> Rows:
    import pyarrow.parquet as pq

    from finegates_engine.tables.parquet import read_parquet

    check_columns(str(path), pq.read_schema(path).names, required)
    with path.open("rb") as file:
        table = read_parquet(file, limits, wanted)
    return Rows(str(path), table, _declared_names(table.schema.metadata, required[-1:]))


def _declared_names(metadata: Any, label: Sequence[str]) -> tuple[str, ...] | None:
    """Class names that `datasets` wrote beside the columns, if they are well formed."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label[0]]["names"]
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _read_csv(path: Path, limits: TableLimits) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if b"\0" in head or head[:1] in (b"{", b"["):
        raise pa.ArrowInvalid("it begins like JSON" if head[:1] in b"{[" else "it is binary")
    limits.check(columns=_header_columns(head))
    return arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=path.stat().st_size + 1),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _header_columns(head: bytes) -> int:
    """Columns of a CSV by its header. head: the file's beginning."""
    try:
        rows = csv.reader(io.StringIO(head.decode("utf-8", "replace"), newline=""))
        names = next(rows, [])
    except csv.Error as error:
        raise BadTable(f"its header cannot be read ({error})") from error
    if len(head) == _HEAD_BYTES and rows.line_num > head.count(b"\n"):
        raise BadTable(f"its header is longer than {_HEAD_BYTES:,} bytes")
    return len(names)


def _read_json(
    path: Path, wanted: Container[str], required: Sequence[str], limits: TableLimits
) -> Any:
    """A line at a time by a parser that limits nesting: Arrow's own crashes on deep nesting, and
    needs minutes for many columns."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    nested: set[str] = set()
    seen: dict[str, None] = {}
    count = 0
    with path.open("rb") as file:
        for count, row in enumerate(_json_rows(file), start=1):
            if not row.keys() <= seen.keys():
                seen |= dict.fromkeys(row)
                limits.check(columns=len(seen))
            for name, value in row.items():
                if name not in wanted:
                    continue
                if isinstance(value, (dict, list)):
                    nested.add(name)
                column = columns.setdefault(name, [])
                column.extend([None] * (count - 1 - len(column)))
                column.append(None if name in nested else value)
            limits.check(rows=count)
    check_columns(str(path), list(seen), required)
    if lists := sorted(nested & set(required)):
        raise BadTable(
            f"its column {lists[0][:80]!r} holds lists or objects, not text and no labels"
        )
    flat = {name: values for name, values in columns.items() if name not in nested}
    return pa.table({name: own + [None] * (count - len(own)) for name, own in flat.items()})


def _json_rows(file: BinaryIO) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = from_json(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise pa.ArrowInvalid(f"line {number:,}: {error}") from error
        if not isinstance(row, dict):
            raise pa.ArrowInvalid(f"line {number:,} is no object with names and values")
        yield row


def _select(table: Any, wanted: Container[str]) -> Any:
    return table.select([name for name in table.schema.names if name in wanted])
