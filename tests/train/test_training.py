"""Whole trainings on a tiny random BERT: seconds each, every option at least once."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_trainings import config, same

from finegates_engine.data.load import load_task
from finegates_engine.gates.model import adapter_state, trained_parameters
from finegates_engine.gates.sparsity import gate_masks, ladder_of
from finegates_engine.train import training as train_module


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
