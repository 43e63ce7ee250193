"""Watching goes on until no sweep runs."""

import io
from pathlib import Path

from rich.console import Console
from sweep_states import cell, state

from finegates_engine.cli import watch
from finegates_engine.cli.watch import watch_sweeps


def test_the_table_is_renewed_until_nothing_runs(tmp_path: Path, monkeypatch) -> None:
    seen = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)
    answers = [
        [state(cell("a", state="running", step=3, steps=12))],
        [state(cell("a", state="running", step=8, steps=12))],
        [state(cell("a", state="done", seconds=65.0), state="finished")],
    ]
    slept: list[float] = []
    monkeypatch.setattr(watch, "Console", lambda **_: seen)
    monkeypatch.setattr(watch, "read_sweeps", lambda _: answers.pop(0))
    monkeypatch.setattr(watch.time, "sleep", slept.append)
    watch_sweeps(tmp_path)
    assert answers == []
    assert slept == [watch.REFRESH_SECONDS] * 2
    text = seen.file.getvalue()  # type: ignore[attr-defined]
    assert text.index("step 3 of 12") < text.index("step 8 of 12") < text.index("done in 65 s")
