"""The live state of a sweep: written by its process, read by others."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweep_states import cell, state
from tiny import child_environment

from finegates_engine.sweep import writer as sweep_writer
from finegates_engine.sweep.state import FOLDER, SweepState, read_sweeps
from finegates_engine.sweep.writer import SweepWriter, new_sweep_id, seconds_left


def test_another_reader_sees_the_plan_at_once_and_each_change(tmp_path: Path) -> None:
    with SweepWriter(tmp_path, state()) as writer:
        (seen,) = read_sweeps(tmp_path)
        assert seen.state == "running"
        assert [c.state for c in seen.cells] == ["planned", "planned"]
        writer.update("b", {"state": "running", "step": 3, "steps": 12, "score": 0.5})
        (seen,) = read_sweeps(tmp_path)
        assert seen.current == cell("b", state="running", step=3, steps=12, score=0.5)
    (seen,) = read_sweeps(tmp_path)
    assert seen.state == "finished"
    assert seen.ended is not None


def test_steps_alone_are_written_at_most_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(sweep_writer, "write_atomic", lambda path, data: written.append(data))
    told: list[SweepState] = []
    with SweepWriter(tmp_path, state(), told.append) as writer:
        writer.update("a", {"state": "running"})
        before = len(written)
        for step in range(50):
            writer.update("a", {"step": step})
        assert len(written) == before
        assert len(told) == 52
        monkeypatch.setattr(sweep_writer, "WRITE_SECONDS", 0.0)
        writer.update("a", {"step": 51})
        assert len(written) == before + 1


def test_a_lost_worker_reaches_readers_at_once(tmp_path: Path) -> None:
    with SweepWriter(tmp_path, state()) as writer:
        writer.update("a", {"state": "running", "worker": "process 7"})
        assert read_sweeps(tmp_path)[0].cells[0].worker == "process 7"
        writer.update("a", {"retries": 1, "note": "Its worker was lost."})
        seen = read_sweeps(tmp_path)[0].cells[0]
        assert (seen.retries, seen.note) == (1, "Its worker was lost.")
    assert read_sweeps(tmp_path)[0].cells[0] == dataclasses.replace(
        seen, state="planned", worker=None
    )


def test_interrupt_and_error_are_told_apart(tmp_path: Path) -> None:
    def sweep(name: str, error: BaseException) -> None:
        with SweepWriter(tmp_path, state(sweep_id=name)) as writer:
            writer.update("a", {"state": "running"})
            raise error

    with pytest.raises(KeyboardInterrupt):
        sweep("one", KeyboardInterrupt())
    with pytest.raises(ZeroDivisionError):
        sweep("two", ZeroDivisionError("oh"))
    two, one = read_sweeps(tmp_path)
    assert (one.state, one.note) == ("interrupted", None)
    assert one.cells[0].state == "planned"
    assert (two.state, two.note) == ("failed", "ZeroDivisionError: oh")


HOLDS = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from sweep_states import state
from finegates_engine.sweep.writer import SweepWriter
with SweepWriter(Path({root!r}), state()) as writer:
    writer.update("a", {{"state": "running", "step": 3, "steps": 12}})
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_sweep_whose_process_was_killed_is_recognised(tmp_path: Path) -> None:
    code = HOLDS.format(tests=str(Path(__file__).parents[1]), root=str(tmp_path))
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=child_environment()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    (alive,) = read_sweeps(tmp_path)
    assert alive.state == "running"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    (dead,) = read_sweeps(tmp_path)
    assert dead.state == "died"
    assert dead.note is not None
    assert "The same command goes on" in dead.note
    assert dead.cells[0].step == 3


def test_what_a_sweep_killed_in_a_write_has_left_goes_with_the_next_sweep(tmp_path: Path) -> None:
    with SweepWriter(tmp_path, state()) as alive:
        mine = tmp_path / FOLDER / f".{alive.state.sweep_id}.json.0a1b2c3d4e5f.tmp"
        left = tmp_path / FOLDER / ".20200101-000000-reviews-0a1b2c.json.0a1b2c3d4e5f.tmp"
        for path in (mine, left):
            path.write_text("{")
        with SweepWriter(tmp_path, dataclasses.replace(state(), sweep_id="another")):
            pass
        assert mine.exists(), "its sweep lives"
        assert not left.exists()


def test_a_state_that_cannot_be_used_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    with SweepWriter(tmp_path, state()):
        pass
    folder = tmp_path / FOLDER
    (folder / "x-half.json").write_text('{"sweep_id": "x"')
    (folder / "y-other.json").write_text('{"sweep_id": "y"}')
    (folder / "z-link.json").symlink_to("/etc/hostname")
    sweeps = read_sweeps(tmp_path)
    assert [sweep.state for sweep in sweeps] == ["unreadable"] * 3 + ["finished"]
    assert (
        sweeps[0].note
        == "z-link.json cannot be used: z-link.json is a link that leads out of the store"
    )
    assert "y-other.json cannot be used" in (sweeps[1].note or "")


def test_an_empty_or_missing_store_has_no_sweeps(tmp_path: Path) -> None:
    assert read_sweeps(tmp_path) == []
    assert read_sweeps(tmp_path / "nowhere") == []


def test_a_sweep_goes_on_when_its_state_cannot_be_written(tmp_path: Path) -> None:
    with SweepWriter(tmp_path, state()) as writer:
        for file in (tmp_path / FOLDER).iterdir():
            file.unlink()
        (tmp_path / FOLDER).rmdir()
        writer.update("a", {"state": "done"})
    assert writer.state.count("done") == 1


def test_only_the_newest_ended_sweeps_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_writer, "KEPT", 2)
    for number in range(4):
        with SweepWriter(tmp_path, state(sweep_id=f"sweep-{number}")):
            pass
    assert [sweep.sweep_id for sweep in read_sweeps(tmp_path)] == ["sweep-3", "sweep-2", "sweep-1"]


def test_names_of_sweeps_sort_by_age(monkeypatch: pytest.MonkeyPatch) -> None:
    early = new_sweep_id("mrpc")
    later = time.gmtime(time.time() + 3600)
    monkeypatch.setattr(sweep_writer.time, "gmtime", lambda: later)
    assert early < new_sweep_id("mrpc")


def test_time_left_is_estimated_from_the_epochs_that_ran() -> None:
    done = cell("a", state="done", seconds=10.0)  # 5 s an epoch
    half = cell("b", state="running", step=6, steps=12, seconds_left=5.0)
    level = cell("c", epochs=1.0)
    assert seconds_left([cell("x"), cell("y")]) is None
    assert seconds_left([done, half, level]) == pytest.approx(5 + 1.0 * 5)
    assert seconds_left([half, level]) == pytest.approx(5 + 1.0 * 5)
    cached = dataclasses.replace(done, cached=True)
    assert seconds_left([cached, level]) is None
    assert seconds_left([done, done]) == 0


def test_time_left_of_cells_that_are_trained_at_a_time_is_shared() -> None:
    fast = cell("a", state="running", step=6, steps=12, seconds_left=5.0)  # 5 s an epoch
    slow = cell("b", state="running", step=6, steps=12, seconds_left=25.0)  # 25 s an epoch
    assert seconds_left([fast, fast]) == 5
    assert seconds_left([fast, slow]) == 25
    waiting = [cell(str(n)) for n in range(4)]  # 8 epochs of 15 s
    assert seconds_left([fast, slow, *waiting]) == pytest.approx((30 + 8 * 15) / 2)


def test_a_folder_of_states_that_leads_out_of_the_store_is_named_and_not_listed(
    tmp_path: Path,
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.json").write_text("{}")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".sweeps").symlink_to(tmp_path / "outside")
    (found,) = read_sweeps(tmp_path / "store")
    assert found.state == "unreadable"
    assert "link that leads out of the store" in str(found.note)
