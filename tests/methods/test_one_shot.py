"""Scores that close gates once, each against its closed form in NumPy; and their trainings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_config
from tiny_models import gate_config, gated_model

from finegates_engine.config import ModelConfig, RunConfig
from finegates_engine.data.batches import Ragged, TokenizedSplit
from finegates_engine.data.load import load_task
from finegates_engine.gates.layers import GatedLinear
from finegates_engine.gates.model import TextClassifier, adapter_state, iter_gated_layers
from finegates_engine.gates.sparsity import ladder_of
from finegates_engine.method_table import METHODS
from finegates_engine.methods import method_of
from finegates_engine.methods.calibration import TrainingRows, gate_gradients, task_loss
from finegates_engine.methods.one_shot import Activation, Magnitude, OneShot, Taylor, input_squares
from finegates_engine.train.training import Trained, fit

GATES = {
    "tied": gate_config(),
    "untied on all axes": gate_config(tie=False, axes="all"),
    "tied on all axes with heads": gate_config(axes="all", head_gates=True),
}


def rows(count: int = 12, *, outputs: int = 2) -> TrainingRows:
    generator = np.random.default_rng(4)
    ids = [generator.integers(1, 60, size=generator.integers(3, 9)).tolist() for _ in range(count)]
    labels = np.arange(count) % 2 if outputs == 2 else generator.normal(size=count)
    return TrainingRows(
        TokenizedSplit(Ragged.of(ids), labels.astype(np.int64 if outputs == 2 else np.float32)), 0
    )


def method(kind: type[OneShot], model: TextClassifier, **options: float) -> OneShot:
    name = kind.__name__.lower()
    made = kind(RunConfig(method=name, method_options=tuple(sorted(options.items()))))
    made.rows = rows()
    return made


def updated_model(gates: str) -> TextClassifier:
    """A model whose low-rank updates are not 0."""
    model, _ = gated_model(gates=GATES[gates], model=ModelConfig(low_rank=2))
    with torch.no_grad():
        for _, _, layer in iter_gated_layers(model):
            assert layer.low_rank_up is not None
            layer.low_rank_up.normal_(std=0.01, generator=torch.Generator().manual_seed(1))
    return model


def weight(layer: GatedLinear) -> np.ndarray:
    assert layer.low_rank_up is not None
    assert layer.low_rank_down is not None
    base = layer.base_layer.weight.detach().numpy()
    return base + 8.0 * layer.low_rank_up.detach().numpy() @ layer.low_rank_down.detach().numpy()


def expected_norms(model: TextClassifier, squares: dict[tuple[int, str], np.ndarray]) -> np.ndarray:
    """Gate by gate, from the rows and columns that the gate's kind says it removes."""
    assert model.gates is not None
    norms = []
    for key, size in model.gates.sizes.items():
        block, kind, width = int(key.split("/")[0]), model.gate_kinds[key], model.gate_dims[key]
        for gate in range(size):
            dims = slice(gate * width, (gate + 1) * width)
            parts = [
                squares[block, role][dims].sum()
                if side == "rows"
                else squares[block, role][:, dims].sum()
                for role, side in kind.removes
            ]
            norms.append(np.sqrt(sum(parts)))
    return np.array(norms)


@pytest.mark.parametrize("gates", GATES)
def test_magnitude_is_the_norm_of_what_a_gate_removes(gates: str) -> None:
    model = updated_model(gates)
    squares = {(i, role): weight(layer) ** 2 for i, role, layer in iter_gated_layers(model)}
    found = method(Magnitude, model).importance(model)
    np.testing.assert_allclose(found.numpy(), expected_norms(model, squares), rtol=1e-5)


@pytest.mark.parametrize("gates", GATES)
def test_activation_scales_each_weight_by_the_size_of_its_input(gates: str) -> None:
    model = updated_model(gates)
    seen: dict[tuple[int, str], list[np.ndarray]] = {}
    layers = list(iter_gated_layers(model))
    hooks = [
        layer.register_forward_hook(
            lambda _, x, y, place=(i, role): seen.setdefault(place, []).append(x[0][0].numpy())
        )
        for i, role, layer in layers
    ]
    with torch.no_grad():
        for ids in rows().split.input_ids:  # one by one: no padding
            model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))
    for hook in hooks:
        hook.remove()
    squares = {
        (i, role): weight(layer) ** 2 * np.mean(np.concatenate(seen[i, role]) ** 2, axis=0)
        for i, role, layer in layers
    }
    found = method(Activation, model).importance(model)
    np.testing.assert_allclose(found.numpy(), expected_norms(model, squares), rtol=1e-4)


@pytest.mark.parametrize("gates", GATES)
def test_taylor_is_the_slope_of_the_loss_in_each_gate(gates: str) -> None:
    model = updated_model(gates).double()
    assert model.gates is not None
    total = model.gates.logit.numel()
    chosen = list(range(0, total, max(1, total // 12)))

    def loss(values: torch.Tensor, batch: dict[str, torch.Tensor]) -> float:
        model.gate_values = values
        with torch.no_grad():
            logits = model(batch["input_ids"], batch["attention_mask"])
        return float(torch.nn.functional.cross_entropy(logits, batch["labels"]))

    slopes = np.zeros(len(chosen))
    for batch in rows().batches(12, 5, seed=0):
        for place, gate in enumerate(chosen):
            step = torch.zeros(total, dtype=torch.float64)
            step[gate] = 1e-2
            rise = loss(torch.ones(total) + step, batch) - loss(torch.ones(total) - step, batch)
            slopes[place] += abs(rise / 2e-2)
    model.gate_values = None
    found = method(Taylor, model, rows=12, chunk=5).importance(model)[chosen]
    np.testing.assert_allclose(found.numpy(), slopes, rtol=3e-2, atol=3e-5)


def test_gradients_leave_the_model_as_it_was() -> None:
    model, _ = gated_model()
    model.train()
    before = adapter_state(model)
    assert len(list(gate_gradients(model, rows(), count=6, size=4, seed=0))) == 2
    assert model.training
    assert model.gate_values is None
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[n]) for n, v in adapter_state(model).items())


def test_closed_gates_have_no_slope() -> None:
    model, _ = gated_model()
    assert model.gates is not None
    closed = torch.arange(model.gates.logit.numel()) % 3 == 0
    model.gates.close(closed)
    (gradient,) = gate_gradients(model, rows(), count=4, size=4, seed=0)
    assert not gradient[closed].any()
    assert gradient[~closed].any()


def test_inputs_of_a_narrowed_model_are_counted_in_full_width() -> None:
    from finegates_engine.gates.compact import compact, widen

    model, _ = gated_model(gates=gate_config(axes="inner"))
    assert model.gates is not None
    closed = torch.rand(model.gates.logit.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    model.gates.fix(closed)
    wide = input_squares(model, rows(), count=6, seed=0)
    compact(model)
    widen(model)
    again = input_squares(model, rows(), count=6, seed=0)
    assert all(torch.equal(value, again[place]) for place, value in wide.items())


def test_regression_is_scored_by_its_squared_error() -> None:
    logits, labels = torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 5.0])
    assert float(task_loss(logits, labels, label_variance=2.0)) == pytest.approx((1 + 4) / 2 / 2)


def test_calibration_rows_are_those_of_the_seed() -> None:
    def drawn(seed: int) -> list[list[int]]:
        return [row for b in rows(40).batches(10, 4, seed=seed) for row in b["input_ids"].tolist()]

    assert drawn(0) == drawn(0) != drawn(1)
    assert len(drawn(0)) == 10
    assert sum(len(b["labels"]) for b in rows(5).batches(99, 2, seed=0)) == 5


# Trainings


@pytest.fixture
def run(tiny_backbone: Path, tiny_task: Path, tmp_path: Path) -> Any:
    def go(name: str, *, warm_start: Any = None, scratch: str = "scratch", **parts: Any) -> Trained:
        parts["gates"] = {"target": 0.5, **parts.get("gates", {})}
        config = tiny_config(tiny_backbone, tiny_task, method=name, **parts)
        data = load_task(config.task)
        return fit(config, data, tiny_backbone, tmp_path / scratch, warm_start=warm_start)

    return go


PAPER = {"axes": "all", "tie": False, "allocation": "vector", "target": 0.3}


@pytest.mark.parametrize(
    ("name", "gates"),
    [("random", {}), ("magnitude", PAPER), ("activation", {}), ("taylor", {}), ("taylor", PAPER)],
)
def test_a_training_ends_at_the_exact_target_with_the_gates_of_the_score(
    run: Any, name: str, gates: dict[str, Any]
) -> None:
    trained = run(name, gates=gates, train={"epochs": 1})
    assert trained.steps == 6
    assert set(trained.model.gates.value().unique().tolist()) == {0.0, 1.0}
    ladder = ladder_of(trained.model.gates, trained.plan)
    assert ladder.folded_encoder_fraction == pytest.approx(gates.get("target", 0.5), abs=0.005)
    closed = [row["gates_closed"] for row in trained.log if "gates_closed" in row]
    assert closed[0] == 0
    assert closed[-1] > 0


def test_gates_that_are_scored_are_not_trained(run: Any) -> None:
    slow, fast = (
        run("taylor", train={"gate_lr": rate}, scratch=str(rate)).model.gates for rate in (0, 9)
    )
    assert torch.equal(slow.closed, fast.closed)
    assert torch.equal(slow.logit, fast.logit)


def test_scores_are_taken_when_the_option_says(run: Any) -> None:
    trained = run("magnitude", method_options={"after": 0.5}, train={"epochs": 2})
    log = {row["step"]: row["gates_closed"] for row in trained.log if "gates_closed" in row}
    assert {step for step, closed in log.items() if closed} == {7, 8, 9, 10, 11, 12}


@pytest.mark.parametrize("name", ["random", "magnitude", "activation", "taylor"])
def test_scores_are_taken_when_finegates_begins_to_close(run: Any, name: str) -> None:
    gates = {"open_start": 0.4, "ramp": 0.2, "finish": 0.2}
    trained = run(name, gates=gates, train={"epochs": 2})
    log = {row["step"]: row["gates_closed"] for row in trained.log if "gates_closed" in row}
    assert {step for step, closed in log.items() if closed} == {6, 7, 8, 9, 10, 11, 12}


def test_random_gates_differ_between_seeds_alone(run: Any) -> None:
    one, same, other = (
        run("random", method_options={"after": after}, seed=seed, scratch=f"{seed}-{after}")
        for seed, after in [(0, 0.0), (0, 0.5), (1, 0.0)]
    )
    closed = [trained.model.gates.closed for trained in (one, same, other)]
    assert torch.equal(closed[0], closed[1])
    assert not torch.equal(closed[0], closed[2])


@pytest.mark.parametrize("name", [n for n, spec in METHODS.items() if spec.starts_trained])
def test_without_training_after_nothing_but_the_gates_changes(run: Any, name: str) -> None:
    dense = adapter_state(run("finegates", gates={"target": 0.0}, scratch="dense").model)
    trained = run(name, warm_start=dense)
    assert trained.steps == 0
    ladder = ladder_of(trained.model.gates, trained.plan)
    assert ladder.folded_encoder_fraction == pytest.approx(0.5, abs=0.005)
    after = adapter_state(trained.model)
    assert all(torch.equal(dense[n], after[n]) for n in dense if not n.startswith("gates."))


def test_levels_of_a_path_are_nested(run: Any) -> None:
    for name in ("activation", "taylor"):
        low = run(name, gates={"target": 0.3}, scratch=f"{name}-low")
        high = run(name, path=[0.3], warm_start=adapter_state(low.model), scratch=f"{name}-high")
        assert bool((high.model.gates.closed | ~low.model.gates.closed).all())
        share = ladder_of(high.model.gates, high.plan).folded_encoder_fraction
        assert share == pytest.approx(0.5, abs=0.005)


def test_a_name_that_is_in_no_table_is_refused() -> None:
    from finegates_engine.errors import UserError

    with pytest.raises(UserError, match="Unknown method 'lottery'"):
        method_of(RunConfig(method="lottery"))
