"""Numbers carry the digits and units that a reader needs."""

import pytest

from finegates_engine.text.format import (
    MISSING,
    bytes_text,
    count_text,
    metric_label,
    score_text,
    seconds_text,
    share_text,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (1, "1 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (59.4 * 60, "59 min"),
        (3600, "1 h 0 min"),
        (125 * 60, "2 h 5 min"),
    ],
)
def test_a_duration_has_the_unit_that_fits(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (10_616_832, "10.6M"), (2e9, "2.0G")],
)
def test_a_count_has_a_unit_from_a_thousand_on(count: float, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("size", "text"), [(999, "999 B"), (1000, "1 kB"), (90_300_000, "90.3 MB"), (2e9, "2 GB")]
)
def test_a_size_has_three_digits(size: float, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize("write", [share_text, score_text, count_text, bytes_text])
@pytest.mark.parametrize("value", [None, float("nan")])
def test_what_is_missing_is_a_dash_and_never_a_number(write, value) -> None:
    assert write(value) == MISSING


def test_shares_and_scores_have_fixed_digits() -> None:
    assert (share_text(0.4), score_text(0.5)) == ("40.0%", "0.500")


def test_a_metric_without_a_label_keeps_its_name() -> None:
    assert metric_label("accuracy") == "Accuracy"
    assert metric_label("made-up") == "made-up"
