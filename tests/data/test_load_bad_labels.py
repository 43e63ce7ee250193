"""Labels from which nothing can be learned or scored are refused with the reason."""

import pytest
from task_rows import make_folder, make_frame, own_task, refused, write

from finegates_engine.config import TaskConfig


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("labels", [[1.0, 0.0], ["a", "b"], [0.5, 0.25]])
def test_rows_without_a_label_are_counted_and_the_first_is_named(tmp_path, suffix, labels):
    frame = make_frame().assign(label=labels * 20)
    frame.loc[[7, 8, 9], "label"] = None
    path = write(frame, tmp_path / f"rows{suffix}")
    refused(own_task(path), r"3 of 40 rows have no label in column 'label', the first is row 7 ")


def test_unlabelled_split_of_a_known_task_is_refused(tmp_path):
    frame = make_frame().rename(columns={"text": "sentence"})
    make_folder(tmp_path, frame, frame.assign(label=-1))
    text = refused(TaskConfig(name="sst2", data=str(tmp_path)), "40 of 40 rows have no label")
    assert "validation.parquet" in text


def test_unlabelled_split_of_an_own_task_is_refused(tmp_path):
    make_folder(tmp_path, make_frame(), make_frame().assign(label=-1))
    text = refused(own_task(tmp_path), "row 0 has the label '-1', which no training row has")
    assert "(-1 often marks rows without a label)" in text


def test_label_outside_the_classes_of_a_known_task_is_refused(tmp_path):
    frame = make_frame().rename(columns={"text": "sentence"})
    frame.loc[4, "label"] = 2
    make_folder(tmp_path, frame, frame)
    text = refused(TaskConfig(name="sst2", data=str(tmp_path)), "row 4 has the label '2'")
    assert "Allowed: 0 (negative), 1 (positive)." in text


def test_validation_class_that_training_lacks_is_named(tmp_path):
    train = make_frame().assign(label=["a", "b"] * 20)
    make_folder(tmp_path, train, train.assign(label=["a", "rare"] * 20))
    refused(own_task(tmp_path), "label 'rare', which no training row has. Classes .*: a, b")


def test_class_that_the_cut_removes_from_training_is_named(tmp_path):
    train = make_frame().assign(label=["a", "b"] * 19 + ["rare"] * 2)
    make_folder(tmp_path, train, train.tail(5))
    config = own_task(tmp_path, max_train_samples=30)
    refused(config, r"class 'rare', which the training rows \(the first 30\) lack")


def test_single_class_is_refused(tmp_path):
    path = write(make_frame().assign(label="same"), tmp_path / "rows.csv")
    refused(own_task(path), "All training rows have the label 'same'")
    sorted_rows = make_frame().sort_values("label")
    make_folder(tmp_path, sorted_rows, sorted_rows)
    (tmp_path / "rows.csv").unlink()
    config = own_task(tmp_path, max_train_samples=10)
    refused(config, r"All training rows \(the first 10\) have the label '0'.*raise --max-train")


def test_regression_without_variation_is_refused(tmp_path):
    frame = make_frame().assign(label=[0.5, 1.5] * 20)
    make_folder(tmp_path, frame, frame.assign(label=0.5))
    refused(own_task(tmp_path), "All validation rows have the label '0.5'")


def test_words_as_labels_of_a_regression_task_are_refused(tmp_path):
    frame = make_frame().rename(columns={"text": "sentence1", "other": "sentence2"})
    make_folder(tmp_path, frame.assign(label="high"), frame.assign(label="low"))
    refused(TaskConfig(name="stsb", data=str(tmp_path)), "must hold numbers.*'high'")


def test_more_classes_than_any_task_has_are_refused(tmp_path):
    path = write(make_frame(1500).assign(label=range(1500)), tmp_path / "rows.csv")
    refused(own_task(path), r"1,500 different labels, at most 1,000.*decimal numbers \(3.0\)")
