"""Sweeps as processes: start, finish, stop, resume; only the sweep's own process is touched."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest

from explorer.loading.uploads import save_upload
from explorer.processes import sweep_process, sweep_request
from explorer.processes.sweep_process import (
    alive,
    launches,
    load,
    log_text,
    start,
    stop,
    stop_recorded,
)
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.state import FOLDER, read_sweeps

ROWS = "text,label\n" + "".join(
    f"the {noun} was {word} {number},{label}\n"
    for number in range(12)
    for noun, word, label in (("film", "good", "up"), ("play", "dull", "down"))
)
WAIT_S = 90


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def asked(tmp_path, tiny_backbone):
    upload = save_upload(tmp_path, "rows.csv", ROWS.encode())
    return sweep_request.request(
        task="mine",
        targets=(0.0, 0.4),
        seeds=(0,),
        upload=upload,
        text_fields=("text",),
        epochs=2.0,
        backbone=str(tiny_backbone),
    )


@pytest.fixture
def sleeper(monkeypatch):
    """Launches sleep in place of a sweep, so that a test takes no training."""
    real, running = subprocess.Popen, []

    def popen(words, **settings):
        assert words[1:4] == ["-m", "finegates_engine", "sweep"]
        running.append(real([sys.executable, "-c", "import time; time.sleep(60)"], **settings))
        return running[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    yield running
    for process in running:
        process.kill()
        process.wait()


def until(condition, what):
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    return pytest.fail(f"not within {WAIT_S} s: {what}")


@pytest.mark.slow
def test_sweep_is_stopped_and_resumed_to_its_end(tmp_path, asked):
    long = dataclasses.replace(asked, epochs=400.0)
    launch = start(tmp_path, long)
    until(lambda: any(s.current and s.current.step > 2 for s in read_sweeps(tmp_path)), "training")
    assert [one.launch_id for one in launches(tmp_path)] == [launch.launch_id]
    assert read_sweeps(tmp_path)[0].process_id == launch.process_id
    with pytest.raises(UserError, match="still running"):
        start(tmp_path, asked)
    stop(tmp_path, launch.launch_id)
    until(lambda: not alive(launch), "stopped")
    assert read_sweeps(tmp_path)[0].state == "interrupted"
    with pytest.raises(UserError, match="ended already"):
        stop(tmp_path, launch.launch_id)
    assert "Interrupted" in log_text(tmp_path, launch.launch_id)
    again = sweep_process.resume(tmp_path, launch.launch_id)
    assert again.launch_id == launch.launch_id
    assert again.process_id != launch.process_id
    until(lambda: len(read_sweeps(tmp_path)) == 2 and read_sweeps(tmp_path)[0].current, "resumed")
    stop(tmp_path, launch.launch_id, now=True)
    until(lambda: not alive(again), "killed")
    until(lambda: read_sweeps(tmp_path)[0].state == "died", "its lock is free")


def test_sweep_runs_to_its_end_and_its_runs_are_in_the_store(tmp_path, asked):
    launch = start(tmp_path, asked)
    until(lambda: not alive(launch), "finished")
    (state,) = read_sweeps(tmp_path)
    assert state.state == "finished", log_text(tmp_path, launch.launch_id)
    frame = RunStore(tmp_path).frame()
    assert sorted(frame["target"]) == [0.0, 0.4]
    assert set(frame["task"]) == {"mine"}
    assert RunStore(tmp_path).damaged() == []


def test_sweep_outlives_the_process_that_started_it(tmp_path, asked):
    code = (
        "from pathlib import Path\n"
        "from explorer.processes import sweep_process\n"
        "from explorer.processes.sweep_request import request\n"
        f"asked = dict(targets=(0.0,), seeds=(0,), backbone={asked.backbone!r})\n"
        f"sweep_process.start(Path({str(tmp_path)!r}), request(task='agreement', **asked))"
    )
    root = str(sweep_process._SOURCE)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    (launch,) = launches(tmp_path)
    assert alive(launch)
    assert os.getsid(launch.process_id) == launch.process_id
    stop(tmp_path, launch.launch_id, now=True)
    until(lambda: not alive(launch), "killed")


def test_error_of_the_start_is_in_the_log_in_words(tmp_path):
    made = sweep_request.request(task="agreement", targets=(0.0,), seeds=(0,), backbone="/no/where")
    launch = start(tmp_path, made)
    until(lambda: not alive(launch), "ended")
    said = log_text(tmp_path, launch.launch_id)
    assert "/no/where" in said
    assert "Traceback" not in said
    assert "\x1b" not in said


def test_process_of_another_birth_is_not_stopped(tmp_path, asked, sleeper):
    launch = start(tmp_path, asked)
    assert alive(launch)
    path = tmp_path / FOLDER / "launched" / launch.launch_id / "launch.json"
    path.write_text(path.read_text().replace(f'"{launch.birth}"', '"12345"'))
    assert not alive(load(tmp_path, launch.launch_id))
    with pytest.raises(UserError, match="ended already"):
        stop(tmp_path, launch.launch_id)
    assert sleeper[0].poll() is None


def test_process_that_does_not_hold_the_lock_is_not_stopped(tmp_path, sleeper, asked):
    launch = start(tmp_path, asked)
    from finegates_engine.sweep.state import CellState, SweepState
    from finegates_engine.sweep.writer import SweepWriter

    state = SweepState(
        sweep_id="20260101-000000-mine-abcdef",
        task="mine",
        method="finegates",
        strategy="path",
        target_unit="gates",
        metric="accuracy",
        process_id=launch.process_id,
        started=time.time(),
        heartbeat=time.time(),
        cells=(CellState(run_id="mine-x", target=0.0, seed=0, epochs=1.0),),
    )
    with SweepWriter(tmp_path, state):
        with pytest.raises(UserError, match="cannot be reached from here"):
            stop_recorded(tmp_path, state)
        assert sweep_process._has_open(
            os.getpid(), tmp_path / FOLDER / "20260101-000000-mine-abcdef.lock"
        )
    assert sleeper[0].poll() is None


def test_record_from_elsewhere_is_not_trusted(tmp_path, asked, sleeper):
    launch = start(tmp_path, asked)
    path = tmp_path / FOLDER / "launched" / launch.launch_id / "launch.json"
    good = json.loads(path.read_text())
    for change in (
        {"process_id": 1},
        {"command": ["rm", "-rf", "/"]},
        {"launch_id": "20260101-000000-abcdef"},
        {"request": good["request"] | {"upload": "../../run.json"}},
        {"request": good["request"] | {"task": "--store=/"}},
    ):
        path.write_text(json.dumps(good | change))
        assert launches(tmp_path) == []
        with pytest.raises(Damaged):
            sweep_process.resume(tmp_path, launch.launch_id)
    for name in ("../../../etc", "", "x" * 300):
        with pytest.raises(Damaged, match="no such launch"):
            load(tmp_path, name)
        assert log_text(tmp_path, name) == ""


def test_log_is_read_from_its_end(tmp_path, asked, sleeper):
    launch = start(tmp_path, asked)
    log = tmp_path / FOLDER / "launched" / launch.launch_id / "log.txt"
    log.write_bytes(b"a" * 50_000 + b"\xff the end")
    said = log_text(tmp_path, launch.launch_id)
    assert said.endswith("the end")
    assert len(said) <= sweep_process.LOG_BYTES


def test_old_launches_are_forgotten(tmp_path, asked, sleeper, monkeypatch):
    monkeypatch.setattr(sweep_process, "KEPT", 2)
    for _ in range(4):
        start(tmp_path, asked)
        sleeper[-1].kill()
        sleeper[-1].wait()
    assert len(launches(tmp_path)) == 3
