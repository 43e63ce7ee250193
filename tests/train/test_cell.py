"""One cell: what a training gives back, and a stored run as a model again."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import save_tiny_backbone, tiny_config, write_task

from finegates_engine.backbone import weights_hash
from finegates_engine.config import RunConfig
from finegates_engine.data.batches import TokenizedSplit, tokenize_rows
from finegates_engine.data.load import TaskData, load_task
from finegates_engine.errors import UserError
from finegates_engine.gates.model import TextClassifier, adapter_state, trained_parameters
from finegates_engine.results import RunResult, gate_masks, probability_columns
from finegates_engine.runs.store import RunStore
from finegates_engine.train.adapters import model_state
from finegates_engine.train.cell import probabilities, rebuild, train
from finegates_engine.train.evaluation import predict
from finegates_engine.train.progress import Progress

VARIANTS: dict[str, dict[str, Any]] = {
    "tied inner gates": {},
    "untied gates on all axes": {"gates": {"tie": False, "axes": "all"}},
    "gates on attention and heads": {
        "gates": {"axes": "attention", "head_gates": True, "target": 0.2}
    },
    "low rank": {"model": {"low_rank": 2}},
    "the model's own pooling": {"model": {"pooling": "model"}},
    "no biases": {"model": {"train_biases": False}},
    "soft gates": {
        "gates": {"finish": 0.0, "controller": "fixed", "relaxation": "clip", "start": "equal"}
    },
}


@pytest.fixture
def make(tiny_backbone: Path, tiny_task: Path, tmp_path: Path) -> Any:
    """(config, data, result) of a training with some parts of the config changed."""

    def go(**parts: Any) -> tuple[RunConfig, TaskData, RunResult]:
        gates = {"target": 0.4, **parts.pop("gates", {})}
        config = tiny_config(tiny_backbone, tiny_task, gates=gates, **parts)
        data = load_task(config.task)
        return config, data, go_with(config, data, tiny_backbone, tmp_path / "scratch")

    return go


def go_with(
    config: RunConfig, data: TaskData, folder: Path, scratch: Path, **options: Any
) -> RunResult:
    scratch.mkdir(exist_ok=True)
    return train(
        config, data, folder=folder, weights_hash=weights_hash(folder), scratch=scratch, **options
    )


def predicted(model: TextClassifier, data: TaskData, folder: Path) -> np.ndarray:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    split = data.validation["validation"]
    rows: TokenizedSplit = tokenize_rows(split.texts, split.labels, tokenizer, 128)
    return predict(model, rows, tokenizer.pad_token_id)


@pytest.mark.parametrize("variant", VARIANTS)
def test_rebuilt_logits_equal_the_stored_predictions(
    variant: str, make: Any, tiny_backbone: Path, tmp_path: Path
) -> None:
    _, data, result = make(**VARIANTS[variant])
    store = RunStore(tmp_path / "store")
    store.save(result)
    run = store.load(result.run_id)
    model = rebuild(run, tiny_backbone)
    assert not model.training
    shares = probabilities(predicted(model, data, tiny_backbone))
    stored = run.predictions[probability_columns(run.predictions)].to_numpy()
    np.testing.assert_allclose(shares, stored, atol=1e-6)


def test_result_holds_what_the_design_asks_for(make: Any) -> None:
    config, data, result = make(gates={"history_frames": 4})
    assert result.run_id.startswith("reviews-finegates-t0.40-s0-")
    assert set(result.metrics["validation"]) == {"accuracy", "mcc"}
    assert result.score == result.metrics["validation"]["accuracy"]
    assert result.ladder.target == 0.4
    assert result.ladder.folded_encoder_fraction == pytest.approx(0.4, abs=0.02)
    assert result.shape is not None
    assert result.shape.layers == 2
    assert result.identity.data_hash == data.data_hash
    assert result.identity.base_weights == Path(config.model.backbone).name
    assert result.costs.steps == 12
    assert result.costs.trained_parameters["gates"] == 2 * (32 + 32 + 64)
    assert result.costs.trained_parameters["head"] == 2 * 32 + 2
    assert result.costs.seconds_per_step is not None
    assert result.costs.peak_memory_bytes is not None
    assert result.costs.peak_memory_bytes > 50e6
    assert result.environment.versions["torch"] == torch.__version__


def test_history_has_one_row_a_step_in_order(make: Any) -> None:
    history = make()[2].history
    assert list(history.columns[:2]) == ["step", "epoch"]
    assert history["step"].is_monotonic_increasing
    assert history["step"].is_unique
    assert {"loss", "score", "gates_closed", "target"} <= set(history.columns)
    assert history["score"].notna().sum() == 2  # one evaluation an epoch


def test_predictions_have_every_validation_row_with_its_text(make: Any) -> None:
    _, data, result = make()
    split = data.validation["validation"]
    assert list(result.predictions["row_id"]) == split.row_ids.tolist()
    assert list(result.predictions["label"]) == split.labels.tolist()
    shares = result.predictions[["prob_0", "prob_1"]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    accuracy = (shares.argmax(axis=1) == split.labels).mean()
    assert result.score == pytest.approx(accuracy)


def test_masks_of_the_adapter_are_the_ladders_gates(make: Any) -> None:
    result = make()[2]
    masks = gate_masks(result.adapter)
    assert set(masks) == {f"{i}/{n}" for i in (0, 1) for n in ("query_key", "value_output", "ffn")}
    assert sum(int((~mask).sum()) for mask in masks.values()) == result.ladder.gates_closed


def test_gate_history_splits_frames_by_vector(make: Any) -> None:
    history = make(gates={"history_frames": 4})[2].gate_history
    assert history is not None
    assert list(history.steps) == [0, 3, 6, 9]
    assert history.values["0/ffn"].shape == (4, 64)
    assert (history.values["0/ffn"][0] == 255).all()
    assert set(np.unique(history.values["0/ffn"][-1])) <= {0, 255}


def test_adapter_goes_back_into_a_model_to_the_bit(
    make: Any, tiny_backbone: Path, tmp_path: Path
) -> None:
    config, _, result = make(model={"low_rank": 2}, gates={"tie": False, "axes": "all"})
    store = RunStore(tmp_path / "store")
    store.save(result)
    run = store.load(result.run_id)
    model = rebuild(run, tiny_backbone)
    state = model_state(run.adapter, config.gates)
    for name, value in adapter_state(model).items():
        assert torch.equal(value, state[name]), name
    assert len(trained_parameters(model)["low_rank"]) == 2 * 6 * 2


def test_adapter_of_another_gate_configuration_is_refused(make: Any) -> None:
    config, _, result = make()
    other = dataclasses.replace(config.gates, tie=False)
    with pytest.raises(ValueError, match="gates are not those of its config"):
        model_state(result.adapter, other)


def test_full_finetuning_keeps_predictions_but_no_weights(
    make: Any, tiny_backbone: Path, tmp_path: Path
) -> None:
    _, _, result = make(method="full", gates={"target": 0.0})
    assert result.adapter == {}
    assert result.ladder.target is None
    assert result.ladder.folded_encoder_fraction == 0
    assert result.costs.trained_parameters["head"] > 10_000
    store = RunStore(tmp_path / "store")
    store.save(result)
    with pytest.raises(UserError, match=r"keeps no weights: its method, 'full', has no gates"):
        rebuild(store.load(result.run_id), tiny_backbone)


def test_base_weights_with_another_hash_are_refused(make: Any, tmp_path: Path) -> None:
    result = make()[2]
    store = RunStore(tmp_path / "store")
    store.save(result)
    other = save_tiny_backbone(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=r"was trained on weights with hash .* has .* Pass the"):
        rebuild(store.load(result.run_id), other)


def test_regression_stores_scores(tiny_backbone: Path, tmp_path: Path) -> None:
    folder = write_task(tmp_path / "task")
    for file in folder.iterdir():
        text = file.read_text().replace('"good"', "4.5").replace('"bad"', "1.0")
        file.write_text(text)
    config = tiny_config(tiny_backbone, folder, gates={"target": 0.4})
    data = load_task(config.task)
    result = go_with(config, data, tiny_backbone, tmp_path / "scratch")
    assert result.headline == "pearson"
    store = RunStore(tmp_path / "store")
    store.save(result)
    run = store.load(result.run_id)
    outputs = predicted(rebuild(run, tiny_backbone), data, tiny_backbone)
    np.testing.assert_allclose(outputs[:, 0], run.predictions["score"], atol=1e-5)


class KilledError(Exception):
    """Stands for a process that dies."""


def test_a_cell_goes_on_from_its_checkpoint_and_counts_all_its_time(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finegates_engine.train.training.CHECKPOINT_STEPS", 4)
    monkeypatch.setattr("finegates_engine.train.callbacks.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("finegates_engine.train.cell._CLOCK_PERIOD", 0.0)
    config = tiny_config(tiny_backbone, tiny_task, gates={"target": 0.4, "history_frames": 4})
    data = load_task(config.task)
    whole = go_with(config, data, tiny_backbone, tmp_path / "whole")

    def die(progress: Progress) -> None:
        if progress.step == 7:
            raise KilledError

    with pytest.raises(KilledError):
        go_with(config, data, tiny_backbone, tmp_path / "killed", on_progress=die)
    seen: list[int] = []
    again = go_with(
        config, data, tiny_backbone, tmp_path / "killed", on_progress=lambda p: seen.append(p.step)
    )
    assert seen[0] == 5
    assert again.run_id == whole.run_id
    assert again.metrics == whole.metrics
    assert again.predictions.equals(whole.predictions)
    for name, values in whole.adapter.items():
        np.testing.assert_array_equal(values, again.adapter[name], err_msg=name)
    assert again.gate_history is not None
    assert whole.gate_history is not None
    np.testing.assert_array_equal(again.gate_history.steps, whole.gate_history.steps)
    assert again.costs.seconds_total > sum(again.costs.seconds_per_step or 0 for _ in range(7))


def test_a_cell_that_was_killed_before_it_was_saved_trains_nothing_twice(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path
) -> None:
    config = tiny_config(tiny_backbone, tiny_task, gates={"target": 0.4})
    data = load_task(config.task)
    whole = go_with(config, data, tiny_backbone, tmp_path / "scratch")
    steps: list[int] = []
    again = go_with(
        config,
        data,
        tiny_backbone,
        tmp_path / "scratch",
        on_progress=lambda p: steps.append(p.step),
    )
    assert steps == []
    assert again.predictions.equals(whole.predictions)
    assert again.costs.steps == 12


def test_what_was_trained_is_stored_in_fp16_without_a_loss(make: Any) -> None:
    _, _, result = make()
    kept = [n for n in result.adapter if not n.startswith(("gates.", "gate_values."))]
    assert {name.partition(".")[0] for name in kept} == {"biases", "low_rank", "head"}
    for name in kept:
        values = result.adapter[name]
        np.testing.assert_array_equal(values, values.astype(np.float16), err_msg=name)
