"""Whole trainings on a tiny random BERT: seconds each, every option at least once."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finegates_engine.config import RunConfig, from_json
from finegates_engine.data.load import TaskData, load_task
from finegates_engine.gates.model import adapter_state, trained_parameters
from finegates_engine.gates.sparsity import gate_masks, ladder_of
from finegates_engine.train import training as train_module
from finegates_engine.train.progress import Progress
from finegates_engine.train.trainer import newest_checkpoint, remove_unfinished
from finegates_engine.train.training import Trained, fit

SCHEDULE = {"open_start": 0.1, "ramp": 0.3, "finish": 0.3}


def config(**parts: Any) -> RunConfig:
    values: dict[str, Any] = {
        "task": {"name": "agreement", "max_train_samples": 160, "max_eval_samples": 40},
        "gates": {"target": 0.5, **SCHEDULE},
        "train": {"epochs": 4, "batch_size": 16},
    }
    for part, changes in parts.items():
        values[part] = {**values.get(part, {}), **changes} if isinstance(changes, dict) else changes
    return from_json(values)


@pytest.fixture(scope="module")
def data() -> TaskData:
    return load_task(config().task)


@pytest.fixture
def run(tiny_backbone: Path, data: TaskData, tmp_path: Path) -> Any:
    def go(cell: RunConfig, *, name: str = "scratch", **options: Any) -> Trained:
        return fit(cell, options.pop("data", data), tiny_backbone, tmp_path / name, **options)

    return go


def same(a: Trained, b: Trained) -> bool:
    left, right = adapter_state(a.model), adapter_state(b.model)
    equal = all(torch.equal(left[name], right[name]) for name in left)
    return equal and np.array_equal(a.logits["validation"], b.logits["validation"])


class KilledError(Exception):
    pass


def kill_at(step: int) -> Any:
    def listener(progress: Progress) -> None:
        if progress.step >= step:
            raise KilledError

    return listener


def test_schedule_ends_at_the_exact_target_with_binary_gates(run: Any) -> None:
    trained = run(config())
    value = trained.model.gates.value()
    assert set(value.unique().tolist()) == {0.0, 1.0}
    ladder = ladder_of(trained.model.gates, trained.plan)
    assert ladder.folded_encoder_fraction == pytest.approx(0.5, abs=0.005)


def test_frozen_weights_do_not_move_and_cost_no_optimiser_state(
    run: Any, tiny_backbone: Path
) -> None:
    from finegates_engine.gates.model import build_model

    cell = config()
    trained = run(cell)
    before = build_model(tiny_backbone, cell.model, outputs=2, seed=0).state_dict()
    names = {id(p) for part in trained_parameters(trained.model).values() for p in part.values()}
    for name, parameter in trained.model.named_parameters():
        if id(parameter) in names:
            continue
        assert parameter.grad is None, name
        assert torch.equal(parameter, before[name.replace(".base_layer", "")]), name


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


def test_a_training_of_two_steps_still_ends_at_its_target(run: Any) -> None:
    trained = run(config(train={"epochs": 0.2}))
    assert trained.steps == 2
    ladder = ladder_of(trained.model.gates, trained.plan)
    assert ladder.folded_encoder_fraction == pytest.approx(0.5, abs=0.005)


def test_two_runs_of_one_config_are_the_same_to_the_bit(run: Any) -> None:
    assert same(run(config(), name="a"), run(config(), name="b"))


def test_another_seed_gives_other_gates(run: Any) -> None:
    a, b = run(config(), name="a"), run(config(seed=1), name="b")
    assert not torch.equal(a.model.gates.closed, b.model.gates.closed)


@pytest.mark.parametrize("controller", ["fixed", "dual", "shift"])
@pytest.mark.parametrize("relaxation", ["clip", "hard"])
def test_every_way_of_closing_reaches_the_target(
    run: Any, controller: str, relaxation: str
) -> None:
    start = "fisher" if relaxation == "hard" else "equal"
    gates = {"controller": controller, "relaxation": relaxation, "anneal": True, "start": start}
    trained = run(config(gates=gates, train={"epochs": 2}))
    ladder = ladder_of(trained.model.gates, trained.plan)
    assert ladder.folded_encoder_fraction == pytest.approx(0.5, abs=0.005)


def test_gates_closed_step_by_step_stay_closed_and_reach_the_target(run: Any) -> None:
    trained = run(config(gates={"learn": "fisher", "history_frames": 20}))
    shares = [float((frame == 0).float().mean()) for frame in trained.frames.values()]
    assert len({round(share, 3) for share in shares}) > 3  # not all at once
    for before, after in itertools.pairwise(trained.frames.values()):
        assert bool(((after == 0) | (before > 0)).all())
    ladder = ladder_of(trained.model.gates, trained.plan)
    assert ladder.folded_encoder_fraction == pytest.approx(0.5, abs=0.005)


def test_shift_holds_the_expected_share_at_the_target(run: Any) -> None:
    trained = run(config(gates={"controller": "shift", "relaxation": "clip", "start": "equal"}))
    risen = [row for row in trained.log if row.get("target") == 0.5 and row["gates_soft"] > 0]
    assert len(risen) > 5
    assert max(row["penalty"] for row in risen[2:]) < 0.02


@pytest.mark.parametrize("learn", ["gradient", "fisher"])
def test_a_path_is_nested_and_starts_where_the_level_before_ended(run: Any, learn: str) -> None:
    first = run(config(gates={"target": 0.3, "learn": learn}), name="first")
    cell = replace(config(gates={"learn": learn}), path=(0.3,))
    second = run(cell, name="second", warm_start=adapter_state(first.model))
    assert bool((second.model.gates.closed | ~first.model.gates.closed).all())
    assert int(second.model.gates.closed.sum()) > int(first.model.gates.closed.sum())
    low = gate_masks(second.model.gates, second.plan, second.model.gates.closed)
    assert len(low) == second.plan.shape.layers


def test_accumulated_batches_are_one_large_batch_penalty_included(run: Any) -> None:
    still = {"gates": {"noise_std": 0.0}, "train": {"dropout": False, "epochs": 1}}
    large = run(config(**still), name="large")
    split = {**still["train"], "batch_size": 8, "accumulate": 2}
    small = run(config(gates=still["gates"], train=split), name="small")
    assert large.steps == small.steps
    np.testing.assert_allclose(small.logits["validation"], large.logits["validation"], atol=1e-4)


def test_gradient_checkpointing_changes_no_result(run: Any) -> None:
    plain = run(config(), name="plain")
    spared = run(config(train={"gradient_checkpointing": True}), name="spared")
    np.testing.assert_allclose(spared.logits["validation"], plain.logits["validation"], atol=1e-5)


def test_bf16_trains_fp32_values(run: Any) -> None:
    trained = run(config(model={"precision": "bf16", "low_rank": 2}, train={"epochs": 1}))
    parts = trained_parameters(trained.model)
    assert {p.dtype for part in parts.values() for p in part.values()} == {torch.float32}
    assert np.isfinite(trained.logits["validation"]).all()


def test_low_rank_update_is_trained(run: Any) -> None:
    trained = run(config(model={"low_rank": 2}, train={"epochs": 1}))
    ups = [p for n, p in trained.model.named_parameters() if n.endswith("low_rank_up")]
    assert len(ups) == 12
    assert all(bool(up.any()) for up in ups)


def test_full_finetuning_moves_the_backbone_and_has_no_gates(run: Any) -> None:
    trained = run(config(method="full", train={"epochs": 1}))
    assert trained.model.gates is None
    assert trained.plan is None
    assert trained_parameters(trained.model)["backbone"]


def test_random_gates_are_not_learned(run: Any) -> None:
    a = run(config(method="random"), name="a")
    b = run(config(method="random", train={"gate_lr": 0.5}), name="b")
    assert torch.equal(a.model.gates.closed, b.model.gates.closed)


def test_kurtosis_changes_how_gates_are_learned(run: Any) -> None:
    pressed = {"controller": "fixed", "relaxation": "clip", "start": "equal", "penalty_std": 0.5}
    plain = run(config(gates=pressed), name="plain")
    weighted = run(config(gates={**pressed, "kurtosis": True}), name="weighted")
    assert not torch.equal(plain.model.gates.logit, weighted.model.gates.logit)


def test_regression_starts_at_the_mean_and_scores_a_correlation(run: Any, tmp_path: Path) -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    words = np.array(["good", "bad", "cat", "dog", "the"])
    texts = [" ".join(rng.choice(words, 5)) for _ in range(120)]
    values = [3.0 + text.count("good") - text.count("bad") for text in texts]
    pd.DataFrame({"text": texts, "label": values}).to_csv(tmp_path / "rows.csv", index=False)
    task = {
        "name": "mine",
        "data": str(tmp_path / "rows.csv"),
        "text_fields": ["text"],
        "max_train_samples": None,
        "max_eval_samples": None,
    }
    cell = config(task=task, train={"epochs": 1})
    trained = run(cell, data=load_task(cell.task))
    assert trained.logits["validation"].shape[1] == 1
    assert abs(float(trained.logits["validation"].mean()) - np.mean(values)) < 1.0
    assert set(trained.metrics["validation"]) == {"pearson", "spearman"}


def test_early_stop_ends_after_epochs_without_a_better_score(run: Any) -> None:
    never = run(config(train={"epochs": 12, "early_stop": 0}), name="never")
    soon = run(config(train={"epochs": 12, "early_stop": 1}), name="soon")
    assert soon.steps < never.steps
    assert bool(soon.model.gates.fixed)


def test_history_tells_the_state_of_the_gates(run: Any) -> None:
    trained = run(config(gates={"history_frames": 5}))
    assert len(trained.frames) == 5
    assert trained.frames[0].dtype == torch.uint8
    shares = [row["gates_closed"] for row in trained.log if "gates_closed" in row]
    assert shares[0] < shares[-1] == pytest.approx(0.5, abs=0.01)


def test_tensorboard_gets_the_curves(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run(config(train={"epochs": 1}), report_to=("tensorboard",))
    assert list((tmp_path / "scratch").rglob("events.out.tfevents.*"))


def test_the_last_evaluation_is_the_runs_score_and_is_made_once(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = train_module.predict

    def counted(*args: Any) -> Any:
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(train_module, "predict", counted)
    trained = run(config(train={"epochs": 2}))
    scores = [row["score"] for row in trained.log if "score" in row]
    assert len(calls) == len(scores) == 2
    assert scores[-1] == next(iter(trained.metrics["validation"].values()))
