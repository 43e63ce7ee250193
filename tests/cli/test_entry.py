"""The command line: what it prints, what it refuses, and that help costs nothing."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_examples import make_config, make_result
from tiny import child_environment, run_cli, tiny_config, write_task
from typer.testing import CliRunner, Result

from finegates_engine.cli import entry as cli
from finegates_engine.config import RunConfig, to_json
from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.options import ELSEWHERE, SECTIONS, apply_options, config_options
from finegates_engine.sweep.state import FOLDER, CellState, SweepState
from finegates_engine.sweep.writer import SweepWriter


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def refused(*arguments: str | Path) -> str:
    """What stands on stderr when the input is wrong; there must be no traceback."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


# Help


def test_help_needs_no_heavy_library_and_no_time() -> None:
    heavy = ("torch", "transformers", "datasets", "pandas", "pyarrow", "scipy", "sklearn")
    code = (
        "import sys; sys.argv = ['finegates', '--help']\n"
        "from finegates_engine.cli.entry import main\n"
        "try: main()\n"
        f"finally: print('HEAVY', [m for m in {heavy} if m in sys.modules])"
    )
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True
    )
    seconds = time.perf_counter() - begun
    assert "HEAVY []" in done.stdout
    for command in ("sweep", "demo", "watch", "runs", "show"):
        assert command in done.stdout
    assert seconds < 5, f"finegates --help took {seconds:.1f} s"  # 0.8 s on an idle machine


@pytest.mark.parametrize("command", ["runs", "show", "watch"])
def test_listing_needs_no_torch(command: str, tmp_path: Path) -> None:
    RunStore(tmp_path).save(make_result())
    last = {"runs": [], "show": [RunStore(tmp_path).ids()[0]], "watch": ["--once"]}[command]
    arguments = ["finegates", command, *last, "--store", str(tmp_path)]
    code = (
        f"import sys; sys.argv = {arguments}\n"
        "from finegates_engine.cli.entry import main\n"
        "try: main()\n"
        "finally: print('HEAVY', [m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True
    )
    assert "HEAVY []" in done.stdout, done.stderr


def test_every_field_of_the_config_has_an_option_with_its_documentation() -> None:
    text = re.sub(r"[\s│]+", " ", call("sweep", "--help").stdout)
    for part, (_, owner) in SECTIONS.items():
        for field in dataclasses.fields(owner):
            full = f"{part}.{field.name}" if part else field.name
            if field.name in SECTIONS:
                continue
            name = {"task.name": "task"}.get(full, field.name.replace("_", "-"))
            option = ELSEWHERE.get(full, f"--{name}")
            assert option in text or not option.startswith("--"), full
    assert "Share of the training before any gate is pressed to close." in text
    assert "--tie --no-tie" in text
    for panel in ("Task", "Model", "Gates", "Training"):
        assert f"─ {panel} ─" in text


def test_option_names_are_unique() -> None:
    names = [option.parameter for option in config_options()]
    assert len(names) == len(set(names))


def test_options_change_their_field_only() -> None:
    changed = apply_options(RunConfig(), {("gates", "tie"): False, ("task", "text_fields"): "a, b"})
    plain = to_json(RunConfig())
    plain["gates"]["tie"] = False
    plain["task"]["text_fields"] = ["a", "b"]
    assert to_json(changed) == plain


def test_given_options_reach_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(cli, "carry_out", lambda plan, **options: seen.append((plan, options)))
    call(
        "sweep", "--task", "mrpc", "--targets", "0,0.2", "--seeds", "3,4", "--strategy", "path",
        "--no-tie", "--axes", "all", "--epochs", "2.5", "--text-fields", "a,b",
        "--method", "random", "--threads", "2", "--store", tmp_path,
        "--retry-failed", "--report-to", "tensorboard",
    )  # fmt: skip
    ((plan, options),) = seen
    assert plan.targets == (0.0, 0.2)
    assert plan.seeds == (3, 4)
    assert plan.strategy == "path"
    assert plan.base.task.name == "mrpc"
    assert plan.base.task.text_fields == ("a", "b")
    assert (plan.base.gates.tie, plan.base.gates.axes) == (False, "all")
    assert (plan.base.train.epochs, plan.base.method, plan.base.threads) == (2.5, "random", 2)
    assert options["retry_failed"] is True
    assert options["report_to"] == ("tensorboard",)


def test_a_preset_is_what_other_options_change(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(cli, "carry_out", lambda plan, **options: seen.append(plan))
    call("sweep", "--preset", "reference", "--axes", "attention")
    (plan,) = seen
    assert (plan.base.gates.allocation, plan.base.gates.axes) == ("vector", "attention")
    assert "Unknown preset 'best'. Choose from: default, reference." in refused(
        "sweep", "--preset", "best"
    )


def test_without_a_choice_the_sweep_is_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(cli, "carry_out", lambda plan, **options: seen.append(plan))
    call("sweep")
    call("demo")
    call("sweep", "--seeds", "0")
    assert seen[0] == seen[1] == cli.SweepPlan(cli.DEMO, (0.0, 0.3, 0.5), (0,), "path")
    assert seen[0].base.task.max_train_samples == 1500
    assert seen[2].targets == (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


# A whole sweep


def options(backbone: Path, task: Path, store: Path) -> list[str]:
    return [
        "sweep", "--task", "reviews", "--data", str(task), "--text-fields", "text",
        "--backbone", str(backbone), "--finish", "0.3", "--epochs", "2", "--batch-size", "16",
        "--store", str(store), "--targets", "0,0.4",
    ]  # fmt: skip


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


# Bad input, each line of the issue


@pytest.fixture
def sweep(tiny_backbone: Path, tiny_task: Path, tmp_path: Path) -> Any:
    """stderr of a sweep that must be refused, with some options put at its end."""

    def go(*changes: str | Path) -> str:
        return refused(*options(tiny_backbone, tiny_task, tmp_path / "store"), *changes)

    return go


def rewritten(tiny: Path, tmp_path: Path, split: str, text: str) -> Path:
    folder = tmp_path / "task"
    shutil.copytree(tiny, folder)
    (folder / f"{split}.jsonl").write_text(text)
    return folder


def test_unknown_task(tmp_path: Path) -> None:
    text = refused("sweep", "--task", "mrcp", "--store", tmp_path / "store")
    assert text.startswith("Unknown task 'mrcp'. Choose from: agreement, cola, mnli, mrpc, ")
    assert text.endswith("or pass --data FOLDER with --text-fields.\n")
    assert not (tmp_path / "store").exists()


def test_unknown_backbone(sweep: Any) -> None:
    assert sweep("--backbone", "./nowhere") == (
        "Backbone folder './nowhere' does not exist. Choose a folder or a hub id.\n"
    )
    text = sweep("--backbone", "nobody/nothing-of-this-name")
    assert text.startswith("Backbone 'nobody/nothing-of-this-name' is not a local folder and could")


def test_unknown_column(sweep: Any) -> None:
    text = sweep("--text-fields", "body")
    assert "train.jsonl has no column 'body'. Its columns: text, label. Choose with" in text


@pytest.mark.parametrize("target", ["1", "-0.1", "1.2"])
def test_target_out_of_range(sweep: Any, target: str) -> None:
    assert sweep(f"--targets={target}") == f"target must be in [0, 1), got {target}.\n"


def test_targets_that_are_no_numbers(sweep: Any) -> None:
    assert sweep("--targets", "half") == (
        "--targets must be numbers with commas between them, such as 0,0.2,0.4, got 'half'.\n"
    )
    assert sweep("--seeds", "0.5") == (
        "--seeds must be whole numbers with commas between them, such as 0,1,2, got '0.5'.\n"
    )


def test_empty_file(sweep: Any, tiny_task: Path, tmp_path: Path) -> None:
    folder = rewritten(tiny_task, tmp_path, "train", "")
    assert sweep("--data", folder) == (f"{folder}/train.jsonl is empty. Pass a file with rows.\n")


def test_single_class_file(sweep: Any, tiny_task: Path, tmp_path: Path) -> None:
    rows = [f'{{"text": "film {number} was fine", "label": "good"}}\n' for number in range(9)]
    (tmp_path / "all.jsonl").write_text("".join(rows))
    text = sweep("--data", tmp_path / "all.jsonl")
    assert text.startswith("All training rows have the label 'good': nothing can be learned")


def test_labels_missing_in_a_split(sweep: Any, tiny_task: Path, tmp_path: Path) -> None:
    rows = '{"text": "a", "label": "good"}\n{"text": "b", "label": null}\n'
    text = sweep("--data", rewritten(tiny_task, tmp_path, "validation", rows))
    assert (
        "validation.jsonl: 1 of 2 rows have no label in column 'label', the first is row 1" in text
    )


def test_store_that_cannot_be_written(sweep: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = sweep("--store", tmp_path / "file" / "store")
    assert text.startswith(f"Store '{tmp_path}/file/store' cannot be written (Not a directory). ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_store(sweep: Any, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "cannot be written (Permission denied)" in sweep("--store", closed)


def test_run_id_with_a_path_in_it(tmp_path: Path) -> None:
    text = refused("show", "../../etc/passwd", "--store", tmp_path)
    assert text.startswith("Run id '../../etc/passwd' is not one: they look like mrpc-finegates-")


def test_half_written_run_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    good, half = make_result(), make_result(make_config(seed=1))
    store.save(good)
    store.save(half)
    record = tmp_path / "agreement" / half.run_id / "run.json"
    record.write_text(record.read_text()[:200])
    listed = call("runs", "--store", tmp_path)
    assert listed.exit_code == 0
    assert f"Skipped agreement/{half.run_id}: run.json is not valid JSON" in listed.stdout
    assert "1 run." in listed.stdout
    text = refused("show", half.run_id, "--store", tmp_path)
    assert text.startswith(f"Run '{half.run_id}' is damaged: run.json is not valid JSON")


def test_values_out_of_range_are_explained(sweep: Any) -> None:
    assert sweep("--noise-std", "5") == (
        "gates.noise_std: input should be less than or equal to 2, got 5.0\n"
    )
    text = sweep("--axes", "outer")
    assert "Invalid value for '--axes'" in text
    assert "'inner'" in text


def test_unknown_method_and_strategy(sweep: Any) -> None:
    assert sweep("--method", "lottery").startswith("Unknown method 'lottery'. Choose from: ")
    assert sweep("--strategy", "both") == (
        "Unknown strategy 'both'. Choose from: independent, path.\n"
    )


def test_unexpected_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "carry_out", broken)
    assert isinstance(call("demo").exception, ZeroDivisionError)


# Listing


@pytest.fixture
def full(tmp_path: Path) -> Path:
    store = RunStore(tmp_path)
    for seed in (0, 1):
        store.save(make_result(make_config(seed=seed)))
    store.save(make_result(make_config(task="mrpc")))
    return tmp_path


def test_runs_of_an_empty_store_say_how_to_make_one(tmp_path: Path) -> None:
    result = call("runs", "--store", tmp_path)
    assert result.exit_code == 0
    assert f"Make some: finegates demo --store {tmp_path}" in result.stdout
    assert call("runs", "--store", tmp_path / "nowhere").exit_code == 0
    assert json.loads(call("runs", "--json", "--store", tmp_path).stdout) == []


def test_runs_are_a_table_or_json(full: Path) -> None:
    text = call("runs", "--store", full).stdout
    assert "3 runs." in text
    assert "agreement, finegates on" in text
    assert "mrpc, finegates on" in text
    rows = json.loads(call("runs", "--json", "--task", "mrpc", "--store", full).stdout)
    (row,) = rows
    assert row["task"] == "mrpc"
    assert row["latency_ms"] is None
    assert pd.notna(row["folded_encoder_fraction"])


def test_a_table_of_runs_fits_80_columns(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from finegates_engine.cli import tables as cli_tables

    monkeypatch.setattr(cli_tables, "PIPE_WIDTH", 80)
    text = call("runs", "--store", full).stdout
    assert "…" not in text
    hashes = [name.rsplit("-", 1)[1][:7] for name in RunStore(full).ids()]
    assert all(digest in text for digest in hashes)


def test_show_takes_the_hash_and_prints_the_ladder(full: Path) -> None:
    name = RunStore(full).ids()[0]
    text = call("show", name.rsplit("-", 1)[1][:7], "--store", full).stdout
    assert text.startswith(name)
    for part in ("Target", "Gates closed", "Weights removed", "Encoder weights removed", "MACs"):
        assert part in text
    assert "one run cannot say how much seeds differ" in text


def test_show_as_json_holds_record_and_intervals(full: Path) -> None:
    name = RunStore(full).ids()[0]
    plain = json.loads(call("show", name, "--json", "--store", full).stdout)
    assert plain["run_id"] == name
    interval = plain["intervals"]["validation"]["accuracy"]
    assert interval["low"] <= interval["mean"] <= interval["high"]
    assert interval["kind"] == "rows"


def test_show_refuses_what_is_not_there_or_not_one(full: Path) -> None:
    assert "No run id begins or ends with 'cola'" in refused("show", "cola", "--store", full)
    assert "fits 2 runs" in refused("show", "agreement", "--store", full)


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


def test_markup_in_names_is_printed_as_it_is(tmp_path: Path, tiny_backbone: Path) -> None:
    folder = write_task(tmp_path / "[red]task[/]")
    text = refused(
        "sweep", "--task", "own", "--data", folder / "missing[/b].csv", "--text-fields", "[bold]x"
    )
    assert "missing[/b].csv does not exist" in text
    config = tiny_config(tiny_backbone, folder)
    with pytest.raises(UserError):
        RunStore(tmp_path).load(config.task.name)


def test_tasks_lists_every_task_with_its_columns() -> None:
    from finegates_engine.tasks import TASKS

    printed = call("tasks").stdout
    for spec in TASKS.values():
        line = next(line for line in printed.splitlines() if line.split()[:1] == [spec.name])
        assert all(field in line for field in spec.text_fields)
