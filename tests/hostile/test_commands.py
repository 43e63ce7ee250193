"""Any words on the command line: an answer, or an error of one kind, without a traceback."""

import subprocess

import pytest
from hostile_texts import bounded, texts
from hypothesis import given
from hypothesis import strategies as st
from run_examples import make_result
from tiny import run_cli
from typer.testing import CliRunner

from finegates_engine.cli.entry import app
from finegates_engine.runs.store import RunStore

OPTIONS = ("--store", "--task", "--data", "--out", "--seeds", "--targets", "--backbone", "--method")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("store") / "runs")
    store.save(make_result())
    return store.root


def said(words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    output = done.output
    assert "Traceback" not in output
    assert all(c.isprintable() or c == "\n" for c in output), ascii(output)
    return done


@given(command=st.sampled_from(["show", "prune", "bench", "explain"]), run=texts)
@bounded
def test_no_run_of_any_name_leaves_the_store(store, command, run):
    done = said([command, "--store", store, "--", run])
    # The store has one run: a part of its id finds it, anything else is refused.
    assert done.exit_code == 2 or (run and run in make_result().run_id)


@given(
    command=st.sampled_from(["runs", "show", "watch --once", "sweep", "methods", "tasks"]),
    given_options=st.lists(st.tuples(st.sampled_from(OPTIONS), texts), max_size=3),
)
@bounded
def test_any_options_end_in_an_answer_or_a_plain_error(store, command, given_options, tmp_path):
    words = command.split()
    if command == "sweep":  # a task that is nowhere: nothing is trained
        words += ["--task=nowhere", f"--data={tmp_path / 'nothing'}"]
    words += [f"--store={store}", *(f"{name}={value}" for name, value in given_options)]
    if command == "sweep":
        words += [f"--data={tmp_path / 'nothing'}", "--text-fields=text", f"--store={store}"]
    said(words)


@pytest.mark.parametrize("run", ["../../etc/passwd", "\x1b[31mred", "<b>x</b>", "-rf", "x" * 5000])
def test_a_real_process_prints_neither_a_traceback_nor_control_characters(store, run):
    done = run_cli("show", "--store", store, "--", run)
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
