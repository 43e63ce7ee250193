"""Damaged runs: named with the reason, never loaded, and in nobody's way."""

import hashlib
import json
import os
import shutil

import pytest
from run_examples import make_config, make_result

from finegates_engine.files import Damaged


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
