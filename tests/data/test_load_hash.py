"""The hashes of rows: the same for the same rows, another for any that are used."""

import hashlib
import json

import numpy as np
import pytest
from task_rows import TEXTS, make_folder, make_frame, own_task, write

from finegates_engine.data.load import load_task, text_hashes


def test_same_rows_have_the_same_hash_in_every_format(tmp_path):
    frame = make_frame()
    frame["text"] = TEXTS * 5
    hashes = set()
    for suffix in (".csv", ".jsonl", ".parquet"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        shuffled = frame[["label", "other", "text"]] if suffix == ".jsonl" else frame
        data = load_task(own_task(make_folder(folder, shuffled, frame.head(10), suffix)))
        assert [texts for (texts,) in data.train.texts] == TEXTS * 5
        hashes.add(data.data_hash)
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64


def test_same_decimal_labels_have_the_same_hash_in_every_format(tmp_path):
    frame = make_frame().assign(label=[i / 7 for i in range(40)])
    files = [write(frame, tmp_path / f"rows{s}") for s in (".csv", ".parquet")]
    narrow = frame.assign(label=frame["label"].astype(np.float32))
    files.append(write(narrow, tmp_path / "narrow.parquet"))
    loaded = [load_task(own_task(file)) for file in files]
    assert len({data.data_hash for data in loaded}) == 1
    assert loaded[0].train.labels.dtype == np.float32
    assert loaded[0].labels is None
    assert loaded[0].spec.metrics == ("pearson", "spearman")


@pytest.mark.parametrize("change", ["text", "label", "order", "validation", "cut"])
def test_hash_changes_with_the_used_rows(tmp_path, change):
    frame, check = make_frame(), make_frame().head(10)
    before = load_task(own_task(make_folder(tmp_path, frame, check))).data_hash
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
    assert load_task(own_task(make_folder(tmp_path, frame, check), **options)).data_hash != before


def test_hash_sees_only_the_rows_that_are_used(tmp_path):
    frame = make_frame()
    cut = own_task(
        make_folder(tmp_path, frame, frame.head(10)), max_train_samples=20, max_eval_samples=5
    )
    before = load_task(cut)
    assert (len(before.train), len(before.validation["validation"])) == (20, 5)
    frame.loc[30, "text"] = "changed beyond the cut"
    frame["other"] = "changed"
    assert load_task(cut).data_hash == before.data_hash
    (tmp_path / "train.parquet").unlink()
    make_folder(tmp_path, frame, frame.head(10))
    assert load_task(cut).data_hash == before.data_hash


def test_hash_knows_which_rows_are_trained_on(tmp_path):
    frame = make_frame()
    hashes = set()
    for cut in (29, 30):
        make_folder(tmp_path, frame.head(cut), frame.tail(40 - cut))
        hashes.add(load_task(own_task(tmp_path)).data_hash)
    assert len(hashes) == 2


def test_texts_of_a_pair_keep_their_order_and_are_part_of_the_hash(tmp_path):
    path = write(make_frame(), tmp_path / "rows.csv")
    one = load_task(own_task(path, text_fields=("text", "other")))
    two = load_task(own_task(path, text_fields=("other", "text")))
    assert one.train.texts[0] == two.train.texts[0][::-1]
    assert one.data_hash != two.data_hash


def test_text_hash_is_the_start_of_sha256_over_the_row(tmp_path):
    data = load_task(own_task(write(make_frame(), tmp_path / "rows.csv")))
    hashes = text_hashes(data.train)
    first = hashlib.sha256(json.dumps(list(data.train.texts[0])).encode()).hexdigest()[:16]
    assert hashes[0] == first
    assert len(set(hashes)) == len(data.train)
