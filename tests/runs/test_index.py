"""The listing is the same with and without its cache, and quick with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_examples import SHAPE, make_config, make_result

from finegates_engine.errors import UserError
from finegates_engine.runs import index as run_index
from finegates_engine.runs.store import RunStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


def fill(store, *seeds, **gates):
    results = [make_result(make_config(seed=seed, **gates)) for seed in seeds]
    for result in results:
        assert store.save(result)
    return [result.run_id for result in results]


@pytest.fixture
def reads(monkeypatch):
    """Ids of the runs whose run.json was read, in order."""
    seen = []
    original = run_index.read_record

    def read(folder, *, root):
        seen.append(os.path.basename(folder))
        return original(folder, root=root)

    monkeypatch.setattr(run_index, "read_record", read)
    return seen


def test_row_holds_the_run_flattened(store):
    (run_id,) = fill(store, 3, axes="all", target=0.25)
    frame = store.frame()
    assert len(frame) == 1
    row = frame.iloc[0]
    expected = {
        "run_id": run_id,
        "task": "agreement",
        "backbone": "sentence-transformers/all-MiniLM-L6-v2",
        "method": "finegates",
        "seed": 3,
        "target": 0.25,
        "target_unit": "encoder_weights",
        "path": "",
        "metric": "accuracy",
        "score": 0.75,
        "gate_sparsity": 0.4,
        "encoder_weights": SHAPE.encoder_weights,
        "steps": 40,
        "has_adapter": True,
        "has_certificate": False,
        "gates.axes": "all",
        "gates.tie": True,
        "train.epochs": 3.0,
        "metrics.validation.mcc": 0.5,
        "trained.gates": 10,
        "threads": 1,
        "data_hash": "d" * 12,
    }
    for name, value in expected.items():
        assert row[name] == value, name
    for missing in ("latency_ms", "peak_memory_bytes", "task.max_train_samples"):
        assert np.isnan(row[missing]), missing
    assert "task.data" not in frame.columns


def test_columns_keep_their_types_when_all_values_are_missing(store):
    assert store.frame().dtypes["commit"] == "str"
    fill(store, 0)
    dtypes = store.frame().dtypes
    assert dtypes["accelerator"] == "str"
    assert dtypes["latency_ms"] == "float64"
    assert dtypes["seed"] == dtypes["gates_total"] == "int64"
    assert dtypes["has_timings"] == "bool"
    assert not [name for name, dtype in dtypes.items() if dtype.name == "object"]


def test_path_of_targets_is_one_text(store):
    from dataclasses import replace

    store.save(make_result(replace(make_config(target=0.5), path=(0.1, 0.25))))
    assert store.frame()["path"].tolist() == ["0.1,0.25"]


def test_missing_or_empty_store_has_no_runs_and_all_columns(store, tmp_path):
    frame = store.frame()
    assert len(frame) == 0
    assert {"run_id", "score", "gates.axes"} <= set(frame.columns)
    assert not store.root.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"is not a folder. Choose another with --store"):
        RunStore(tmp_path / "file").frame()


def test_only_new_and_changed_runs_are_read(store, reads):
    first, second = fill(store, 0, 1)
    store.frame()
    assert sorted(reads) == sorted([first, second])
    reads.clear()
    store.frame()
    assert reads == []
    (third,) = fill(store, 2)
    assert len(store.frame()) == 3
    assert reads == [third]
    reads.clear()
    store.add_file(first, "certificate.json", b"{}")
    frame = store.frame().set_index("run_id")
    assert reads == [first]
    assert frame["has_certificate"].to_dict() == {first: True, second: False, third: False}


def test_changed_run_is_seen_though_its_size_is_the_same(store):
    (run_id,) = fill(store, 0)
    assert store.frame()["score"].tolist() == [0.75]
    path = store.root / "agreement" / run_id / "run.json"
    status = path.stat()
    path.write_text(path.read_text().replace('"accuracy": 0.75', '"accuracy": 0.85'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert path.stat().st_size == status.st_size
    assert store.frame()["score"].tolist() == [0.85]


def test_listing_from_the_cache_equals_one_from_scratch(store):
    ids = fill(store, 0, 1, 2)
    extra = {"validation": {"accuracy": 0.5}, "mismatched": {"accuracy": None, "f1": 0.25}}
    store.frame()
    store.save(make_result(make_config(seed=7, target=0.1), metrics=extra))
    store.save(make_result(make_config(task="b")))
    store.delete(ids[1])
    step_by_step = store.frame()
    assert "metrics.mismatched.f1" in step_by_step.columns
    (store.root / run_index.INDEX_NAME).unlink()
    pd.testing.assert_frame_equal(step_by_step, store.frame())
    pd.testing.assert_frame_equal(step_by_step, store.frame())
    store.delete(make_result(make_config(seed=7, target=0.1)).run_id)
    step_by_step = store.frame()
    assert "metrics.mismatched.f1" not in step_by_step.columns
    (store.root / run_index.INDEX_NAME).unlink()
    pd.testing.assert_frame_equal(step_by_step, store.frame())


@pytest.mark.parametrize("content", ["garbage", "truncated", "other table", "old", "folder"])
def test_cache_that_cannot_be_used_is_ignored_and_made_again(store, reads, content):
    fill(store, 0, 1)
    expected = store.frame()
    path = store.root / run_index.INDEX_NAME
    if content == "garbage":
        path.write_bytes(b"PAR1 and then nothing")
    elif content == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif content == "other table":
        pd.DataFrame({"x": [1]}).to_parquet(path)
    elif content == "old":
        pd.read_parquet(path).to_parquet(path)  # loses the mark of its format
    else:
        path.unlink()
        path.mkdir()
    reads.clear()
    pd.testing.assert_frame_equal(store.frame(), expected)
    assert len(reads) == 2
    reads.clear()
    store.frame()
    assert len(reads) == (2 if content == "folder" else 0)


def test_store_that_cannot_be_written_still_lists(store, monkeypatch):
    fill(store, 0)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_index, "write_atomic", refuse)
    assert len(store.frame()) == 1
    assert not (store.root / run_index.INDEX_NAME).exists()


def test_files_and_hidden_folders_beside_the_runs_are_not_damage(store):
    fill(store, 0)
    (store.root / "README.md").write_text("about these runs")
    (store.root / "agreement" / "notes.txt").write_text("")
    (store.root / ".git").mkdir()
    assert len(store.ids()) == 1
    assert store.damaged() == []


def test_task_folder_that_leads_out_of_the_store_is_refused(store, tmp_path):
    fill(store, 0)
    os.rename(store.root / "agreement", tmp_path / "outside")
    (store.root / "agreement").symlink_to(tmp_path / "outside")
    assert store.ids() == []
    assert store.damaged() == [("agreement", "is a link that leads out of the store")]


def test_run_copied_into_another_task_is_named_and_counted_once(store):
    import shutil

    (run_id,) = fill(store, 0)
    shutil.copytree(store.root / "agreement" / run_id, store.root / "a" / run_id)
    assert store.ids() == [run_id]
    assert store.damaged() == [(f"a/{run_id}", "lies in another task's folder too")]


def test_listing_and_loading_import_no_torch(store):
    (run_id,) = fill(store, 0)
    code = f"""
import sys
from finegates_engine import environment
from finegates_engine.analysis import intervals as analysis
from finegates_engine.runs import store as runs
store = runs.RunStore({str(store.root)!r})
store.frame(), store.load({run_id!r}).adapter
analysis.bootstrap_interval("mcc", [store.load({run_id!r}).predictions])
heavy = ("torch", "transformers", "datasets", "evaluate", "sklearn", "scipy")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_ten_thousand_runs_are_listed_in_a_second():
    done = subprocess.run(
        [sys.executable, "benchmarks/store.py", "--quick"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["listing_10000_runs_s"] <= 1.0, measured
