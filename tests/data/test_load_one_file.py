"""One file with all rows: a fifth is set aside for validation."""

import numpy as np
import pandas as pd
from task_rows import make_frame, own_task, refused, write

from finegates_engine.data.load import load_task


def test_one_file_gives_a_fifth_of_each_class_to_validation(tmp_path):
    frame = pd.DataFrame(
        {"text": [f"text {i}" for i in range(120)], "label": ["few"] * 20 + ["many"] * 100}
    )
    data = load_task(own_task(write(frame, tmp_path / "rows.jsonl")))
    check = data.validation["validation"]
    assert np.bincount(check.labels).tolist() == [4, 20]
    assert np.bincount(data.train.labels).tolist() == [16, 80]
    assert sorted([*data.train.row_ids, *check.row_ids]) == list(range(120))


def test_split_of_one_file_depends_on_its_texts_and_the_seed_alone(tmp_path):
    frame = pd.concat(
        [make_frame(100), make_frame(30).assign(label=lambda rows: 1 - rows["label"])]
    )
    one = load_task(own_task(write(frame, tmp_path / "rows.csv")))
    turned = load_task(own_task(write(frame.iloc[::-1], tmp_path / "turned.parquet")))
    other = load_task(own_task(tmp_path / "rows.csv"), seed_split=1)
    chosen = [set(data.validation["validation"].texts) for data in (one, turned, other)]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_equal_texts_of_one_file_stay_on_one_side(tmp_path):
    frame = pd.concat([make_frame(30), make_frame(30), make_frame(30).assign(label=0)])
    data = load_task(own_task(write(frame, tmp_path / "rows.csv")))
    check = data.validation["validation"]
    assert not set(check.texts) & set(data.train.texts)
    assert len(check) + len(data.train) == 90


def test_too_few_rows_to_split_are_refused(tmp_path):
    frame = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})
    refused(own_task(write(frame, tmp_path / "rows.csv")), "too few rows to set some aside")
