"""Token ids, batches of rows of like length, and padded tensors."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegates_engine.data.batches import Ragged, bucketed_batches, collate, tokenize_rows
from finegates_engine.errors import UserError


class _Words:
    """A tokenizer that reads words: id is the length of the word, 1 starts and 2 ends a text."""

    model_max_length = 16

    def __call__(self, first, second=None, *, truncation, max_length, **_):
        assert truncation
        rows = {"input_ids": [], "token_type_ids": []}
        for texts in zip(*([first] if second is None else [first, second]), strict=True):
            ids, types = [1], [0]
            for i, text in enumerate(texts):
                words = [len(word) for word in text.split()]
                ids += [*words, 2]
                types += [i] * (len(words) + 1)
            rows["input_ids"].append(ids[:max_length])
            rows["token_type_ids"].append(types[:max_length])
        return rows


TEXTS = [("a bb", "ccc"), ("dddd", "ee ff g"), ("h i j k l m", "n o p q r s t u v w")]
LABELS = np.array([1, 0, 1])


def test_tokenised_rows_keep_order_labels_and_sides():
    split = tokenize_rows(TEXTS, LABELS, _Words(), 16)
    assert len(split) == 3
    assert split[0] == {
        "input_ids": [1, 1, 2, 2, 3, 2],
        "token_type_ids": [0, 0, 0, 0, 1, 1],
        "labels": 1,
        "row": 0,
    }
    assert split.lengths == [6, 7, 16]
    assert [item["row"] for item in split.rows([2, 0])] == [2, 0]
    single = tokenize_rows([("a bb",)], LABELS[:1], _Words(), 16)
    assert single[0]["input_ids"] == [1, 1, 2, 2]


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6))
def test_flat_rows_are_the_rows_they_were_made_of(rows):
    flat = Ragged.of(rows)
    assert [flat[index] for index in range(len(flat))] == list(flat) == rows
    assert [flat[index] for index in range(-len(flat), 0)] == rows
    assert flat.lengths == [len(row) for row in rows]
    with pytest.raises(IndexError):
        flat[len(rows)]


def test_rows_are_cut_and_no_longer_than_the_backbone_allows():
    assert tokenize_rows(TEXTS, LABELS, _Words(), 5).lengths == [5, 5, 5]
    with pytest.raises(UserError, match="max_tokens is 17, but the backbone reads at most 16"):
        tokenize_rows(TEXTS, LABELS, _Words(), 17)


def test_batch_is_padded_to_a_multiple_of_eight():
    rows = [
        {"input_ids": [5, 6, 7], "token_type_ids": [0, 0, 1], "labels": 1, "row": 4},
        {"input_ids": [8] * 9, "token_type_ids": [1] * 9, "labels": 0, "row": 2},
    ]
    batch = collate(rows, 99)
    assert batch["input_ids"].shape == (2, 16)
    assert batch["input_ids"][0].tolist() == [5, 6, 7] + [99] * 13
    assert batch["attention_mask"].sum(1).tolist() == [3, 9]
    assert batch["token_type_ids"][0].tolist() == [0, 0, 1] + [0] * 13
    assert batch["labels"].tolist() == [1, 0]
    assert str(batch["labels"].dtype) == "torch.int64"
    assert batch["row"].tolist() == [4, 2]
    assert collate(rows, 0, max_tokens=12)["input_ids"].shape == (2, 12)
    assert collate(rows, 0, max_tokens=4)["input_ids"].shape == (2, 9)
    assert collate(rows[:1], 0)["input_ids"].shape == (1, 8)


def test_real_labels_stay_real_in_a_batch():
    batch = collate([{"input_ids": [1], "labels": 2.0, "row": 0}], 0)
    assert str(batch["labels"].dtype) == "torch.float32"
    assert "token_type_ids" not in batch
    assert "row" not in collate([{"input_ids": [1], "labels": 2.0}], 0)


@given(
    st.lists(st.integers(1, 60), max_size=300),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_every_row_comes_once_in_full_batches(lengths, size, seed, epoch):
    batches = bucketed_batches(lengths, size, seed=seed, epoch=epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert sum(len(batch) != size for batch in batches) <= 1
    assert batches == bucketed_batches(lengths, size, seed=seed, epoch=epoch)


def test_batches_hold_rows_of_like_length_in_an_order_that_changes():
    lengths = np.random.default_rng(0).integers(5, 120, size=3200).tolist()
    batches = bucketed_batches(lengths, 32, seed=0, epoch=0)
    padding = 1 - sum(lengths) / sum(len(b) * max(lengths[i] for i in b) for b in batches)
    assert padding < 0.03  # 0.47 without buckets
    assert batches != bucketed_batches(lengths, 32, seed=0, epoch=1)
    assert batches != bucketed_batches(lengths, 32, seed=1, epoch=0)
    means = [np.mean([lengths[i] for i in batch]) for batch in batches]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.4


def test_split_is_a_dataset_for_a_loader():
    from torch.utils.data import DataLoader

    split = tokenize_rows(TEXTS, LABELS, _Words(), 16)
    loader = DataLoader(split, batch_size=2, collate_fn=partial(collate, pad_id=0))
    assert [batch["row"].tolist() for batch in loader] == [[0, 1], [2]]


def test_batches_are_planned_without_torch():
    code = "import sys, finegates_engine.data.batches; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
