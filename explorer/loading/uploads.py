"""Files that a user uploads: checked, kept in the store under names of their content, read."""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finegates_engine.data.table_files import read_file
from finegates_engine.errors import UserError
from finegates_engine.files import write_atomic
from finegates_engine.sweep.state import FOLDER
from finegates_engine.tables.limits import TableLimits

UPLOADS = "uploads"
UPLOAD_MB = 50
"""Larger files are refused."""

UPLOAD_LIMITS = TableLimits(unpacked_bytes=500_000_000, rows=2_000_000, columns=1000)
"""Of an uploaded file, once it is unpacked."""

KINDS = ("csv", "jsonl")
KEPT = 20
"""Uploaded files that are kept, the last used ones."""

UPLOAD = r"^[0-9a-f]{32}\.(csv|jsonl)$"
"""Name of a kept file."""

_FIELD_NAMES = {
    "--text-fields": "Text columns",
    "--label-field": "Label column",
    "--max-train-samples": "Training rows",
    "--max-eval-samples": "Evaluation rows",
    "--data FOLDER": "a folder on the command line: finegates sweep --data FOLDER",
    "--data": "the file",
}


def save_upload(root: Path, name: str, data: bytes) -> str:
    """Keep a user's file under a name made from its content. Raises UserError.

    name: the user's, of which only the ending counts.
    """
    kind = name.rpartition(".")[2].lower()
    if kind not in KINDS:
        raise UserError(f"Only {' and '.join(k.upper() for k in KINDS)} files are read here.")
    if len(data) > UPLOAD_MB * 2**20:
        raise UserError(
            f"The file has {len(data) / 2**20:.0f} MB; at most {UPLOAD_MB} MB are read here. "
            "On the command line `finegates sweep --data FILE` takes larger ones."
        )
    if not data.strip():
        raise UserError("The file is empty. Choose one with a header and rows.")
    kept = f"{hashlib.sha256(data).hexdigest()[:32]}.{kind}"
    path = upload_path(root, kept)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_atomic(path, data)
        path.touch()
        _forget_old(path.parent)
    except OSError as error:
        raise UserError(f"The file cannot be kept in the store: {error.strerror}.") from error
    return kept


def upload_path(root: Path, upload: str) -> Path:
    """Where an uploaded file lies."""
    assert re.fullmatch(UPLOAD, upload)
    return root / FOLDER / UPLOADS / upload


def read_upload(root: Path, upload: str, name: str) -> Any:
    """All columns of an uploaded file, pyarrow.Table. Raises UserError in the user's words."""
    with in_users_words(upload_path(root, upload), name):
        try:
            path = upload_path(root, upload)
            table = read_file(path, _EveryColumn(), (), limits=UPLOAD_LIMITS).table
        except KeyError as error:  # of Arrow, which finds no single column of that name
            raise UserError(
                f"{name} has two columns of one name. Rename one of them in its first line."
            ) from error
        if not table.num_rows:
            raise UserError(f"{name} has a header and no rows. Choose a file with rows.")
        if table.num_columns < 2:
            raise UserError(
                f"{name} has one column, {table.schema.names[0][:80]!r}. Text and label need a "
                "column each. Is the first line the header, with commas between the names?"
            )
        return table


@contextlib.contextmanager
def in_users_words(place: Path, name: str) -> Iterator[None]:
    """Errors with the user's file and the form's fields in place of paths and options."""
    try:
        yield
    except UserError as error:
        text = str(error).replace(str(place), name)
        raise UserError(form_words(text)) from error


def form_words(text: str) -> str:
    """A message of the command line with the form's field names in place of the options."""
    for option, field in _FIELD_NAMES.items():
        text = text.replace(option, field)
    return text


class _EveryColumn(tuple):  # type: ignore[type-arg]
    """As a list of wanted columns: all there are."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return True


def _forget_old(folder: Path) -> None:
    files: Sequence[Path] = sorted(
        folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in files[KEPT:]:
        path.unlink(missing_ok=True)
