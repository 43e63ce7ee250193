"""Processes that save, delete, list and lock the same run at the same moment."""

import os

import filelock
import pytest
from run_examples import make_config, make_result
from store_checks import leftovers, start

from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.runs import index
from finegates_engine.runs import store as runs


@pytest.mark.parametrize("moment", ["read_record", "_signature"])
def test_run_deleted_while_a_listing_reads_it_is_gone_and_not_damaged(saved, monkeypatch, moment):
    store, run_id, folder = saved
    real = getattr(index, moment)

    def deletes_first(*args, **options):
        if folder.exists():
            store.delete(run_id)
        return real(*args, **options)

    monkeypatch.setattr(index, moment, deletes_first)
    frame, damaged = index.list_runs(store.root)
    assert frame.empty
    assert damaged == []


def test_run_deleted_between_its_name_and_a_look_at_it_is_not_damaged(saved, monkeypatch):
    store, run_id, folder = saved
    real = os.path.isdir

    def deletes_first(path):
        if str(path) == str(folder):
            store.delete(run_id)
        return real(path)

    monkeypatch.setattr(os.path, "isdir", deletes_first)
    assert index.list_runs(store.root)[1] == []


def test_run_deleted_and_saved_again_while_a_listing_reads_it_is_not_damaged(saved, monkeypatch):
    store, run_id, folder = saved
    real, files = index.read_record, {path.name: path.read_bytes() for path in folder.iterdir()}

    def deletes_first(*args, **options):
        store.delete(run_id)
        try:
            return real(*args, **options)
        finally:
            store.save_files(files)

    monkeypatch.setattr(index, "read_record", deletes_first)
    assert index.list_runs(store.root)[1] == []
    monkeypatch.setattr(index, "read_record", real)
    assert store.ids() == [run_id]


def test_run_deleted_while_it_is_loaded_is_unknown_and_not_damaged(saved, monkeypatch):
    store, run_id, _ = saved
    real = runs.read_record

    def deletes_first(folder, **options):
        store.delete(run_id)
        return real(folder, **options)

    monkeypatch.setattr(runs, "read_record", deletes_first)
    with pytest.raises(UserError, match="is not in the store") as caught:
        store.load(run_id)
    assert not isinstance(caught.value, Damaged)


def test_of_processes_that_save_the_same_run_one_wins_and_none_fails(store):
    code = """
        import sys
        from finegates_engine.runs.store import RunStore
        from run_examples import make_result
        result = make_result()
        print("ready", flush=True)
        sys.stdin.readline()
        print(RunStore(sys.argv[1]).save(result))
        """
    processes = [start(code, store.root) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(said) == ["False", "False", "True"]
    store.load(make_result().run_id).verify()
    assert leftovers(store) == []


def test_rename_decides_between_two_that_both_saw_no_run(saved, monkeypatch):
    store, run_id, _ = saved
    # The first look says "not there", as in the process that comes second.
    monkeypatch.setattr(store, "exists", _first_false(store.exists))
    assert store.save(make_result()) is False
    assert store.ids() == [run_id]
    assert leftovers(store) == []


def _first_false(function):
    looks = []

    def look(name):
        looks.append(name)
        return len(looks) > 1 and function(name)

    return look


def test_lock_is_refused_at_once_while_another_process_has_it(store):
    run_id = make_result().run_id
    process = start(
        """
        import sys
        from finegates_engine.runs.store import RunStore
        with RunStore(sys.argv[1]).lock(sys.argv[2]):
            print("held", flush=True)
            sys.stdin.readline()
        """,
        store.root,
        run_id,
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(filelock.Timeout):
        store.lock(run_id).acquire()
    with store.lock(make_result(make_config(seed=1)).run_id):
        pass
    process.kill()
    process.communicate(timeout=60)
    with store.lock(run_id) as lock:
        assert lock.is_locked
