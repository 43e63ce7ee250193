"""Made-up rows of an own task, the files that hold them, and what is said of bad ones."""

import csv

import pandas as pd
import pytest

from finegates_engine.config import TaskConfig
from finegates_engine.data.load import load_task
from finegates_engine.errors import UserError

TEXTS = ["a fine film", "NA", "", 'she said "no"', "two\nlines", "café, très bien", "null", "3.5"]
LABELS = [1, 0, 1, 0, 1, 0, 0, 1]


def make_frame(rows=40):
    """Rows with a text, another text and a label of two classes."""
    return pd.DataFrame(
        {
            "text": [f"{TEXTS[i % 8]} {i}" for i in range(rows)],
            "other": [f"other {i}" for i in range(rows)],
            "label": [LABELS[i % 8] for i in range(rows)],
        }
    )


def write(frame, path):
    """The rows as a file of the kind that its name says."""
    if path.suffix == ".csv":
        # An empty text is told from a missing one by its quotes.
        quoting = csv.QUOTE_MINIMAL if frame.isna().any(axis=None) else csv.QUOTE_NONNUMERIC
        frame.to_csv(path, index=False, quoting=quoting)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path, index=False)
    return path


def make_folder(tmp_path, train, validation, suffix=".parquet"):
    """A folder with a file for each split."""
    write(train, tmp_path / f"train{suffix}")
    write(validation, tmp_path / f"validation{suffix}")
    return tmp_path


def own_task(path, **options):
    """An own task on the file or folder; its text is in column `text`."""
    return TaskConfig(name="mine", data=str(path), **{"text_fields": ("text",), **options})


def refused(config, match):
    """Why the rows cannot be loaded."""
    with pytest.raises(UserError, match=match) as caught:
        load_task(config)
    return str(caught.value)
