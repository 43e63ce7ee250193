"""Runs copied into the store that goes with the project: whole, light, and what they still do."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from run_examples import make_config, make_result
from typer.testing import CliRunner

from finegates_engine.cli import entry as cli
from finegates_engine.config import TaskConfig
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import LeftOut
from finegates_engine.shipping.copy import ship
from finegates_engine.shipping.manifest import MANIFEST, manifest_bytes
from finegates_engine.sweep.plan import Job, _check_starts

ALL, NONE = (lambda _: True), (lambda _: False)


@pytest.fixture
def stores(tmp_path):
    """A working store of two seeds with absolute paths in them, and an empty one."""
    source = RunStore(tmp_path / "work")
    for seed in (0, 1):
        config = make_config(seed=seed)
        task = TaskConfig(name="agreement", data="/home/me/glue/agreement")
        assert source.save(make_result(dataclasses.replace(config, task=task)))
    source.add_file(source.ids()[0], "certificate.json", b'{"passed": true}')
    source.add_file(source.ids()[0], "timings/abc.json", b"{}")
    return source, RunStore(tmp_path / "out")


def files_of(store):
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in store.root.rglob("*")
        if path.is_file() and not path.relative_to(store.root).parts[0].startswith(".")
    }


def test_a_whole_copy_holds_the_same_values(stores):
    source, out = stores
    assert [run.outcome for run in ship(source, out, whole=ALL)] == ["whole", "whole"]
    for name in source.ids():
        one, other = source.load(name), out.load(name)
        other.verify()
        assert not other.is_light
        for key, values in one.adapter.items():
            np.testing.assert_array_equal(other.adapter[key], values)
        for key, values in one.gate_history.values.items():
            np.testing.assert_array_equal(other.gate_history.values[key], values)
        pd.testing.assert_frame_equal(one.predictions, other.predictions)
        pd.testing.assert_frame_equal(one.history, other.history)
        assert (one.certificate, one.timings) == (other.certificate, other.timings)


def test_a_light_copy_keeps_gates_scores_and_tables_but_no_weights(stores):
    source, out = stores
    assert {run.outcome for run in ship(source, out, whole=NONE)} == {"light"}
    name = source.ids()[0]
    one, other = source.load(name), out.load(name)
    other.verify()
    assert out.damaged(verify=True) == []
    assert other.is_light
    np.testing.assert_array_equal(one.gate_values["0/ffn"], other.gate_values["0/ffn"])
    np.testing.assert_array_equal(one.masks["0/ffn"], other.masks["0/ffn"])
    assert other.gate_history is None
    assert other.record.metrics == one.record.metrics
    assert other.certificate == {"passed": True}
    pd.testing.assert_frame_equal(one.predictions, other.predictions)
    lost = other.record.left_out.files
    assert lost == {
        n: one.record.files[n] for n in ("adapter.safetensors", "gate_history.safetensors")
    }
    row = out.frame().set_index("run_id").loc[name]
    assert (row["has_gates"], row["has_adapter"]) == (True, False)


def test_what_needs_the_weights_gives_the_command_that_makes_them(stores):
    source, out = stores
    ship(source, out, whole=NONE)
    name = out.ids()[0]
    with pytest.raises(LeftOut) as caught:
        _ = out.load(name).adapter
    assert "was shipped without its trained weights" in str(caught.value)
    assert "finegates sweep" in str(caught.value)
    assert "--data DIR/agreement" in str(caught.value)
    assert "--store remade" in str(caught.value)
    shown = CliRunner().invoke(cli.app, ["show", name, "--store", str(out.root)])
    assert shown.exit_code == 0
    assert "finegates sweep" in shown.output


def test_no_path_of_this_machine_is_shipped(stores):
    source, out = stores
    ship(source, out, whole=lambda record: record.config.seed == 0)
    for name, data in files_of(out).items():
        assert b"/home" not in data, name
    assert out.load(out.ids()[0]).config.task.data == "agreement"


def test_shipping_again_changes_nothing(stores):
    source, out = stores
    ship(source, out, whole=NONE)
    before = files_of(out)
    assert {run.outcome for run in ship(source, out, whole=NONE)} == {"there"}
    assert files_of(out) == before


def test_a_light_run_gives_way_to_a_whole_one_and_never_the_reverse(stores):
    source, out = stores
    ship(source, out, whole=NONE)
    assert {run.outcome for run in ship(source, out, whole=ALL)} == {"whole"}
    before = files_of(out)
    assert {run.outcome for run in ship(source, out, whole=NONE)} == {"there"}
    assert files_of(out) == before
    assert out.load(out.ids()[0]).certificate == {"passed": True}


def test_a_light_run_can_be_shipped_on(stores, tmp_path):
    source, out = stores
    ship(source, out, whole=NONE)
    last = RunStore(tmp_path / "last")
    assert {run.outcome for run in ship(out, last, whole=ALL)} == {"light"}
    assert files_of(last) == files_of(out)


def test_a_light_run_is_not_damaged_but_a_cut_one_is(stores):
    source, out = stores
    ship(source, out, whole=lambda record: record.config.seed == 0)
    whole, light = out.ids()
    assert out.damaged(verify=True) == []
    for name, file in ((whole, "adapter.safetensors"), (light, "gates.safetensors")):
        path = out.load(name).folder / file
        path.write_bytes(path.read_bytes()[:-1])
    assert [place for place, _ in out.damaged()] == [f"agreement/{whole}", f"agreement/{light}"]


def test_a_whole_run_without_its_adapter_is_damaged(stores):
    source, out = stores
    ship(source, out, whole=ALL)
    name = out.ids()[0]
    (out.load(name).folder / "adapter.safetensors").unlink()
    with pytest.raises(Damaged, match=r"adapter.safetensors is missing"):
        out.load(name)


def test_manifest_says_how_each_run_is_made_again(stores):
    source, out = stores
    ship(source, out, whole=lambda record: record.config.seed == 0)
    assert (out.root / MANIFEST).read_bytes() == manifest_bytes(out)
    runs = json.loads((out.root / MANIFEST).read_text())["runs"]
    assert list(runs) == out.ids()
    assert [run["weights"] for run in runs.values()] == ["kept", "left out"]
    for run in runs.values():
        assert run["command"].startswith("finegates sweep --data DIR/agreement ")


def test_a_store_never_grows_beyond_its_limit(stores):
    source, out = stores
    with pytest.raises(UserError, match=r"at most 0.01 MB are allowed. Ship fewer"):
        ship(source, out, whole=ALL, limit_mb=0.01)
    assert len(out.ids()) == 1
    assert (out.root / MANIFEST).read_bytes() == manifest_bytes(out)


def test_command_copies_what_it_is_asked_for(stores):
    source, out = stores
    words = ["ship", str(source.root), "--out", str(out.root), "--weights-of-seed", "1"]
    done = CliRunner().invoke(cli.app, [*words, "--only", "*-s1-*"])
    assert done.exit_code == 0, done.output
    assert "1 runs: 1 copied whole, 0 without weights, 0 there before" in done.output
    assert [run.config.seed for run in map(out.load, out.ids())] == [1]


MISTAKES = {
    "seeds": (["--weights-of-seed", "a"], "must be seeds with commas between them, or none"),
    "pattern": (["--only", "x*"], "fits 'x*'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named(stores, case):
    source, out = stores
    more, text = MISTAKES[case]
    done = CliRunner().invoke(cli.app, ["ship", str(source.root), "--out", str(out.root), *more])
    assert done.exit_code == 2
    assert text in " ".join(done.output.split())
    done = CliRunner().invoke(cli.app, ["ship", str(source.root), "--out", str(source.root)])
    assert "cannot be shipped into itself" in " ".join(done.output.split())


def test_a_path_cannot_go_on_from_a_run_without_weights(stores):
    source, out = stores
    ship(source, out, whole=NONE)
    before = out.ids()[0]
    config = make_config(target=0.5)
    job = Job("b", config, after=before, store=out.root, folder=out.root, weights_hash="w")
    with pytest.raises(UserError, match=r"without its weights. Sweep into another store"):
        _check_starts([job], out)
    _check_starts([job], source)
