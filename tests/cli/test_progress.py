"""A sweep's progress: what a terminal and a log file show of it."""

import io

import pytest
from rich.console import Console
from sweep_states import cell, state

from finegates_engine.cli import progress
from finegates_engine.cli.progress import PlainLines, cell_text, plan_line, progress_display


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)


def shown(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_plan_counts_what_is_there_and_what_failed() -> None:
    plan = state(cell("a", state="done"), cell("b", state="failed"), cell("c"))
    assert plan_line(plan) == (
        "mrpc, finegates, path: 3 cells, 1 already in the store, 1 failed before."
    )
    assert plan_line(state(cell("a"))) == "mrpc, finegates, path: 1 cells."


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"state": "running"}, "starting"),
        (
            {"state": "running", "step": 3, "steps": 12, "score": 0.5, "seconds_left": 90},
            "step 3 of 12, Accuracy 0.500, 90 s left",
        ),
        ({"state": "done", "cached": True, "score": 0.8}, "already in the store, Accuracy 0.800"),
        ({"state": "done", "seconds": 65.0}, "done in 65 s"),
        ({"state": "failed", "note": "diverged"}, "failed: diverged"),
        ({"state": "skipped"}, "skipped"),
    ],
)
def test_a_cell_says_what_is_known_of_it(values, text: str) -> None:
    assert cell_text(cell("a", **values), state()) == text


def test_a_log_gets_a_line_for_each_change_and_none_between(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    seen = console()
    lines = PlainLines(seen)
    lines(state())
    running = cell("a", state="running", step=1, steps=9)
    lines(state(running, cell("b")))
    lines(state(cell("a", state="running", step=2, steps=9), cell("b")))
    assert shown(seen).splitlines() == [
        "mrpc, finegates, path: 2 cells.",
        "[1/2] a: step 1 of 9",
    ]
    now[0] += progress.LINE_SECONDS + 1
    lines(state(cell("a", state="running", step=5, steps=9), cell("b")))
    assert shown(seen).splitlines()[-1] == "[1/2] a: step 5 of 9"


def test_a_terminal_gets_bars_and_a_line_for_what_failed(monkeypatch) -> None:
    seen = console(terminal=True)
    monkeypatch.setattr(progress, "Console", lambda **_: seen)
    with progress_display(quiet=False) as bars:
        assert bars is not None
        bars(state(cell("a", state="running", step=3, steps=12), cell("b"), seconds_left=50.0))
        first = bars.bars.tasks  # type: ignore[attr-defined]
        assert [(task.completed, task.total) for task in first] == [(0, 2), (3, 12)]
        assert first[0].fields["text"] == "0/2, 50 s left"
        bars(state(cell("a", state="failed", note="diverged"), cell("b")))
        bars(state(cell("a", state="failed", note="diverged"), cell("b")))
        (left,) = bars.bars.tasks  # type: ignore[attr-defined]
        assert (left.completed, left.total) == (1, 2)
    assert shown(seen).count("a: failed: diverged") == 1


def test_quiet_shows_nothing() -> None:
    with progress_display(quiet=True) as told:
        assert told is None
