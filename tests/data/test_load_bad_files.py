"""Files, columns and texts that cannot be used are refused with the reason."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from task_rows import make_folder, make_frame, own_task, refused, write


def test_missing_path_and_strange_files_are_refused(tmp_path):
    refused(own_task(tmp_path / "none.csv"), "none.csv does not exist. Check the path")
    (tmp_path / "rows.pkl").write_bytes(b"\x80\x04")
    refused(own_task(tmp_path / "rows.pkl"), r"extension '.pkl'. Allowed: .parquet, .csv, .jsonl")
    (tmp_path / "rows.csv").touch()
    refused(own_task(tmp_path / "rows.csv"), "rows.csv is empty")
    os.mkfifo(tmp_path / "pipe.csv")
    refused(own_task(tmp_path / "pipe.csv"), "is not a regular file")


def test_folder_without_a_split_says_what_it_holds(tmp_path):
    write(make_frame(), tmp_path / "train.parquet")
    text = refused(own_task(tmp_path), r"has no validation.parquet \(or .csv, .jsonl\)")
    assert "it holds train.parquet." in text
    assert "a fifth of them" in text


def test_folder_with_two_files_for_a_split_is_refused(tmp_path):
    make_folder(tmp_path, make_frame(), make_frame())
    write(make_frame(), tmp_path / "train.csv")
    refused(
        own_task(tmp_path), r"has train.parquet and train.csv; which of them is the train split"
    )


def test_file_over_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.truncate(2_100_000_000)  # sparse: no bytes on disk
    refused(own_task(path), r"has 2.1 GB; at most 2 GB are read")


def test_parquet_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = write(make_frame(4000), tmp_path / "rows.parquet")
    monkeypatch.setattr("finegates_engine.data.table_files.MAX_FILE_BYTES", path.stat().st_size)
    refused(own_task(path), "is not read: it unpacks to more than [0-9,]+ bytes")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.parquet", b"text,label\na,1\n"),
        ("rows.parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
        ("rows.csv", b"PAR1\0\0\0"),
        ("rows.csv", b'{"text": "a", "label": 1}\n'),
        ("rows.csv", b"text,label\na,1,2\n"),
        ("rows.jsonl", b"text,label\na,1\n"),
        ("rows.json", b'[{"text": "a", "label": 1}]'),
        ("rows.jsonl", b'{"text": "a", "label": 1}\n{"text": 5, "label": 1}\n'),
    ],
)
def test_file_that_is_not_what_its_name_says_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(own_task(tmp_path / name), f"{name} cannot be read as .*, which its name says it is: ")


def test_unknown_column_is_answered_with_the_columns_there_are(tmp_path):
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = write(make_frame(), tmp_path / f"rows{suffix}")
        text = refused(own_task(path, text_fields=("txt",)), "has no column 'txt'")
        assert "Its columns: text, other, label." in text
        refused(own_task(path, label_field="y"), "has no column 'y'. Its columns: text, other")


def test_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("text,text,label\na,b,1\n")
    refused(own_task(tmp_path / "rows.csv"), "more than one column 'text'")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_column_without_text_is_refused(tmp_path, suffix):
    path = write(make_frame().assign(text=range(40)), tmp_path / f"rows{suffix}")
    refused(own_task(path), "Column 'text' of .* holds int64, not text")


def test_column_of_lists_is_no_text_and_no_label(tmp_path):
    table = pa.table({"text": ["a"] * 4, "lists": [[1], [2], [3], [4]], "label": [0, 1, 0, 1]})
    pq.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "lists": [1], "label": 0}\n')
    for name in ("rows.parquet", "rows.jsonl"):
        for fields in ({"text_fields": ("lists",)}, {"label_field": "lists"}):
            refused(
                own_task(tmp_path / name, **fields), "'lists' holds list.*, not text and no labels"
            )


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"text,label\ncaf\xe9,1\nb,0\n")
    refused(own_task(tmp_path / "rows.csv"), "holds bytes that are not UTF-8, not text")
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "caf\xe9", "label": 1}\n')
    refused(own_task(tmp_path / "rows.jsonl"), "rows.jsonl is not UTF-8 text: .* Save it as UTF-8")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_without_text_are_counted_and_the_first_is_named(tmp_path, suffix):
    frame = make_frame()
    frame.loc[[5, 9], "text"] = None
    path = write(frame, tmp_path / f"rows{suffix}")
    refused(own_task(path), r"has no text in 2 of 40 rows, the first is row 5 \(counted from 0\)")


def test_file_with_a_header_alone_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\n")
    refused(own_task(tmp_path / "rows.csv"), "rows.csv has no rows")
