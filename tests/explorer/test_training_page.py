"""The training page: curves, sweeps and the form, over every store and every bad input."""

import dataclasses
import os
import sys
import time

import pytest
from page_reader import button, texts
from test_sweep_request import GOOD

from explorer.processes import sweep_process
from explorer.views import sweeps_view
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.state import FOLDER, CellState, SweepState
from finegates_engine.sweep.writer import SweepWriter

TITLE = "How does training go?"


def state_of(process_id=None, **changes):
    cells = (
        CellState(run_id="sst2-a", target=0.0, seed=0, epochs=3.0, state="done", score=0.84),
        CellState(
            run_id="sst2-b",
            target=0.3,
            seed=0,
            epochs=1.0,
            state="running",
            step=5,
            steps=20,
            seconds_left=30.0,
        ),
    )
    values = {
        "sweep_id": "20260101-000000-sst2-abcdef",
        "task": "sst2",
        "method": "finegates",
        "strategy": "path",
        "target_unit": "encoder_weights",
        "metric": "accuracy",
        "process_id": process_id or os.getpid(),
        "started": time.time() - 60,
        "heartbeat": time.time(),
        "seconds_left": 95.0,
        "cells": cells,
    }
    return SweepState(**(values | changes))


@pytest.fixture
def sleeping(monkeypatch):
    """In place of a sweep, a process that sleeps, or that ends with these words."""
    import subprocess

    real, running = subprocess.Popen, []

    def set_up(code="import time; time.sleep(60)"):
        def popen(words, **settings):
            running.append(real([sys.executable, "-c", code], **settings))
            return running[-1]

        monkeypatch.setattr(subprocess, "Popen", popen)

    yield set_up
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.parametrize("part", ["curves", "sweeps", "start"])
@pytest.mark.parametrize("store", ["full", "empty", "one", "damaged"])
def test_every_part_opens_over_every_store(part, store, open_app, request):
    app = open_app(request.getfixturevalue(store), "training", part=part)
    assert not app.exception
    assert not app.error
    assert app.title[0].value == TITLE


def test_empty_store_begins_with_the_form(empty, open_app):
    app = open_app(empty, "training")
    assert "no runs here yet" in texts(app)
    assert button(app, "Start the sweep") is not None
    assert not empty.exists()
    app = open_app(empty, "training", part="curves")
    assert app.code[0].value == f"finegates demo --store '{empty}'"


def test_damaged_run_is_named(damaged, open_app):
    assert "1 damaged run is skipped" in [e.label for e in open_app(damaged, "training").expander]


def test_every_run_can_be_looked_at(full, open_app):
    store = RunStore(full)
    frame = store.frame()
    for method in ("finegates", "random", "full"):
        run = frame.loc[frame["method"] == method, "run_id"].iloc[-1]
        app = open_app(full, "training", part="curves", run=run)
        assert not app.exception
        assert not app.error
        assert "The loss fell from 0.7 to 0.4" in texts(app)


@pytest.mark.parametrize("run", ["sst2-finegates-t0.50-s0-000000000000", "../../etc/passwd"])
def test_run_that_is_not_there_is_said(full, open_app, run):
    app = open_app(full, "training", part="curves", run=run)
    assert not app.exception
    assert "The address asks for the run" in app.warning[0].value


def test_running_sweep_says_how_far_it_is_and_what_is_left(full, open_app, tmp_path):
    import shutil

    root = shutil.copytree(full, tmp_path / "copy")
    with SweepWriter(root, state_of()):
        app = open_app(root, "training")
        assert not app.exception
        assert "SST-2, FineGates, path** · running" in texts(app)
        table = app.dataframe[0].value
        assert list(table["State"]) == ["done", "step 5 of 20, 30 s left"]
        assert list(table["Done"]) == [100.0, 25.0]
        assert button(app, "Stop") is not None
    app = open_app(root, "training", part="sweeps")
    assert "finished" in texts(app)
    assert button(app, "Stop") is None


def test_sweep_whose_process_is_gone_is_said_to_have_stopped(one, open_app):
    with SweepWriter(one, state_of()) as writer:
        text = (writer.folder / f"{writer.state.sweep_id}.json").read_text()
    (one / FOLDER / "20260101-000000-sst2-abcdef.json").write_text(text)
    app = open_app(one, "training", part="sweeps")
    assert "ended without a word" in texts(app)
    assert list(app.dataframe[0].value["State"])[1] == "stopped at step 5 of 20"


def test_unreadable_state_is_a_note(one, open_app):
    (one / FOLDER).mkdir(exist_ok=True)
    (one / FOLDER / "20260101-000000-sst2-abcdef.json").write_text("{<b>")
    app = open_app(one, "training", part="sweeps")
    assert not app.exception
    assert "cannot be used" in app.warning[0].value


def test_form_starts_a_sweep_that_can_be_stopped_and_resumed(one, open_app, sleeping):
    sleeping()
    app = open_app(one, "training", part="start")
    button(app, "Start the sweep").click().run()
    assert not app.exception
    assert "starting" in texts(app)
    (launch,) = sweep_process.launches(one)
    assert launch.request.task == "agreement"
    assert sweep_process.alive(launch)
    button(app, "Stop").click().run()
    for _ in range(100):
        if not sweep_process.alive(launch):
            break
        time.sleep(0.05)
    app.run()
    assert "did not start" in texts(app)
    button(app, "Resume").click().run()
    assert sweep_process.alive(sweep_process.launches(one)[0])


def test_second_sweep_is_refused_in_words(one, open_app, sleeping):
    sleeping()
    app = open_app(one, "training", part="start")
    button(app, "Start the sweep").click().run()
    app = open_app(one, "training", part="start")
    button(app, "Start the sweep").click().run()
    assert not app.exception
    assert "still running" in texts(app)
    assert len(sweep_process.launches(one)) == 1


def test_reason_why_it_did_not_start_is_shown(one, open_app, sleeping):
    sleeping("print('Column <b>x</b> is missing. Choose with --text-fields.')")
    app = open_app(one, "training", part="start")
    button(app, "Start the sweep").click().run()
    (launch,) = sweep_process.launches(one)
    while sweep_process.alive(launch):
        time.sleep(0.05)
    app.run()
    assert app.error[0].value.replace("\\", "") == (
        "Column <b>x</b> is missing. Choose with Text columns."
    )
    assert "\\<b\\>" in app.error[0].value


@pytest.mark.parametrize(
    ("label", "text", "said"),
    [
        ("Targets, percent of the encoder's weights", "0, many", "Targets must be numbers"),
        ("Targets, percent of the encoder's weights", "150", "below 100%"),
        ("Seeds", "", "Seeds are missing"),
        ("Seeds", "<b>0</b>", "Seeds must be numbers"),
    ],
)
def test_bad_field_is_said_and_nothing_can_be_started(one, open_app, label, text, said):
    app = open_app(one, "training", part="start")
    next(field for field in app.text_input if field.label == label).set_value(text).run()
    assert not app.exception
    assert said in app.error[0].value.replace("\\", "")
    assert button(app, "Start the sweep") is None


def upload(app, name, data):
    app.selectbox(key="sweep-task").select("own").run()
    app.file_uploader[0].upload(name, data, "text/csv").run()
    return app


def test_upload_is_looked_at_checked_and_started(one, open_app, sleeping):
    sleeping()
    app = upload(open_app(one, "training", part="start"), "My rows.csv", GOOD.encode())
    assert not app.exception
    assert "16 rows to train on, 4 to score with; 2 classes (a, b)." in texts(app)
    button(app, "Start the sweep").click().run()
    (launch,) = sweep_process.launches(one)
    assert launch.request.task == "my-rows"
    assert (launch.request.text_fields, launch.request.label_field) == (("text",), "label")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\x00\x01\x02\x03", "cannot be read as CSV"),
        (b"text,label\na,x\nb,x\n", "have the label 'x'"),
        (b"a,a,label\nx,y,z\n", "two columns of one name"),
        (b"<html>\n<b>no table</b>\n", "has one column"),
    ],
)
def test_file_that_is_none_is_said_on_the_page(one, open_app, data, said):
    app = upload(open_app(one, "training", part="start"), "rows.csv", data)
    assert not app.exception
    assert said in app.error[0].value.replace("\\", "")
    assert button(app, "Start the sweep") is None


def test_long_cells_and_markup_are_shown_cut_and_plain(one, open_app):
    rows = "".join(f'"{"x" * 100_000}{i}","<b>{"ab"[i % 2]}</b>"\n' for i in range(12))
    app = upload(
        open_app(one, "training", part="start"), "rows.csv", f"text,label\n{rows}".encode()
    )
    assert not app.exception
    assert not app.error
    preview = app.dataframe[0].value
    assert preview["text"].str.len().max() < 100
    assert any("\\<b\\>a" in str(m.value) for m in app.markdown)


def test_state_belongs_to_the_launch_of_its_process(one, sleeping):
    sleeping()
    from explorer.processes.sweep_request import request

    launch = sweep_process.start(one, request(task="sst2", targets=(0.0,), seeds=(0,)))
    own = state_of(launch.process_id, started=time.time())
    old = dataclasses.replace(own, started=launch.started - 999, state="finished")
    other = dataclasses.replace(own, process_id=1, state="finished")
    found = sweeps_view.sweeps(one, [own, old, other])
    assert found[0].launch == launch
    assert found[0].state == own
    assert [shown.launch for shown in found[1:]] == [None, None]
