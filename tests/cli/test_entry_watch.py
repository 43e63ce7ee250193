"""`finegates watch`: sweeps that run, that died, and files that are damaged."""

import json
from pathlib import Path
from typing import Any

import pytest
from entry_calls import call

from finegates_engine.sweep.state import FOLDER, CellState, SweepState
from finegates_engine.sweep.writer import SweepWriter

pytestmark = pytest.mark.usefixtures("plain_terminal")


def a_state(**values: Any) -> SweepState:
    cells = (
        CellState(
            run_id="a", target=0.0, seed=0, epochs=2.0, state="done", score=0.75, seconds=9.0
        ),
        CellState(run_id="b", target=0.3, seed=0, epochs=2.0, state="running", step=3, steps=12),
        CellState(run_id="c", target=0.5, seed=0, epochs=2.0, state="failed", note="[b]no[/i]"),
    )
    plain: dict[str, Any] = {
        "sweep_id": "20260101-000000-mrpc-abcdef", "task": "mrpc", "method": "finegates",
        "strategy": "path", "target_unit": "gates", "metric": "accuracy", "process_id": 1,
        "started": 1.0, "heartbeat": 1.0, "cells": cells,
    }  # fmt: skip
    return SweepState(**{**plain, **values})


def test_watch_shows_running_dead_and_damaged_sweeps(tmp_path: Path) -> None:
    empty = call("watch", "--once", "--store", tmp_path).stdout
    assert f"No sweeps in '{tmp_path}'. Start one: finegates demo --store {tmp_path}" in empty
    with SweepWriter(tmp_path, a_state()):
        text = call("watch", "--once", "--store", tmp_path).stdout
        assert "running" in text
        assert "3/12" in text
        assert "0.750" in text
        assert "failed: [b]no[/i]" in text
    folder = tmp_path / FOLDER
    alone = next(folder.glob("*.json"))
    alone.write_text(alone.read_text().replace('"state":"finished"', '"state":"running"'))
    (folder / "z.json").write_text("{")
    text = call("watch", "--once", "--store", tmp_path).stdout
    assert "died" in text
    assert "The same command goes on from where it was." in text
    assert "z.json cannot be used" in text
    states = json.loads(call("watch", "--json", "--store", tmp_path).stdout)
    assert [state["state"] for state in states] == ["unreadable", "died"]


def test_watch_ends_when_nothing_runs(tmp_path: Path) -> None:
    assert call("watch", "--store", tmp_path).exit_code == 0
