"""finegates explain: bad input is refused before anything is built; tables say what was found."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from explanations import explanation, trial, with_trials
from rich.console import Console
from run_examples import make_config, make_result
from timing_examples import certified_run
from typer.testing import CliRunner

from finegates_engine.cli import explain as cli_explain
from finegates_engine.cli.commands import explain
from finegates_engine.cli.explain import (
    _parts_table,
    _trials_table,
    explanation_json,
    print_explanation,
)
from finegates_engine.errors import UserError
from finegates_engine.explain.explanation import Explanation
from finegates_engine.runs.store import RunStore
from finegates_engine.timing.stored import Setting

app = typer.Typer()
app.command()(explain)


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def printed(found: Explanation, monkeypatch: pytest.MonkeyPatch) -> str:
    console = Console(width=100, record=True, highlight=False)
    monkeypatch.setattr(cli_explain, "output", lambda: console)
    print_explanation(found)
    return console.export_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "tpu"], "Unknown device 'tpu'"),
        (["--batch", "0"], "--batch must be whole numbers from 1"),
        (["--tokens", "-3"], "--tokens must be whole numbers"),
        (["--threads", "0"], "--threads must be whole numbers"),
        (["--budget", "0"], "--budget must be seconds above 0"),
        (["--tokens", "257"], "at most 256 tokens"),
    ],
)
def test_bad_input_is_refused_before_anything_is_built(
    options: list[str], words: str, tmp_path: Path, tiny_backbone: Path, monkeypatch
) -> None:
    monkeypatch.setattr(cli_explain, "local_folder", lambda _: tiny_backbone)
    monkeypatch.setattr(
        "finegates_engine.explain.certified.as_certified", lambda *_: pytest.fail("built")
    )
    _, run = certified_run(tmp_path)
    done = invoke(run.run_id, "--store", tmp_path, *options)
    assert isinstance(done.exception, UserError)
    assert words in str(done.exception)


def test_a_run_without_a_certificate_is_not_explained(tmp_path: Path) -> None:
    result = make_result(make_config(target=0.4))
    RunStore(tmp_path).save(result)
    done = invoke(result.run_id, "--store", tmp_path)
    assert isinstance(done.exception, UserError)
    assert f"finegates prune {result.run_id}" in str(done.exception)


def test_json_has_all_that_is_shown(tmp_path: Path, monkeypatch) -> None:
    asked: list[Setting] = []

    def measure(run: object, setting: Setting, budget: float, *, onnx: bool) -> Explanation:
        asked.append(setting)
        assert (budget, onnx) == (7.0, True)
        return explanation(take=0.5)

    monkeypatch.setattr(cli_explain, "_measure", measure)
    _, run = certified_run(tmp_path)
    options = ("--batch", 8, "--tokens", 32, "--threads", 2, "--budget", 7, "--onnx", "--json")
    done = invoke(run.run_id, "--store", tmp_path, *options)
    assert done.exit_code == 0
    assert asked == [Setting(batch=8, tokens=32, threads=2)]
    plain = json.loads(done.stdout)
    assert plain == explanation_json(explanation(take=0.5))
    shares = [part["pruned_share"] for part in plain["parts"]]
    assert sum(shares) == pytest.approx(1.0)
    assert plain["ceiling"] == pytest.approx(10.0)
    assert "Picking and spreading" in plain["largest_gap"]


def test_the_table_says_what_was_measured(monkeypatch) -> None:
    text = printed(explanation(take=0.5), monkeypatch)
    assert "1 x 64 tokens, cpu, torch, fp32, 1 thread" in text
    assert "Picking and spreading" in text
    assert "+0.50" in text
    assert "Ceiling. 90% of the dense time falls as weights leave: 10.0x at most" in text
    assert "FFN activation" not in text  # neither model spends time there
    assert "Other work ran" not in text


def test_a_busy_machine_is_said(monkeypatch) -> None:
    found = dataclasses.replace(explanation(), load=4.0)
    assert "Other work ran on this machine" in printed(found, monkeypatch)


def test_changes_with_and_without_gain_are_told_apart(monkeypatch) -> None:
    found = with_trials(trial("good", 1.4, 1.3, per="row"), trial("unsure", 1.2, 0.8))
    found = dataclasses.replace(found, not_tried={"onnx": "pass --onnx"})
    text = printed(found, monkeypatch)
    assert "1.40x (1.30 to 1.50) a row how of good" in text
    assert "Tried without a clear gain: unsure 1.20x" in text
    assert "Not tried, onnx: pass --onnx." in text


def test_tables_are_at_most_a_hundred_columns_wide() -> None:
    long = trial("x", 123.4, 122.2, what="The same rows in heads kept or gone whole", per="row")
    long = dataclasses.replace(long, how="prune again with --residual gather")
    for table in (_parts_table(explanation()), _trials_table([long])):
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(table)
        assert max(len(line.rstrip()) for line in console.export_text().splitlines()) <= 100
