"""Rows that a user gives to see the texts of a run."""

import tempfile
from pathlib import Path
from typing import Any

from explorer.loading.uploads import UPLOAD_LIMITS
from finegates_engine.analysis.compare_runs import Comparison
from finegates_engine.data.row_texts import RowTexts, find_texts
from finegates_engine.errors import UserError
from finegates_engine.results import RunRecord

FILES = ["parquet", "csv", "jsonl", "json"]
"""Endings of files that are read."""


def given_rows(record: RunRecord, found: Comparison, uploaded: Any, typed: str) -> RowTexts:
    """The texts of a run's rows from an upload, or from a place on the server's disk.

    uploaded: Streamlit's file, or None; typed: a path. Raises UserError that names no file.
    """
    hashes = set(found.rows["text_hash"])
    if uploaded is None:
        try:
            return find_texts(record.config.task, hashes, data=Path(typed))
        except (UserError, ValueError, OSError) as error:
            # Whoever sees this page must not learn from it what else lies on the machine.
            raise UserError(
                "At that place there are no rows of this run's columns. Give a CSV, JSON lines or "
                "Parquet file, or a folder with one for each split."
            ) from error
    ending = uploaded.name.rsplit(".", 1)[-1].lower()
    if ending not in FILES:
        raise UserError(f"Only {', '.join(FILES)} files are read here.")
    with tempfile.TemporaryDirectory() as folder:
        # Only the ending of the name is taken from the user.
        path = Path(folder) / f"upload.{ending}"
        path.write_bytes(uploaded.getvalue())
        try:
            return find_texts(record.config.task, hashes, data=path, limits=UPLOAD_LIMITS)
        except UserError as error:
            raise UserError(str(error).replace(str(path), "The file")) from error
