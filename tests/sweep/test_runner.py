"""Sweeps: which cells there are, which of them run, and what survives a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny import child_environment, cli_command, tiny_config, write_task

from finegates_engine.analysis.intervals import nested
from finegates_engine.config import RunConfig
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import plan_sweep, run_sweep
from finegates_engine.sweep.state import SweepState, read_sweeps
from finegates_engine.train import cell as cell_module


@pytest.fixture
def base(tiny_backbone: Path, tiny_task: Path) -> RunConfig:
    return tiny_config(tiny_backbone, tiny_task)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "store")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """(target, seed) of every cell that is really trained, in order."""
    seen: list[tuple[float, int]] = []
    real = cell_module.fit

    def fit(config: RunConfig, *args: Any, **options: Any) -> Any:
        seen.append((config.gates.target, config.seed))
        return real(config, *args, **options)

    monkeypatch.setattr(cell_module, "fit", fit)
    return seen


def states(state: SweepState) -> list[str]:
    return [cell.state for cell in state.cells]


# Plan


def test_independent_cells_share_nothing() -> None:
    cells = plan_sweep(RunConfig(), (0.4, 0.0, 0.4), (1, 0))
    assert [(c.config.gates.target, c.config.seed) for c in cells] == [
        (0.0, 1), (0.4, 1), (0.0, 0), (0.4, 0),
    ]  # fmt: skip
    assert all(c.config.path == () and c.after is None for c in cells)


def test_levels_of_a_path_know_those_below_them() -> None:
    cells = plan_sweep(RunConfig(), (0.5, 0.0, 0.3), (0,), strategy="path")
    assert [c.config.path for c in cells] == [(), (0.0,), (0.0, 0.3)]
    assert [c.after for c in cells] == [None, cells[0].config, cells[1].config]


def test_the_first_level_of_a_path_is_an_independent_run() -> None:
    path = plan_sweep(RunConfig(), (0.2, 0.3), (0,), strategy="path")
    assert path[0].config == plan_sweep(RunConfig(), (0.2,), (0,))[0].config


@pytest.mark.parametrize(
    ("targets", "seeds", "options", "message"),
    [
        ((0.2, 1.0), (0,), {}, "target must be in [0, 1), got 1."),
        ((-0.1,), (0,), {}, "target must be in [0, 1), got -0.1."),
        ((float("nan"),), (0,), {}, "target must be in [0, 1), got nan."),
        ((), (0,), {}, "A sweep needs at least one target. Pass for instance --targets 0,0.2,0.4."),
        ((0.1,), (), {}, "A sweep needs at least one seed. Pass for instance --seeds 0,1,2."),
        ((0.1,), (-1,), {}, "seed must be in [0, 2147483648), got -1."),
        (
            (0.1,),
            (0,),
            {"strategy": "random"},
            "Unknown strategy 'random'. Choose from: independent, path.",
        ),
    ],
)
def test_bad_plans_are_refused(targets: Any, seeds: Any, options: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        plan_sweep(RunConfig(), targets, seeds, **options)
    assert str(error.value) == message


def test_a_method_that_removes_nothing_has_one_target() -> None:
    full = RunConfig(method="full")
    assert len(plan_sweep(full, (0,), (0, 1))) == 2
    with pytest.raises(UserError, match=r"Method 'full' removes nothing.* Pass --targets 0."):
        plan_sweep(full, (0, 0.2), (0,))


# Running


def test_a_sweep_makes_its_runs_and_a_second_one_trains_nothing(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]]
) -> None:
    state = run_sweep(base, (0.0, 0.4), (0,), store=store)
    assert states(state) == ["done", "done"]
    assert store.ids() == sorted(cell.run_id for cell in state.cells)
    assert not [p for p in (store.root / ".work").iterdir() if p.is_dir()]
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


# Failures


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> set[float]:
    """Targets whose training fails; can be emptied."""
    broken: set[float] = set()
    real = cell_module.fit

    def fit(config: RunConfig, *args: Any, **options: Any) -> Any:
        if config.gates.target in broken:
            raise RuntimeError(f"no luck with {config.gates.target}\nat all")
        return real(config, *args, **options)

    monkeypatch.setattr(cell_module, "fit", fit)
    return broken


def test_a_failed_cell_is_recorded_and_the_others_go_on(
    base: RunConfig, store: RunStore, breaks: set[float]
) -> None:
    breaks.add(0.2)
    state = run_sweep(base, (0.0, 0.2, 0.4), (0,), store=store)
    assert states(state) == ["done", "failed", "done"]
    assert state.cells[1].note == "RuntimeError: no luck with 0.2 at all"
    record = store.root / ".work" / state.cells[1].run_id / "failed.json"
    assert "Traceback" in json.loads(record.read_text())["traceback"]


def test_a_failed_cell_is_left_alone_until_it_is_retried(
    base: RunConfig, store: RunStore, breaks: set[float]
) -> None:
    breaks.add(0.2)
    run_sweep(base, (0.2,), (0,), store=store)
    breaks.clear()
    again = run_sweep(base, (0.2,), (0,), store=store)
    assert states(again) == ["failed"]
    assert again.cells[0].note == "RuntimeError: no luck with 0.2 at all"
    assert states(run_sweep(base, (0.2,), (0,), store=store, retry_failed=True)) == ["done"]
    assert not (store.root / ".work" / again.cells[0].run_id).exists()


def test_a_failed_level_stops_the_path_of_its_seed_only(
    base: RunConfig, store: RunStore, breaks: set[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = cell_module.fit

    def fit(config: RunConfig, *args: Any, **options: Any) -> Any:
        if config.seed == 0 and config.gates.target == 0.3:
            raise UserError("This level is bad.")
        return broken(config, *args, **options)

    monkeypatch.setattr(cell_module, "fit", fit)
    state = run_sweep(base, (0.0, 0.3, 0.6), (0, 1), store=store, strategy="path")
    assert states(state) == ["done", "failed", "skipped", "done", "done", "done"]
    assert state.cells[1].note == "This level is bad."
    assert state.cells[2].note == f"It starts from {state.cells[1].run_id}."


# Checks before any training


def test_everything_is_checked_before_the_first_training(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]], tmp_path: Path
) -> None:
    task, model = base.task, base.model
    cases: list[tuple[dict[str, Any], str]] = [
        ({"task": {"name": "mrcp", "data": None}}, "Unknown task 'mrcp'. Choose from: agreement"),
        ({"task": {"text_fields": ["body"]}}, "has no column 'body'. Its columns: "),
        ({"task": {"max_tokens": 999}}, "the backbone reads at most 256 tokens"),
        ({"model": {"backbone": "./no-model"}}, "Backbone folder './no-model' does not exist."),
        ({"gates": {"axes": "attention"}}, "target must be at most 0.500 of encoder_weights"),
        ({"method": "lottery"}, "Unknown method 'lottery'. Choose from: activation, "),
    ]
    for changes, message in cases:
        wrong = tiny_config(Path(model.backbone), Path(str(task.data)), **changes)
        with pytest.raises(UserError) as error:
            run_sweep(wrong, (0.0, 0.9), (0,), store=store)
        assert message in str(error.value), changes
    assert trained == []
    assert not (store.root / ".sweeps").exists()


def test_backbones_that_cannot_be_used_are_named(
    tiny_task: Path, store: RunStore, tiny_backbone: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    cases = {"{": f"config.json of the backbone in {str(bare)!r} cannot be read: EOF"}
    cases['{"model_type": "t5"}'] = "Model type 't5' is not supported. Supported: bert, distilbert,"
    cases['{"model_type": "bert"}'] = "has no .safetensors file"
    for text, message in cases.items():
        (bare / "config.json").write_text(text)
        with pytest.raises(UserError) as error:
            run_sweep(tiny_config(bare, tiny_task), (0.0,), (0,), store=store)
        assert message in str(error.value)
    (bare / "config.json").write_text((tiny_backbone / "config.json").read_text())
    (bare / "model.safetensors").write_bytes((tiny_backbone / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"has no tokenizer. Save the model's own there"):
        run_sweep(tiny_config(bare, tiny_task), (0.0,), (0,), store=store)


def test_a_store_that_is_a_file_is_refused(base: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Store '.*file' (cannot be written|is not a folder)"):
        run_sweep(base, (0.0,), (0,), store=RunStore(tmp_path / "file"))


# Kills and neighbours


def sweep_command(base: RunConfig, store: Path, *, epochs: float, targets: str) -> list[str]:
    return cli_command(
        "sweep", "--task", "reviews", "--data", str(base.task.data), "--text-fields", "text",
        "--backbone", base.model.backbone, "--targets", targets, "--strategy", "path",
        "--finish", "0.3", "--batch-size", "16", "--epochs", epochs, "--path-epochs", epochs,
        "--store", store,
    )  # fmt: skip


def wait_for(condition: Any, *, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.slow
def test_kill_in_the_middle_and_the_same_command_give_the_same_runs(
    base: RunConfig, tmp_path: Path
) -> None:
    """Killed once in each level, inside an epoch (an epoch has 6 steps)."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = {"epochs": 30.0, "targets": "0.2,0.5"}
    quiet: dict[str, Any] = {
        "env": child_environment(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL
    }  # fmt: skip
    subprocess.run(sweep_command(base, whole, **options), check=True, **quiet)
    for wanted in (
        "*t0.20*/checkpoint-100/trainer_state.json",
        "*t0.50*/checkpoint-50/trainer_state.json",
    ):
        child = subprocess.Popen(sweep_command(base, killed, **options), **quiet)
        wait_for(lambda: any((killed / ".work").glob(wanted)))  # noqa: B023
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert read_sweeps(killed)[0].state == "died"
    subprocess.run(sweep_command(base, killed, **options), check=True, **quiet)
    first, second = RunStore(whole), RunStore(killed)
    assert first.ids() == second.ids()
    assert len(first.ids()) == 2
    for name in first.ids():
        a, b = first.load(name), second.load(name)
        assert a.predictions.equals(b.predictions)
        assert a.record.metrics == b.record.metrics
        assert all(np.array_equal(b.adapter[key], value) for key, value in a.adapter.items())
    assert not [p for p in (killed / ".work").iterdir() if p.is_dir()]


def test_a_cell_that_another_sweep_trains_is_waited_for(
    base: RunConfig, store: RunStore, trained: list[tuple[float, int]], monkeypatch: Any
) -> None:
    """The neighbour is played by a lock that is given back while the sweep waits."""
    from finegates_engine.sweep import jobs as sweep_jobs

    plan = run_sweep(base, (0.0,), (0,), store=store)
    (name,) = [cell.run_id for cell in plan.cells]
    saved = store.root.parent / "aside"
    (store.root / "reviews" / name).rename(saved)
    lock = store.lock(name)
    lock.acquire()
    notes: list[str | None] = []

    def neighbour_finishes(seconds: float) -> None:
        saved.rename(store.root / "reviews" / name)
        lock.release()

    clock = SimpleNamespace(sleep=neighbour_finishes, monotonic=time.monotonic, time=time.time)
    monkeypatch.setattr(sweep_jobs, "time", clock)
    del trained[:]
    state = run_sweep(
        base, (0.0, 0.4), (0,), store=store, on_state=lambda s: notes.append(s.cells[0].note)
    )
    assert trained == [(0.4, 0)]
    assert "Another sweep trains it." in notes
    assert states(state) == ["done", "done"]
    assert [cell.cached for cell in state.cells] == [True, False]


def test_what_a_kill_after_saving_has_left_is_removed(base: RunConfig, store: RunStore) -> None:
    state = run_sweep(base, (0.0,), (0,), store=store)
    left = store.scratch(state.cells[0].run_id)
    (left / "checkpoint-1").mkdir()
    run_sweep(base, (0.0,), (0,), store=store)
    assert not left.exists()


def test_an_interrupted_sweep_says_so_and_keeps_what_is_done(
    base: RunConfig, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cell_module.fit

    def fit(config: RunConfig, *args: Any, **options: Any) -> Any:
        if config.gates.target:
            raise KeyboardInterrupt
        return real(config, *args, **options)

    monkeypatch.setattr(cell_module, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(base, (0.0, 0.4), (0,), store=store)
    (seen,) = read_sweeps(store.root)
    assert seen.state == "interrupted"
    assert states(seen) == ["done", "planned"]
    assert len(store.ids()) == 1


def test_own_tasks_of_the_same_rows_share_their_runs(
    base: RunConfig, store: RunStore, tmp_path: Path, trained: list[tuple[float, int]]
) -> None:
    run_sweep(base, (0.0,), (0,), store=store)
    copy = tiny_config(Path(base.model.backbone), write_task(tmp_path / "elsewhere"))
    run_sweep(copy, (0.0,), (0,), store=store)
    assert len(trained) == 1


@pytest.mark.slow
def test_two_launched_processes_share_each_training(
    tiny_backbone: Path, tiny_task: Path, store: RunStore
) -> None:
    launch = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    options = ["--task", "reviews", "--data", tiny_task, "--text-fields", "text", "--backbone",
               tiny_backbone, "--targets", "0,0.5", "--strategy", "path", "--epochs", "2",
               "--path-epochs", "2", "--batch-size", "8", "--store", store.root]  # fmt: skip
    done = subprocess.run(
        [sys.executable, *launch, "-m", "finegates_engine", "sweep", *map(str, options)],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    frame = store.frame()
    assert sorted(frame["target"]) == [0.0, 0.5]
    assert set(frame["steps"]) == {12}  # 96 rows, 2 x 8 a step, 2 epochs
