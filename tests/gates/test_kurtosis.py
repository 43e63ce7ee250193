"""Kurtosis of activations as weights of the gates, against SciPy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis
from tiny_models import FAMILIES, gate_config, gated_model, inputs

from finegates_engine.gates.kurtosis import MAX_ROWS, kurtosis_pressure
from finegates_engine.gates.model import iter_gated_layers


def build(family: str = "bert", **gates: Any) -> Any:
    return gated_model(family, gates=gate_config(**gates))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tie", [True, False])
def test_each_gate_has_the_kurtosis_of_its_dimension(family: str, tie: bool) -> None:
    model, plan = build(family, axes="all", tie=tie, head_gates=True)
    batches = [inputs(rows=3), inputs(rows=2, tokens=5)]
    hooks = []
    seen: dict[tuple[int, str, str], list[Any]] = {}
    for index, role, layer in iter_gated_layers(model):

        def look(_: Any, x: Any, y: Any, place: Any = (index, role)) -> None:
            mask = current["attention_mask"].bool()
            seen.setdefault((*place, "rows"), []).append(y[mask].detach().double().numpy())
            seen.setdefault((*place, "columns"), []).append(x[0][mask].detach().double().numpy())

        hooks.append(layer.register_forward_hook(look))
    for current in batches:
        model(**current)
    for hook in hooks:
        hook.remove()
    seen_all = {place: np.concatenate(parts) for place, parts in seen.items()}
    pressure = model.gates.split(kurtosis_pressure(model, batches, plan))
    for key, values in pressure.items():
        role, side = model.gate_kinds[key].acts[0]
        truth = kurtosis(seen_all[int(key[0]), role, side], axis=0, fisher=False)
        truth = truth.reshape(len(values), -1).mean(1)
        np.testing.assert_allclose(values, truth / truth.mean(), rtol=1e-4)


def test_mean_of_each_vector_is_1() -> None:
    model, plan = build(head_gates=True)
    pressure = kurtosis_pressure(model, [inputs()], plan)
    assert pressure.shape == plan.weights.shape
    for part in model.gates.split(pressure).values():
        assert float(part.mean()) == pytest.approx(1, abs=1e-5)
        assert float(part.min()) > 0


def test_rows_after_the_first_256_do_not_count() -> None:
    model, plan = build()
    first = [inputs(rows=100, tokens=120 // 3)] * 2
    last = inputs(rows=100, tokens=40)
    cut = {name: value[: MAX_ROWS - 200] for name, value in last.items()}
    whole = kurtosis_pressure(model, iter([*first, last, None]), plan)  # None would fail
    assert torch.equal(whole, kurtosis_pressure(model, [*first, cut], plan))


def test_model_is_as_it_was() -> None:
    model, plan = build()
    with torch.no_grad():
        model.gates.logit[::3] = -2.0
    model.train()
    before = model.eval()(**inputs()).detach()
    model.train()
    kurtosis_pressure(model, [inputs()], plan)
    assert model.training
    assert torch.equal(model.eval()(**inputs()), before)
    assert all(not layer._forward_hooks for _, _, layer in iter_gated_layers(model))
