"""Rows from the generator, the hub and GLUE's own folders."""

import numpy as np
import pytest
from task_rows import make_folder, make_frame, refused

from finegates_engine.config import TaskConfig
from finegates_engine.data.load import load_task


def test_hub_without_a_network_points_to_local_data():
    text = refused(TaskConfig(name="rte"), r"'rte' could not be loaded from the hub")
    assert text.endswith("pass --data FOLDER with train.parquet and validation.parquet.")


def test_hub_rows_become_the_same_data_as_a_folder(tmp_path, monkeypatch):
    import datasets

    frame = make_frame().rename(columns={"text": "sentence"}).assign(idx=range(40))
    local = load_task(
        TaskConfig(name="sst2", data=str(make_folder(tmp_path, frame, frame.head(10))))
    )
    asked = []

    def load_dataset(name, config, *, split):
        asked.append((name, config, split))
        names = datasets.ClassLabel(names=["negative", "positive"])
        rows = datasets.Dataset.from_pandas(frame if split == "train" else frame.head(10))
        return rows.cast_column("label", names)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = load_task(TaskConfig(name="sst2"))
    assert data.data_hash == local.data_hash
    assert asked == [("nyu-mll/glue", "sst2", "train"), ("nyu-mll/glue", "sst2", "validation")]


def test_generated_task_needs_no_data():
    data = load_task(TaskConfig(max_train_samples=64, max_eval_samples=32))
    assert (len(data.train), len(data.validation["validation"])) == (64, 32)
    assert data.labels == ("ungrammatical", "grammatical")
    assert data.train.row_ids.tolist() == list(range(64))


@pytest.mark.parametrize(
    ("name", "folder", "train", "validation"),
    [
        ("cola", "cola", 8551, 1043),
        ("stsb", "stsb", 5749, 1500),
        ("mrpc", "mrpc", 3668, 408),
        ("qnli", "qnli", 9999, 5463),
        ("mnli", "mnli_subset", 8999, 1000),
        ("qqp", "qqp_subset", 8999, 1000),
        ("sst2", "sst2", 67349, 872),
    ],
)
def test_glue_folders_load_as_they_are(shared, name, folder, train, validation):
    data = load_task(TaskConfig(name=name, data=str(shared / "glue" / folder)))
    assert (len(data.train), len(data.validation["validation"])) == (train, validation)
    kind = np.float32 if name == "stsb" else np.int64
    assert data.train.labels.dtype == kind


def test_mrpc_keeps_the_row_numbers_of_glue(shared):
    data = load_task(TaskConfig(name="mrpc", data=str(shared / "glue" / "mrpc")))
    assert data.validation["validation"].row_ids[:2].tolist() == [9, 18]
    assert data.train.texts[0][0].startswith("Amrozi accused his brother")
