import json

import numpy as np
import pytest
from tiny import write_task

from finegates_engine.config import TaskConfig
from finegates_engine.data.load import Split, load_task, text_hashes
from finegates_engine.data.row_texts import find_texts, stored_place
from finegates_engine.errors import UserError


def hashes(*texts) -> list[str]:
    rows = [text if isinstance(text, tuple) else (text,) for text in texts]
    return text_hashes(Split(rows, np.zeros(len(rows)), np.arange(len(rows))))


def test_generated_texts_are_found_by_their_hashes():
    task = TaskConfig(name="agreement")
    wanted = load_task(task).validation["validation"]
    found = find_texts(task, text_hashes(wanted))
    assert len(found.by_hash) == len(set(wanted.texts))
    assert found.by_hash[text_hashes(wanted)[0]] == wanted.texts[0]
    assert found.fields == ("sentence",)


def test_texts_of_a_folder_are_those_of_its_validation_split(tmp_path):
    folder = write_task(tmp_path / "reviews")
    task = TaskConfig(name="reviews", data=str(folder), text_fields=("text",))
    wanted = text_hashes(load_task(task).validation["validation"])
    assert stored_place(task) == str(folder)
    assert set(find_texts(task, wanted).by_hash) == set(wanted)


def test_text_whose_hash_is_not_stored_is_not_given(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"sentence": t}) + "\n" for t in ("a b", "secret")))
    found = find_texts(TaskConfig(name="sst2"), hashes("a b"), data=file)
    assert list(found.by_hash.values()) == [("a b",)]
    assert not find_texts(TaskConfig(name="sst2"), hashes("other"), data=file).by_hash


def test_pairs_have_both_texts(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("sentence1,sentence2,label\nx,y,1\nz,,0\n")
    found = find_texts(TaskConfig(name="stsb"), hashes(("x", "y")), data=file)
    assert found.fields == ("sentence1", "sentence2")
    assert list(found.by_hash.values()) == [("x", "y")]


def test_rows_that_are_not_here_say_so(tmp_path):
    task = TaskConfig(name="sst2", data=str(tmp_path / "gone"))
    assert stored_place(task) is None
    with pytest.raises(UserError, match="not on this machine"):
        find_texts(task, hashes("x"))
    assert stored_place(TaskConfig(name="sst2")) is None


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("x.csv", "text,label\na,1\n", "no column 'sentence'"),
        ("x.parquet", "not parquet", "cannot be read as Parquet"),
        ("x.exe", "MZ", "x.exe"),
    ],
)
def test_file_that_is_not_one_says_why(tmp_path, name, text, problem):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=problem):
        find_texts(TaskConfig(name="sst2"), hashes("x"), data=tmp_path / name)


def test_training_rows_of_a_folder_are_not_given(tmp_path):
    folder = write_task(tmp_path / "reviews")
    task = TaskConfig(name="reviews", data=str(folder), text_fields=("text",))
    assert not find_texts(task, text_hashes(load_task(task).train)[:5]).by_hash
