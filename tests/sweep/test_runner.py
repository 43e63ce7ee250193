"""Sweeps: which cells are trained, which are there already, and how a path's levels follow."""

from pathlib import Path

import numpy as np
import pytest
from sweep_states import states
from tiny import tiny_config, write_task

from finegates_engine.analysis.intervals import nested
from finegates_engine.config import RunConfig
from finegates_engine.files import Damaged
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import run_sweep


def test_a_sweep_makes_its_runs_and_a_second_one_trains_nothing(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]]
) -> None:
    state = run_sweep(base, (0.0, 0.4), (0,), store=store)
    assert states(state) == ["done", "done"]
    assert store.ids() == sorted(cell.run_id for cell in state.cells)
    assert not [p for p in (store.root / ".work").iterdir() if p.is_dir() and p.name != "openings"]
    again = run_sweep(base, (0.0, 0.4), (0,), store=store)
    assert all(cell.cached for cell in again.cells)
    assert [cell.score for cell in again.cells] == [cell.score for cell in state.cells]
    assert trained == [(0.0, 0), (0.4, 0)]


def test_a_target_or_a_seed_added_later_trains_only_itself(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]]
) -> None:
    run_sweep(base, (0.4,), (0,), store=store)
    run_sweep(base, (0.2, 0.4), (0,), store=store)
    run_sweep(base, (0.4,), (0, 1), store=store)
    assert trained == [(0.4, 0), (0.2, 0), (0.4, 1)]


def test_a_path_is_nested_and_reaches_its_targets(base: RunConfig, store: RunStore) -> None:
    state = run_sweep(base, (0.0, 0.3, 0.6), (0,), store=store, strategy="path")
    runs = [store.load(cell.run_id) for cell in state.cells]
    assert nested(runs[0].masks, runs[1].masks)
    assert nested(runs[1].masks, runs[2].masks)
    removed = [run.ladder.folded_encoder_fraction for run in runs]
    assert removed == pytest.approx([0, 0.3, 0.6], abs=0.01)


def test_appending_to_a_path_remakes_nothing_and_inserting_remakes_what_follows(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]]
) -> None:
    run_sweep(base, (0.0, 0.4), (0,), store=store, strategy="path")
    del trained[:]
    run_sweep(base, (0.0, 0.4, 0.6), (0,), store=store, strategy="path")
    assert trained == [(0.6, 0)]
    del trained[:]
    run_sweep(base, (0.0, 0.2, 0.4, 0.6), (0,), store=store, strategy="path")
    assert trained == [(0.2, 0), (0.4, 0), (0.6, 0)]


def test_a_level_that_was_lost_is_made_again_the_same(base: RunConfig, store: RunStore) -> None:
    state = run_sweep(base, (0.0, 0.3, 0.6), (0,), store=store, strategy="path")
    name = state.cells[1].run_id
    before = store.load(name)
    predictions, adapter = before.predictions, before.adapter
    store.delete(name)
    run_sweep(base, (0.0, 0.3, 0.6), (0,), store=store, strategy="path")
    after = store.load(name)
    assert after.predictions.equals(predictions)
    assert all(np.array_equal(after.adapter[key], value) for key, value in adapter.items())


def test_a_half_written_run_is_made_again(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]]
) -> None:
    state = run_sweep(base, (0.4,), (0,), store=store)
    folder = store.root / "reviews" / state.cells[0].run_id
    (folder / "run.json").write_bytes((folder / "run.json").read_bytes()[:100])
    with pytest.raises(Damaged):
        store.load(folder.name)
    again = run_sweep(base, (0.4,), (0,), store=store)
    assert states(again) == ["done"]
    assert len(trained) == 2
    assert store.damaged() == []


def test_logs_of_a_tracker_outlive_the_scratch_folder(base: RunConfig, store: RunStore) -> None:
    pytest.importorskip("tensorboard")
    state = run_sweep(base, (0.0,), (0,), store=store, report_to=("tensorboard",))
    assert states(state) == ["done"]
    assert list((store.root / ".logs" / state.cells[0].run_id).rglob("events.out.tfevents*"))


def test_own_tasks_of_the_same_rows_share_their_runs(
    base: RunConfig, store: RunStore, tmp_path: Path, trained: list[tuple[float, int]]
) -> None:
    run_sweep(base, (0.0,), (0,), store=store)
    copy = tiny_config(Path(base.model.backbone), write_task(tmp_path / "elsewhere"))
    run_sweep(copy, (0.0,), (0,), store=store)
    assert len(trained) == 1
