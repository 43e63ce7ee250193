"""A save that fails or is killed leaves no run, and what it leaves is found and removed."""

import os
import signal

import pytest
from run_examples import make_result
from store_checks import CORE, leftovers, start

from finegates_engine.errors import UserError
from finegates_engine.runs import store as runs


@pytest.mark.parametrize("step", ["write_synced", "rename"])
def test_failure_in_the_middle_of_a_save_leaves_nothing(store, monkeypatch, step):
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        if step == "write_synced" and len(calls) < 3:
            return original(*arguments)
        raise OSError(28, "No space left on device")

    target = runs if step == "write_synced" else runs.os
    original = getattr(target, step)
    monkeypatch.setattr(target, step, fail)
    with pytest.raises(UserError, match=r"could not be saved in .* \(No space left on device\)"):
        store.save(make_result())
    monkeypatch.undo()
    assert calls
    assert leftovers(store) == []
    assert store.ids() == []
    assert store.damaged() == []
    assert store.save(make_result())


def test_process_killed_before_the_rename_leaves_no_run(store):
    process = start(
        """
        import os, signal, sys
        from finegates_engine.runs.store import RunStore
        from run_examples import make_result
        os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        RunStore(sys.argv[1]).save(make_result())
        """,
        store.root,
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert set(leftovers(store)) == CORE  # it was killed when all was written
    assert store.ids() == []
    assert store.damaged() == []
    store.clear_scratch(make_result().run_id)
    assert leftovers(store) == []
    assert store.save(make_result())


def test_what_a_killed_save_has_left_is_found_without_its_scratch(store):
    run_id = make_result().run_id
    store.save(make_result())
    left = store.root / ".work" / f"saving-{run_id}-0a1b2c3d4e5f"
    left.mkdir()
    assert store.left_of(run_id) == [left]
    store.clear_scratch(run_id)
    assert store.left_of(run_id) == []


def test_probe_of_a_killed_process_goes_with_the_next_one(store):
    store.check_writable()
    probe = store.root / ".work" / "probe-0a1b2c"
    probe.touch()
    os.utime(probe, (1.0, 1.0))
    store.check_writable()
    assert leftovers(store) == []
