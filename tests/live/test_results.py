"""What a user types becomes rows, or a message that says what to do."""

import pytest

from finegates_engine.errors import UserError
from finegates_engine.live.results import (
    MOST_CHARACTERS,
    MOST_ROWS,
    SHAPE,
    Reading,
    parse_rows,
    part_label,
)

ONE, TWO = ("sentence",), ("premise", "hypothesis")


def test_each_line_is_a_row_and_blank_ones_are_left_out() -> None:
    assert parse_rows(["  a film \r\n\n b\rc\n\n"], ONE) == (("a film",), ("b",), ("c",))


def test_lines_of_two_fields_make_pairs() -> None:
    assert parse_rows(["a\nb", "c\nd\n"], TWO) == (("a", "c"), ("b", "d"))
    assert parse_rows(["a\n\nb", "c\n\nd"], TWO) == (("a", "c"), ("b", "d"))


@pytest.mark.parametrize("text", ["\U0001f600 good", "مرحبا بالعالم", "<b>x</b> **y** $z$", "\x00"])
def test_any_text_is_taken_as_it_is(text: str) -> None:
    assert parse_rows([text], ONE) == ((text,),)


def test_half_a_character_becomes_a_question_mark() -> None:
    assert parse_rows(["a \ud83d b"], ONE) == (("a ? b",),)


@pytest.mark.parametrize(
    ("texts", "fields", "words"),
    [
        (["  \n "], ONE, "There is no text yet"),
        (["", ""], TWO, "There is no text yet"),
        (["a", ""], TWO, "hypothesis is empty. Type it too"),
        (["", "b"], TWO, "premise is empty. Type it too"),
        (["a\nb", "c"], TWO, "premise has 2 lines and hypothesis has 1"),
        (["a\n\nb", "c\nd\ne"], TWO, "Pair 2 has no premise"),
        (["x" * (MOST_CHARACTERS + 1)], ONE, "has 100,001 characters, at most 100,000"),
        (["x\n" * (MOST_ROWS + 1)], ONE, "has 65 lines, at most 64"),
    ],
)
def test_text_that_cannot_be_used_says_why(
    texts: list[str], fields: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        parse_rows(texts, fields)


def test_as_many_characters_as_are_allowed_are_taken() -> None:
    assert len(parse_rows(["x" * MOST_CHARACTERS], ONE)[0][0]) == MOST_CHARACTERS


def test_rows_that_are_cut_are_named() -> None:
    assert Reading(tokens=(5, 300, 129), width=128).cut == (2, 3)


def test_parts_have_names_that_count_from_one() -> None:
    assert part_label("2.head.0") == "head 1 of layer 3"
    assert part_label("0.ffn") == "the FFN of layer 1"


def test_shape_from_a_page_is_checked() -> None:
    plain = {"device": "cpu", "threads": 2, "batch": None, "tokens": 32}
    assert SHAPE.validate_python(plain).tokens == 32
    with pytest.raises(ValueError, match="device"):
        SHAPE.validate_python(plain | {"device": "disk"})
