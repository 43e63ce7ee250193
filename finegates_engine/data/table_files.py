"""Rows from files and from the hub, as Arrow tables of text, label and row number. No torch.

Nothing of a file is trusted: its size, its kind and its columns are checked before its rows are
read, nothing is unpickled, and no code of a dataset is run. Local files are read by Arrow itself,
not through the cache of `datasets`: no second copy, no lock between the runs of a sweep, and the
word "NA" in a CSV stays a word.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finegates_engine.errors import UserError
from finegates_engine.tasks import TaskSpec

MAX_FILE_BYTES = 2_000_000_000
"""Larger files are refused, packed or unpacked: all rows are held in memory."""

ID_FIELD = "idx"
"""Column with the number of a row, where a file has one, as in GLUE."""

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


def read_file(path: Path, wanted: Sequence[str], required: Sequence[str]) -> Rows:
    """The wanted columns of one Parquet, CSV or JSON lines file.

    CSV: first line is the header; an empty field is missing, a quoted empty field is an empty
    text. Raises UserError for a file that is missing, empty, too large, not what its name says,
    or without a required column.
    """
    import pyarrow as pa

    kind = _checked_kind(path)
    try:
        if kind == "Parquet":
            return _read_parquet(path, wanted, required)
        table = _read_csv(path) if kind == "CSV" else _read_json(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
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


def _read_parquet(path: Path, wanted: Sequence[str], required: Sequence[str]) -> Rows:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        check_columns(str(path), schema.names, required)
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        unpacked = sum(group.total_byte_size for group in groups)
        if unpacked > MAX_FILE_BYTES:
            raise UserError(
                f"{path} unpacks to {unpacked / 1e9:.1f} GB; at most {MAX_FILE_BYTES / 1e9:g} GB "
                "are read. Cut it to the rows that are needed."
            )
        table = file.read(columns=[name for name in schema.names if name in wanted])
    return Rows(str(path), table, _declared_names(schema.metadata, required[-1]))


def _declared_names(metadata: Any, label: str) -> tuple[str, ...] | None:
    """Class names that `datasets` wrote beside the columns, if they are well formed."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _read_csv(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as file:
        head = file.read(4096)
    if b"\0" in head or head[:1] in (b"{", b"["):
        raise pa.ArrowInvalid("it begins like JSON" if head[:1] in b"{[" else "it is binary")
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False, block_size=path.stat().st_size + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _read_json(path: Path) -> Any:
    from pyarrow import json as arrow_json

    options = arrow_json.ReadOptions(use_threads=False, block_size=path.stat().st_size + 1)
    return arrow_json.read_json(path, read_options=options)


def _select(table: Any, wanted: Sequence[str]) -> Any:
    return table.select([name for name in table.schema.names if name in wanted])
