"""The store: whole runs or none, damaged ones named, nothing out of its folder."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest
from run_examples import make_config, make_result

from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.runs import index
from finegates_engine.runs import store as runs
from finegates_engine.runs.core_files import encode
from finegates_engine.runs.store import RunStore

CORE = {
    "run.json",
    "history.parquet",
    "predictions.parquet",
    "adapter.safetensors",
    "gate_history.safetensors",
}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


@pytest.fixture
def saved(store):
    """A store with one intact run; its id and folder."""
    result = make_result()
    assert store.save(result)
    return store, result.run_id, store.root / "agreement" / result.run_id


def leftovers(store):
    """What lies in the work folder, locks aside."""
    work = store.root / ".work"
    if not work.exists():
        return []
    return [p.name for p in work.rglob("*") if p.is_file() and not p.name.endswith(".lock")]


def test_loaded_run_is_the_saved_one(saved):
    store, run_id, folder = saved
    result, run = make_result(), store.load(run_id)
    assert set(os.listdir(folder)) == CORE
    assert run.run_id == run_id
    assert run.folder == folder
    assert (run.config, run.ladder) == (result.config, result.ladder)
    assert run.record == result.record(run.record.files)
    pd.testing.assert_frame_equal(run.history, result.history)
    pd.testing.assert_frame_equal(run.predictions, result.predictions)
    assert run.adapter.keys() == result.adapter.keys()
    for name, values in result.adapter.items():
        np.testing.assert_array_equal(run.adapter[name], values)
        assert run.adapter[name].dtype == values.dtype
    assert run.masks["0/ffn"].tolist() == [False] * 4 + [True] * 6
    assert run.gate_history.steps.tolist() == [10, 20]
    np.testing.assert_array_equal(
        run.gate_history.values["0/ffn"], result.gate_history.values["0/ffn"]
    )
    run.verify()


def test_run_without_weights_or_gate_history_has_neither_file(store):
    result = make_result(adapter={}, gate_history=None)
    store.save(result)
    run = store.load(result.run_id)
    assert set(os.listdir(run.folder)) == CORE - {
        "adapter.safetensors",
        "gate_history.safetensors",
    }
    assert run.adapter == {}
    assert run.masks == {}
    assert run.gate_history is None


def test_saved_run_never_changes(saved):
    store, run_id, folder = saved
    before = {name: (folder / name).read_bytes() for name in CORE}
    other = make_result(metrics={"validation": {"accuracy": 0.1, "mcc": 0.0}})
    assert other.run_id == run_id
    assert store.save(other) is False
    assert {name: (folder / name).read_bytes() for name in CORE} == before


def test_run_encoded_elsewhere_is_saved_when_its_files_are_whole(store):
    result = make_result()
    files = encode(result)
    for name in files:
        if name == "run.json":
            continue
        with pytest.raises(Damaged, match=f"{name} is not the file that run.json describes"):
            store.save_files({**files, name: files[name] + b"x"})
        with pytest.raises(Damaged, match=f"{name} is not the file"):
            store.save_files({key: data for key, data in files.items() if key != name})
    with pytest.raises(Damaged, match=r"run.json is missing"):
        store.save_files({})
    with pytest.raises(Damaged, match=r"extra.txt is not the file"):
        store.save_files({**files, "extra.txt": b""})
    assert store.ids() == []
    assert store.save_files(files)
    assert not store.save_files(files)
    store.load(result.run_id).verify()


def test_damaged_run_is_set_aside_when_it_is_made_again(saved):
    store, run_id, folder = saved
    (folder / "run.json").write_text("{")
    assert not store.exists(run_id)
    assert store.save(make_result()) is True
    assert store.exists(run_id)
    aside = list((store.root / ".work" / "damaged").iterdir())
    assert len(aside) == 1
    assert (aside[0] / "run.json").read_text() == "{"
    assert store.damaged() == []


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


def start(code, *arguments):
    """A process that runs `code` beside this file."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["tests", *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


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


def edit(folder, change):
    values = json.loads((folder / "run.json").read_text())
    change(values)
    (folder / "run.json").write_text(json.dumps(values))


DAMAGE = {
    "truncated": (
        lambda f: (f / "run.json").write_bytes((f / "run.json").read_bytes()[:700]),
        "run.json is not valid JSON",
    ),
    "empty": (lambda f: (f / "run.json").write_bytes(b""), "run.json is not valid JSON"),
    "not utf-8": (lambda f: (f / "run.json").write_bytes(b"\xff\xfe{}"), "run.json is not valid"),
    "a list": (lambda f: (f / "run.json").write_text("[]"), "run.json has wrong values"),
    "nested": (lambda f: (f / "run.json").write_text("[" * 100_000), "run.json is not valid JSON"),
    "no run.json": (lambda f: (f / "run.json").unlink(), "run.json is missing"),
    "wrong type": (
        lambda f: edit(f, lambda v: v["costs"].update(steps="40")),
        "costs.steps: input should be a valid integer, got '40'",
    ),
    "NaN": (
        lambda f: edit(f, lambda v: v["ladder"].update(macs_per_token=float("nan"))),
        "ladder.macs_per_token: input should be a finite number",
    ),
    "huge number": (
        lambda f: (f / "run.json").write_text(
            (f / "run.json").read_text().replace('"mcc": 0.5', '"mcc": 1e999')
        ),
        "metrics.validation.mcc: input should be a finite number",
    ),
    "missing field": (lambda f: edit(f, lambda v: v.pop("ladder")), "ladder: field required"),
    "extra field": (lambda f: edit(f, lambda v: v.update(x=1)), "x: "),
    "no schema": (lambda f: edit(f, lambda v: v.pop("schema_version")), "schema version"),
    "newer schema": (
        lambda f: edit(f, lambda v: v.update(schema_version=2)),
        "run.json has schema version 2, this version of the engine reads 1",
    ),
    "bad config": (
        lambda f: edit(f, lambda v: v["config"]["gates"].update(target=1.5)),
        "config.gates.target: input should be less than 1, got 1.5",
    ),
    "another id": (
        lambda f: edit(f, lambda v: v.update(run_id="other")),
        "run.json is that of 'other', not of its folder",
    ),
    "another task": (
        lambda f: edit(f, lambda v: v["config"]["task"].update(name="mrpc")),
        "run.json is of task 'mrpc', not of its folder",
    ),
    "file outside": (
        lambda f: edit(f, lambda v: v["files"].update({"../x": v["files"]["history.parquet"]})),
        "run.json names files that no run has: ../x",
    ),
    "file not named": (
        lambda f: edit(f, lambda v: v["files"].pop("history.parquet")),
        "run.json does not name history.parquet",
    ),
    "missing file": (
        lambda f: (f / "predictions.parquet").unlink(),
        "predictions.parquet is missing",
    ),
    "truncated file": (
        lambda f: os.truncate(f / "adapter.safetensors", 10),
        "adapter.safetensors has 10 bytes",
    ),
    "too large": (
        lambda f: os.truncate(f / "run.json", 5 * 2**20),
        "run.json is too large: 5,242,880 bytes",
    ),
    "link": (
        lambda f: _replace_by_link(f / "run.json", f.parents[2] / "outside.json"),
        "run.json is a link that leads out of the store",
    ),
    "folder link": (
        lambda f: _replace_by_link(f, f.parents[2] / "outside"),
        "link that leads out of the store",
    ),
    "name": (lambda f: f.rename(f.parent / "my-run"), "its name is not a run id"),
}


def _replace_by_link(path, outside):
    os.rename(path, outside)
    path.symlink_to(outside)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("index", ["with index", "without index"])
def test_damaged_run_is_named_and_skipped_and_all_else_works(saved, damage, index):
    store, run_id, folder = saved
    other = make_result(make_config(seed=1))
    store.save(other)
    if index == "with index":
        assert len(store.frame()) == 2
    change, reason = DAMAGE[damage]
    change(folder)
    assert store.ids() == [other.run_id]
    ((path, said),) = store.damaged()
    assert reason in said
    assert path == ("agreement/my-run" if damage == "name" else f"agreement/{run_id}")
    assert not store.exists(run_id)
    store.load(other.run_id).verify()
    if damage != "name":
        with pytest.raises(Damaged, match=f"Run '{run_id}' is damaged: "):
            store.load(run_id)
        store.delete(run_id)
        assert store.damaged() == []


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("adapter.safetensors", lambda run: run.adapter),
        ("predictions.parquet", lambda run: run.predictions),
        ("history.parquet", lambda run: run.history),
        ("gate_history.safetensors", lambda run: run.gate_history),
    ],
)
def test_changed_content_of_the_same_size_is_found_by_its_checksum(saved, name, read):
    store, run_id, folder = saved
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    run = store.load(run_id)
    with pytest.raises(Damaged, match=f"{name} of {run_id} is not the file that was saved"):
        read(run)
    assert store.damaged() == []
    ((path, reason),) = store.damaged(verify=True)
    assert path == f"agreement/{run_id}"
    assert name in reason


BAD_IDS = [
    "../x",
    "",
    ".",
    "agreement/../../x",
    "a\\b",
    "/etc/passwd",
    "mrpc-finegates-t0.40-s0-1a2b3c4d5e6f\n",
    "mrpc-finegates-t0.40-s0-1A2B3C4D5E6F",
    "../mrpc-finegates-t0.40-s0-1a2b3c4d5e6f",
    "x" * 500,
]


@pytest.mark.parametrize("run_id", BAD_IDS)
def test_run_id_that_could_not_be_one_is_refused_everywhere(store, run_id):
    actions = (store.load, store.exists, store.delete, store.scratch, store.lock)
    actions += (store.clear_scratch, lambda name: store.add_file(name, "certificate.json", b"{}"))
    for action in actions:
        with pytest.raises(UserError) as error:
            action(run_id)
        assert str(error.value).startswith(f"Run id {run_id!r} is not one")
    with pytest.raises(UserError, match="Run id"):
        store.save(make_result(run_id=run_id))


def test_run_id_of_another_task_is_refused(store):
    with pytest.raises(UserError, match="must begin with its task, 'agreement'"):
        store.save(make_result(run_id="mrpc-finegates-t0.40-s0-1a2b3c4d5e6f"))


def test_run_that_is_not_there_is_said_so(store):
    with pytest.raises(UserError, match=r"Run 'mrpc-x-t0.40-s0-1a2b3c4d5e6f' is not in the store"):
        store.load("mrpc-x-t0.40-s0-1a2b3c4d5e6f")
    with pytest.raises(UserError, match="is not in the store"):
        store.delete("mrpc-x-t0.40-s0-1a2b3c4d5e6f")


def test_part_of_an_id_finds_the_one_run_that_it_fits(store):
    results = [make_result(make_config(seed=seed)) for seed in (0, 1)]
    for result in results:
        store.save(result)
    first = results[0].run_id
    digest = first.rsplit("-", 1)[1]
    for text in (first, digest, digest[:6], digest[-6:], "agreement-finegates-t0.40-s0"):
        assert store.resolve(text) == first
    with pytest.raises(UserError, match=r"'agreement' fits 2 runs: .*Give more of the id"):
        store.resolve("agreement")
    for text in ("zzz", ""):
        with pytest.raises(UserError, match=f"No run id begins or ends with {text!r}"):
            store.resolve(text)


def test_deleted_run_is_gone_and_leaves_nothing(saved):
    store, run_id, folder = saved
    store.delete(run_id)
    assert not folder.exists()
    assert store.ids() == []
    assert leftovers(store) == []


def test_task_whose_name_begins_like_another_is_not_confused(store):
    results = [make_result(make_config(task=task)) for task in ("my", "my-task")]
    for result in results:
        assert store.save(result)
    assert [store.load(r.run_id).config.task.name for r in results] == ["my", "my-task"]


def test_certificate_and_timings_follow_later_and_leave_the_core_alone(saved):
    store, run_id, folder = saved
    before = {name: (folder / name).read_bytes() for name in CORE}
    assert store.load(run_id).certificate is None
    assert store.load(run_id).timings == {}
    store.add_file(run_id, "certificate.json", b'{"largest": 1e-7}')
    store.add_file(run_id, "timings/ab12.json", b'{"latency_ms": [1.5]}')
    store.add_file(run_id, "certificate.json", b'{"largest": 2e-7}')
    run = store.load(run_id)
    assert run.certificate == {"largest": 2e-7}
    assert run.timings == {"ab12": {"latency_ms": [1.5]}}
    assert {name: (folder / name).read_bytes() for name in CORE} == before
    assert set(os.listdir(folder)) == CORE | {"certificate.json", "timings"}


@pytest.mark.parametrize(
    "name",
    ["run.json", "adapter.safetensors", "../x.json", "timings/../run.json", "timings/.json", "x"],
)
def test_other_names_cannot_be_added_to_a_run(saved, name):
    store, run_id, _ = saved
    with pytest.raises(UserError, match=r"cannot be added to a run. Choose certificate.json"):
        store.add_file(run_id, name, b"{}")


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"a": NaN}', b""])
def test_added_file_must_be_a_json_object(saved, data):
    store, run_id, _ = saved
    with pytest.raises(UserError, match=r"certificate.json (must be a JSON object|is not valid)"):
        store.add_file(run_id, "certificate.json", data)


def test_added_file_does_not_leave_the_store_through_a_link(saved, tmp_path):
    store, run_id, folder = saved
    (tmp_path / "elsewhere").mkdir()
    (folder / "timings").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of the store"):
        store.add_file(run_id, "timings/a.json", b"{}")
    (tmp_path / "elsewhere" / "a.json").write_text("{}")
    with pytest.raises(Damaged, match=f"Run '{run_id}': timings is a link that leads out of the"):
        _ = store.load(run_id).timings


def test_store_that_cannot_be_written_is_noticed_before_a_training(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/store")):
        with pytest.raises(UserError, match=r"Store .* cannot be written \(.*Choose another fol"):
            RunStore(root).check_writable()


def test_check_of_a_writable_store_leaves_nothing(store):
    store.check_writable()
    assert leftovers(store) == []
    assert store.ids() == []


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


def test_scratch_is_in_the_store_and_not_a_run(store):
    run_id = make_result().run_id
    folder = store.scratch(run_id)
    assert folder == store.root / ".work" / run_id
    assert folder.is_dir()
    (folder / "checkpoint").write_text("x")
    assert store.scratch(run_id) == folder
    assert (folder / "checkpoint").exists()
    assert store.ids() == []
    assert store.damaged() == []
    store.clear_scratch(run_id)
    assert not folder.exists()


def test_no_pickle_is_ever_opened(saved):
    store, run_id, folder = saved
    assert not any(b"\x80\x04\x95" in (folder / name).read_bytes() for name in CORE)
    objects = np.array([{"a": 1}], dtype=object)
    with pytest.raises(ValueError, match=r"'head.x' must hold numbers, got object"):
        make_result(adapter={"head.x": objects})
    assert store.ids() == [run_id]


ODD_NAMES = [b"not utf-8 \xff", b"\x1b[31mred", b"two\nlines", b"<b>x</b>"[:4], b"x" * 255]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("place", ["run", "task"])
def test_damage_of_an_odd_name_is_named_in_one_line_that_any_terminal_shows(saved, name, place):
    store, run_id, folder = saved
    if place == "run":
        os.rename(folder, os.path.join(os.fsencode(folder.parent), name))
    else:
        os.mkdir(os.path.join(os.fsencode(store.root), name))
        target = os.path.join(os.fsencode(store.root), name, os.fsencode(run_id))
        os.rename(folder, target)
    ((path, reason),) = store.damaged()
    assert reason
    assert path.isprintable()
    path.encode()


def test_what_lies_in_the_place_of_a_run_is_named(saved):
    store, run_id, folder = saved
    shutil.rmtree(folder)
    for make, reason in (
        (lambda: folder.write_text("x"), "is not a folder"),
        (lambda: os.mkfifo(folder), "is not a folder"),
        (lambda: folder.symlink_to(folder.name), "is a link that leads nowhere"),
        (lambda: folder.symlink_to("nothing"), "is a link that leads nowhere"),
    ):
        make()
        assert store.damaged() == [(f"agreement/{run_id}", reason)]
        folder.unlink()


@pytest.mark.parametrize("name", ["history", "predictions", "adapter", "gate_history"])
def test_content_that_is_sealed_and_no_such_content_names_its_run(saved, name):
    store, run_id, folder = saved
    (path,) = folder.glob(f"{name}.*")
    data = b"PAR1 nothing of this kind PAR1"
    path.write_bytes(data)
    described = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit(folder, lambda values: values["files"].update({path.name: described}))
    with pytest.raises(Damaged, match=f"{path.name} of {run_id} cannot be used"):
        getattr(store.load(run_id), name)
    ((place, reason),) = store.damaged(verify=True)
    assert place == f"agreement/{run_id}"
    assert run_id in reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v["metrics"]["validation"].update({f"m{i}": 0.5 for i in range(60)}), "at most"),
        (lambda v: v["metrics"]["validation"].update({"<b>x</b>": 0.5}), "not allowed here"),
        (lambda v: v["costs"].update(steps=10**400), "costs.steps"),
        (lambda v: v["costs"].update(steps=2**60), "costs.steps"),
        (lambda v: v["shape"].update(layers=10**9), "larger than any is"),
        (lambda v: v["ladder"].update(folded_encoder_fraction=7.5), "folded_encoder_fraction must"),
        (lambda v: v["ladder"].update(gates_total=10**30), "ladder.gates_total"),
        (lambda v: v["config"]["model"].update(backbone="\x1b[31m"), "not allowed here"),
        (lambda v: v["config"]["model"].update(backbone="<b>x</b>"), "not allowed here"),
        (lambda v: v["config"].update(path=[-1.0]), "path must be"),
        (lambda v: v.update({f"more {i}": 1 for i in range(20_000)}), "run.json has wrong values"),
    ],
)
def test_numbers_and_texts_beyond_all_bounds_are_damage(saved, change, reason):
    store, run_id, folder = saved
    edit(folder, change)
    ((path, said),) = store.damaged()
    assert path == f"agreement/{run_id}"
    assert reason in said
    assert len(said) < 500
