"""docs/methods.md names exactly the methods that run, and says why the others do not."""

import re
from pathlib import Path

from finegates_engine.method_table import METHODS

TEXT = (Path(__file__).parents[1] / "docs" / "methods.md").read_text()
PART = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
PARTS = {match[1]: match[2] for match in PART.finditer(TEXT)}


def rows(title: str) -> list[list[str]]:
    (body,) = (text for name, text in PARTS.items() if name.startswith(title))
    lines = [line for line in body.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def named(title: str) -> set[str]:
    return {name for row in rows(title) for name in re.findall(r"`([^`]+)`", row[1])}


def test_every_method_that_removes_is_among_the_curves_and_no_other() -> None:
    assert named("Curves") == {n for n, spec in METHODS.items() if spec.removes != "nothing"}


def test_every_method_that_removes_nothing_is_among_the_points_and_no_other() -> None:
    assert named("Points") == {n for n, spec in METHODS.items() if spec.removes == "nothing"}


def test_every_row_is_complete_and_cites_what_the_table_cites() -> None:
    for title in ("Curves", "Points"):
        for row in rows(title):
            assert all(row), row
            numbers = re.findall(r"\d{4}\.\d{5}", row[4])
            for name in re.findall(r"`([^`]+)`", row[1]):
                source = METHODS[name].source
                assert set(re.findall(r"\d{4}\.\d{5}", source)) <= set(numbers), name


def test_what_does_not_run_says_what_it_removes_and_why_it_does_not() -> None:
    listed = rows("Not run here")
    assert len(listed) > 45
    assert all(len(row) == 4 and row[0] and row[1] and row[3] for row in listed)
    names = [row[0] for row in listed]
    assert len(names) == len(set(names))
