"""The command line: help costs nothing, and every option reaches its field."""

import dataclasses
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from entry_calls import call, refused
from run_examples import make_result
from tiny import child_environment

from finegates_engine.cli import entry as cli
from finegates_engine.config import RunConfig, to_json
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.options import ELSEWHERE, SECTIONS, apply_options, config_options

pytestmark = pytest.mark.usefixtures("plain_terminal")


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


def test_unexpected_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "carry_out", broken)
    assert isinstance(call("demo").exception, ZeroDivisionError)
