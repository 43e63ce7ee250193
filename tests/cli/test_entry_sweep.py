"""`finegates sweep` from its start to its table, to a failed cell, to an interrupt."""

import re
from pathlib import Path
from typing import Any

import pytest
from entry_calls import call, options
from tiny import run_cli

pytestmark = pytest.mark.usefixtures("plain_terminal")


def test_a_sweep_prints_its_table_and_what_to_do_next(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path
) -> None:
    """In a process of its own, so that everything a user sees is seen."""
    store = tmp_path / "store"
    done = run_cli(*options(tiny_backbone, tiny_task, store))
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if re.match(r"\s+\d+\.\d%", line)]
    assert len(rows) == 2
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "reviews, finegates, independent; target: share of encoder weights to remove"
    )
    assert lines[-2] == f"All runs of the store:   finegates runs --store {store}"
    shown = lines[-1].removeprefix("One run with its ladder: finegates ").split()
    assert "Encoder weights removed" in call(*shown).stdout
    assert "[1/2]" in done.stderr
    assert "loss" not in done.stdout + done.stderr  # the Trainer's own log
    assert "Traceback" not in done.stderr
    again = run_cli(*options(tiny_backbone, tiny_task, store), "--quiet")
    assert again.stdout.splitlines() == lines
    assert again.stderr == ""


def test_a_failed_cell_gives_exit_code_1_and_says_how_to_repeat_it(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finegates_engine.train import cell

    def fit(*_: Any, **__: Any) -> None:
        raise RuntimeError("[red]no [/bold] luck")

    monkeypatch.setattr(cell, "fit", fit)
    result = call(*options(tiny_backbone, tiny_task, tmp_path / "store"))
    assert result.exit_code == 1
    assert "failed: RuntimeError: [red]no [/bold] luck" in result.stdout
    assert "the same command with --retry-failed" in result.stdout


def test_an_interrupt_says_how_to_go_on(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finegates_engine.train import cell

    def fit(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cell, "fit", fit)
    result = call(*options(tiny_backbone, tiny_task, tmp_path / "store"))
    assert result.exit_code == 130
    assert "Interrupted. What is trained is kept: the same command goes on." in result.stderr
