"""Every method of the table, trained end to end on a tiny backbone."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_config
from transformers import AutoTokenizer

from finegates_engine.backbone import weights_hash
from finegates_engine.data.batches import tokenize_rows
from finegates_engine.data.load import load_task
from finegates_engine.method_table import METHODS
from finegates_engine.results import RunResult, probability_columns
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import run_sweep
from finegates_engine.train.cell import probabilities, rebuild, train
from finegates_engine.train.evaluation import predict
from finegates_engine.train.progress import Progress

SMALL: dict[str, dict[str, float]] = {
    "velora": {"groups": 8, "rank": 2},
    "vera": {"rank": 16},
    "lora-xs": {"rank": 4},
    "lora": {"rank": 2},
    "lora-fa": {"rank": 2},
    "adalora": {"rank": 2},
}
"""Options that fit a backbone of 32."""

TRAINED = {
    "bitfit": 32 + 2 * (4 * 32 + 64 + 32 + 2 * 32),
    "rocoft": 3 * 2 * (5 * 32 + 64),
    "lora-xs": 16 * 12,
    "lora": 2 * 2 * (4 * 64 + 2 * 96),
    "lora-fa": 2 * 2 * (5 * 32 + 64),
    "velora": 2 * 2 * (4 * 64 + 2 * 96),
    "adalora": 3 * 2 * (4 * 64 + 2 * 96) + 3 * 12,
    "vera": 12 * 16 + 2 * (5 * 32 + 64),
    "ia3": 2 * (32 + 32 + 64),
}
"""Trained values beside the head, by hand, for the points at nothing removed."""


@pytest.fixture
def make(tiny_backbone: Path, tiny_task: Path, tmp_path: Path) -> Any:
    def go(
        name: str, *, scratch: str = "scratch", on_progress: Any = None, **parts: Any
    ) -> RunResult:
        spec = METHODS[name]
        target = 0.0 if spec.removes == "nothing" else 0.4
        parts["gates"] = {"target": target, **parts.get("gates", {})}
        options = parts.pop("method_options", SMALL.get(name, {}))
        config = tiny_config(tiny_backbone, tiny_task, method=name, method_options=options, **parts)
        folder = tmp_path / scratch
        folder.mkdir(exist_ok=True)
        return train(
            config,
            load_task(config.task),
            folder=tiny_backbone,
            weights_hash=weights_hash(tiny_backbone),
            scratch=folder,
            on_progress=on_progress,
        )

    return go


POINTS = [n for n, s in METHODS.items() if s.removes == "nothing"]
LEARNED = ["movement", "l0", "group-lasso"]


@pytest.mark.parametrize("name", POINTS)
def test_a_point_removes_nothing_and_counts_what_it_trains(name: str, make: Any) -> None:
    result = make(name, train={"epochs": 1})
    assert result.ladder.folded_encoder_fraction == 0
    assert result.ladder.model_parameters == result.shape.model_parameters
    assert result.adapter == {}
    head, trained = result.costs.trained_parameters["head"], result.costs.trained_parameters
    if name == "full":
        assert head == result.shape.model_parameters
    else:
        assert head == 2 * 32 + 2
    if name in TRAINED:
        assert sum(trained.values()) - head == TRAINED[name] == trained[METHODS[name].trains]
    assert np.isfinite(result.history["loss"].dropna()).all()


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_method_ends_at_its_exact_target(name: str, make: Any) -> None:
    result = make(name)
    assert result.ladder.folded_encoder_fraction == pytest.approx(0.4, abs=0.005)
    values = np.concatenate([v for n, v in result.adapter.items() if n.startswith("gate_values.")])
    assert set(values) == {0.0, 1.0}
    assert result.history["gates_closed"].iloc[0] == 0


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_method_takes_the_papers_axes(name: str, make: Any) -> None:
    gates = {"axes": "all", "tie": False, "allocation": "vector", "target": 0.3, "head_gates": True}
    result = make(name, gates=gates, train={"epochs": 1})
    assert result.ladder.folded_encoder_fraction == pytest.approx(0.3, abs=0.02)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("name", ["taylor", "movement", "l0", "group-lasso", "adalora", "svd"])
def test_a_killed_training_goes_on_to_the_same_bits(
    name: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finegates_engine.train.training.CHECKPOINT_STEPS", 3)
    monkeypatch.setattr("finegates_engine.train.callbacks.REPORT_SECONDS", 0.0)

    def kill(progress: Progress) -> None:
        if progress.step == 5:
            raise KilledError

    whole = make(name, scratch="whole")
    with pytest.raises(KilledError):
        make(name, scratch="cut", on_progress=kill)
    again = make(name, scratch="cut")
    assert whole.predictions.equals(again.predictions)
    for array, values in whole.adapter.items():
        np.testing.assert_array_equal(values, again.adapter[array])


def test_no_method_moves_the_weights_that_it_says_are_frozen(
    make: Any, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    from finegates_engine.train import cell

    before = load_file(tiny_backbone / "model.safetensors")
    models: list[Any] = []
    fit = cell.fit
    monkeypatch.setattr(cell, "fit", lambda *a, **o: models.append(fit(*a, **o)) or models[-1])
    for name in ("ia3", "rocoft", "lora-xs", "movement"):
        make(name, scratch=name, train={"epochs": 1})
        state = models[-1].model.network.state_dict()
        for key, value in before.items():
            if key.endswith("weight") and not key.startswith("pooler"):
                (found,) = [v for k, v in state.items() if k.replace(".base_layer", "") == key]
                assert torch.equal(found, value), (name, key)


@pytest.mark.parametrize("name", ["taylor", *LEARNED])
def test_a_stored_run_is_the_model_that_was_evaluated(
    name: str, make: Any, tiny_backbone: Path, tmp_path: Path
) -> None:
    result = make(name, train={"epochs": 1})
    store = RunStore(tmp_path / "store")
    store.save(result)
    run = store.load(result.run_id)
    model = rebuild(run, tiny_backbone)
    split = load_task(result.config.task).validation["validation"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    rows = tokenize_rows(split.texts, split.labels, tokenizer, 128)
    shares = probabilities(predict(model, rows, tokenizer.pad_token_id))
    stored = run.predictions[probability_columns(run.predictions)].to_numpy()
    np.testing.assert_allclose(shares, stored, atol=1e-6)


def test_methods_without_training_share_one_trained_run_in_a_sweep(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path
) -> None:
    store = RunStore(tmp_path / "store")
    base = tiny_config(tiny_backbone, tiny_task, train={"epochs": 1})
    for name in ("magnitude-posthoc", "taylor-posthoc"):
        state = run_sweep(dataclasses.replace(base, method=name), (0.2, 0.4), (0,), store=store)
        assert [cell.state for cell in state.cells] == ["done", "done", "done"]
        assert state.cells[0].cached == (name == "taylor-posthoc")
    frame = store.frame()
    counts = frame["method"].value_counts()
    assert dict(counts) == {"finegates": 1, "magnitude-posthoc": 2, "taylor-posthoc": 2}
    removed = frame[frame["method"] != "finegates"]["folded_encoder_fraction"]
    np.testing.assert_allclose(sorted(removed), [0.2, 0.2, 0.4, 0.4], atol=0.005)
    run = store.load(state.cells[2].run_id)
    assert run.record.costs.steps == 0
    assert run.record.costs.seconds_per_step is None
    assert run.history.empty
