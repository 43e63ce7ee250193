"""Cells that begin alike share their open phase, to the same bits as alone."""

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_config

from finegates_engine.config import RunConfig, from_json
from finegates_engine.method_table import METHODS
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import run_sweep
from finegates_engine.train.opening import KEPT_SECONDS, Opening, opening_key

GATES = {"open_start": 0.5, "ramp": 0.2, "finish": 0.2}
TARGETS = (0.2, 0.5)


@pytest.fixture
def base(tiny_backbone: Path, tiny_task: Path) -> RunConfig:
    return tiny_config(tiny_backbone, tiny_task, gates=GATES, train={"epochs": 4})


def swept(base: RunConfig, root: Path, *, method: str, share: bool) -> RunStore:
    """A store with both levels of a method, trained with one opening or each with its own."""
    store = RunStore(root)
    for target in TARGETS:
        if not share:
            shutil.rmtree(store.openings())
        run_sweep(dataclasses.replace(base, method=method), (target,), (0,), store=store)
    return store


def kept(store: RunStore) -> list[Path]:
    return sorted(path for path in store.openings().iterdir() if path.is_dir())


@pytest.mark.parametrize("method", ["finegates", "taylor", "random", "movement", "l0"])
def test_a_shared_opening_gives_the_same_bits(base: RunConfig, tmp_path: Path, method: str) -> None:
    alone = swept(base, tmp_path / "alone", method=method, share=False)
    shared = swept(base, tmp_path / "shared", method=method, share=True)
    assert len(kept(shared)) == 1
    assert alone.ids() == shared.ids()
    for name in alone.ids():
        one, other = alone.load(name), shared.load(name)
        assert all(np.array_equal(one.adapter[key], other.adapter[key]) for key in one.adapter)
        assert one.predictions.equals(other.predictions)
        assert one.record.metrics == other.record.metrics
        assert list(one.history["step"]) == list(other.history["step"])


def test_the_second_cell_trains_only_what_is_its_own(
    base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finegates_engine.train.callbacks import MethodSchedule

    steps: list[int] = []
    real = MethodSchedule.on_step_begin

    def on_step_begin(self: Any, args: Any, state: Any, control: Any, **options: Any) -> None:
        steps.append(state.global_step)
        real(self, args, state, control, **options)

    monkeypatch.setattr(MethodSchedule, "on_step_begin", on_step_begin)
    store = swept(base, tmp_path, method="finegates", share=True)
    count = store.load(store.ids()[0]).record.costs.steps
    assert steps == [*range(count), *range(count // 2, count)]


def test_methods_that_score_gates_once_share_theirs(base: RunConfig, tmp_path: Path) -> None:
    for method in ("random", "magnitude", "activation", "taylor"):
        swept(base, tmp_path, method=method, share=True)
    assert len(kept(RunStore(tmp_path))) == 1
    swept(base, tmp_path, method="movement", share=True)
    assert len(kept(RunStore(tmp_path))) == 2


def keys(**parts: Any) -> str | None:
    return opening_key(from_json({"gates": {**GATES, **parts.pop("gates", {})}, **parts}))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"gates": {"target": 0.1, "ramp": 0.1, "finish": 0.1}}, True),
        ({"gates": {"open_start": 0.4}}, False),
        ({"gates": {"noise_std": 0.3}}, False),
        ({"seed": 1}, False),
        ({"train": {"epochs": 2}}, False),
        ({"method": "movement"}, False),
        ({"task": {"max_train_samples": 9}}, False),
    ],
)
def test_what_an_opening_depends_on(change: dict[str, Any], same: bool) -> None:
    assert (keys() == keys(**change)) == same


def test_scores_taken_at_another_time_have_another_opening() -> None:
    options = [["after", 0.5]]
    assert keys(method="taylor") == keys(method="random", method_options=options)
    assert keys(method="taylor") != keys(method="random", method_options=[["after", 0.4]])


@pytest.mark.parametrize(
    "parts",
    [
        {"path": [0.1], "gates": {"target": 0.3}},
        {"processes": 2},
        {"method": "random", "method_options": [["after", 0.0]]},
        *(
            {"method": n}
            for n, spec in METHODS.items()
            if not spec.has_gates or spec.starts_trained
        ),
    ],
    ids=str,
)
def test_cells_without_an_opening_to_share(parts: dict[str, Any]) -> None:
    assert keys(**parts) is None


def test_an_opening_that_is_not_there_or_not_whole_is_passed_over(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    opening = Opening(tmp_path / "openings" / "a")
    opening.take(scratch)
    opening.folder.mkdir(parents=True)
    opening.take(scratch)
    assert not list(scratch.iterdir())


def test_a_damaged_opening_costs_time_alone(base: RunConfig, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run_sweep(base, TARGETS[:1], (0,), store=store)
    (folder,) = kept(store)
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        state.write_text('{"epoch": ')
    state = run_sweep(base, TARGETS[1:], (0,), store=store)
    assert [cell.state for cell in state.cells] == ["done"]


def test_an_opening_that_nobody_used_for_a_day_is_removed(tmp_path: Path) -> None:
    checkpoint, clock = tmp_path / "checkpoint-7", tmp_path / "seconds.json"
    checkpoint.mkdir()
    clock.write_text('{"seconds": 2.5}')
    root = tmp_path / "openings"
    root.mkdir()
    for name in ("old", "new"):
        Opening(root / name).keep(checkpoint, clock)
    long_ago = time.time() - KEPT_SECONDS - 60
    os.utime(root / "old", (long_ago, long_ago))
    Opening(root / "newest").keep(checkpoint, clock)
    assert sorted(path.name for path in root.iterdir()) == ["new", "newest"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    Opening(root / "new").take(scratch)
    assert sorted(path.name for path in scratch.iterdir()) == ["checkpoint-7", "seconds.json"]
