"""Any text through the engine's live functions: an answer or a plain error."""

import math

import pytest
from hostile_texts import bounded, texts
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import places, tiny_run

from explorer.figures.live import predictions_figure
from explorer.words.live_words import row_names
from finegates_engine.errors import UserError
from finegates_engine.live.inputs import read_text, tokenizer_of
from finegates_engine.live.results import MOST_ROWS, Shape, parse_rows
from finegates_engine.live.text import predict_text
from finegates_engine.prune.compiled import compile_run


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    _, run = tiny_run(tmp_path_factory.mktemp("live"))
    backbone = places()[0]
    return compile_run(run, backbone), tokenizer_of(backbone)


def rows_or_error(typed, fields):
    try:
        return parse_rows(typed, fields)
    except UserError as error:
        assert len(str(error)) < 500
        return None


@given(text=texts, tokens=st.sampled_from([None, 4, 16, 256]))
@bounded
def test_any_text_gets_finite_answers_and_labels_without_markup(compiled, text, tokens):
    run, tokenizer = compiled
    rows = rows_or_error((text,), ("text",))
    if rows is None:
        return
    assert 0 < len(rows) <= MOST_ROWS
    inputs = read_text(rows, tokenizer, most=128, tokens=tokens)
    assert inputs.reading.width <= (tokens or 128)
    found = predict_text(run, None, inputs, ("<b>bad</b>", "good"))
    assert all(math.isfinite(value) for row in (*found.dense, *found.pruned) for value in row)
    figure = predictions_figure(found, row_names(rows))
    for label in figure.layout.yaxis.ticktext or ():
        assert "<" not in str(label)
    for trace in figure.data:
        assert all("<b>bad" not in str(word) for word in trace.text or ())


@given(first=texts, second=texts)
@bounded
def test_any_two_texts_make_pairs_or_a_plain_error(first, second):
    rows = rows_or_error((first, second), ("text a", "text b"))
    assert rows is None or all(len(row) == 2 and all(row) for row in rows)


@given(
    values=st.dictionaries(
        st.sampled_from(["device", "threads", "batch", "tokens", "x"]),
        st.one_of(texts, st.integers(), st.floats(), st.none(), st.lists(st.integers())),
    )
)
@bounded
def test_settings_of_a_race_are_in_their_ranges_or_refused(values):
    try:
        shape = Shape(**values)
    except (ValueError, TypeError):
        return
    assert shape.device in ("cpu", "cuda")
    assert 1 <= shape.threads <= 1024
    assert shape.tokens is None or 4 <= shape.tokens <= 8192
