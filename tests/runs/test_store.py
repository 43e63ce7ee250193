"""The store: runs are saved whole and read back as they were, and nothing else is left."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_examples import make_result
from store_checks import CORE, leftovers

from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.runs.core_files import encode
from finegates_engine.runs.store import RunStore


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


def test_deleted_run_is_gone_and_leaves_nothing(saved):
    store, run_id, folder = saved
    store.delete(run_id)
    assert not folder.exists()
    assert store.ids() == []
    assert leftovers(store) == []


def test_store_that_cannot_be_written_is_noticed_before_a_training(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/store")):
        with pytest.raises(UserError, match=r"Store .* cannot be written \(.*Choose another fol"):
            RunStore(root).check_writable()


def test_check_of_a_writable_store_leaves_nothing(store):
    store.check_writable()
    assert leftovers(store) == []
    assert store.ids() == []


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
