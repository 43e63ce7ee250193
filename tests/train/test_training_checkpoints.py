"""Trainings that are killed go on to the same bits, from checkpoints that are whole."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trainings import config, same

from finegates_engine.gates.model import adapter_state
from finegates_engine.train import training as train_module
from finegates_engine.train.progress import Progress
from finegates_engine.train.trainer import newest_checkpoint, remove_unfinished


class KilledError(Exception):
    pass


def kill_at(step: int) -> Any:
    def listener(progress: Progress) -> None:
        if progress.step >= step:
            raise KilledError

    return listener


@pytest.mark.parametrize("step", [18, 37])
@pytest.mark.parametrize(
    "extra", [{}, {"distill": 1.0, "controller": "dual"}, {"learn": "fisher", "ramp": 0.5}]
)
def test_a_killed_training_goes_on_to_the_same_bits(
    run: Any, monkeypatch: pytest.MonkeyPatch, step: int, extra: dict[str, Any]
) -> None:
    monkeypatch.setattr(train_module, "CHECKPOINT_STEPS", 5)
    monkeypatch.setattr("finegates_engine.train.callbacks.REPORT_SECONDS", 0.0)
    cell = config(gates={**extra, "history_frames": 6})
    whole = run(cell, name="whole")
    with pytest.raises(KilledError):
        run(cell, name="cut", on_progress=kill_at(step))
    resumed = run(cell, name="cut")
    assert same(whole, resumed)
    assert list(whole.frames) == list(resumed.frames)
    assert all(torch.equal(whole.frames[step], resumed.frames[step]) for step in whole.frames)


@pytest.mark.parametrize("wanted", [0, 3, 12])
def test_a_killed_training_goes_on_with_another_number_of_frames(
    run: Any, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    """Frames are for display and no part of a run's identity."""
    monkeypatch.setattr(train_module, "CHECKPOINT_STEPS", 5)
    monkeypatch.setattr("finegates_engine.train.callbacks.REPORT_SECONDS", 0.0)
    with pytest.raises(KilledError):
        run(config(gates={"history_frames": 6}), name="cut", on_progress=kill_at(18))
    resumed = run(config(gates={"history_frames": wanted}), name="cut")
    assert same(run(config(), name="whole"), resumed)
    steps = list(resumed.frames)
    assert steps == sorted(steps)
    assert bool(steps) == bool(wanted)
    assert max(steps, default=40) > 18


def test_a_half_written_checkpoint_is_passed_over(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(train_module, "CHECKPOINT_STEPS", 5)
    monkeypatch.setattr("finegates_engine.train.callbacks.REPORT_SECONDS", 0.0)
    whole = run(config(), name="whole")
    with pytest.raises(KilledError):
        run(config(), name="cut", on_progress=kill_at(18))
    (tmp_path / "cut" / "checkpoint-15" / "trainer_state.json").write_text('{"epoch": 1')
    assert same(whole, run(config(), name="cut"))


def test_a_checkpoint_of_two_processes_counts_once_both_have_written_it(tmp_path: Path) -> None:
    for step in (5, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}")
        for rank in (0, 1):
            torch.save({"cpu": torch.zeros(4)}, folder / f"rng_state_{rank}.pth")
    late = tmp_path / "checkpoint-10" / "rng_state_1.pth"
    assert newest_checkpoint(tmp_path, processes=2) == late.parent
    late.write_bytes(late.read_bytes()[:-30])
    assert newest_checkpoint(tmp_path, processes=2) == tmp_path / "checkpoint-5"
    late.unlink()
    assert newest_checkpoint(tmp_path, processes=2) == tmp_path / "checkpoint-5"
    remove_unfinished(tmp_path, processes=2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_a_checkpoint_holds_no_frozen_weights(run: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    trained = run(config())
    newest = max((tmp_path / "scratch").glob("checkpoint-*"), key=lambda p: p.stat().st_mtime)
    names = set(load_file(newest / "trained.safetensors"))
    assert names == {*adapter_state(trained.model), "schedule.multiplier"}
