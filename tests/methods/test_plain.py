"""Layers of the points at nothing removed, against NumPy."""

import numpy as np
import pytest
import torch
from tiny_models import backbone_folder
from torch import nn

from finegates_engine.config import from_json
from finegates_engine.errors import UserError
from finegates_engine.gates.model import build_model
from finegates_engine.methods import method_of
from finegates_engine.methods.plain import CoreLinear, PartialLinear


@pytest.mark.parametrize(("rows", "columns"), [(2, 0), (0, 3), (2, 3)])
def test_trained_rows_and_columns_are_those_of_the_matrix(rows: int, columns: int) -> None:
    base = nn.Linear(6, 4)
    layer = PartialLinear(base, rows=rows, columns=columns)
    x = torch.randn(5, 6)
    torch.testing.assert_close(layer(x), base(x))  # starts as the layer that it wraps
    matrix = base.weight.detach().numpy().copy()
    with torch.no_grad():
        for name, part in layer.named_parameters(recurse=False):
            part.normal_()
            if name == "rows":
                matrix[:rows] += part.numpy()
            else:
                matrix[:, :columns] += part.numpy()
    expected = x.numpy() @ matrix.T + base.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-5)


def test_a_core_lies_between_the_largest_singular_directions() -> None:
    base = nn.Linear(6, 4)
    layer = CoreLinear(base, 2, torch.Generator().manual_seed(0))
    assert float(layer.core.detach().abs().max()) < 1e-4
    with torch.no_grad():
        layer.core.normal_()
    weight = base.weight.detach().numpy()
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    delta = left[:, :2] @ layer.core.detach().numpy() @ np.diag(values[:2]) @ right[:2]
    x = torch.randn(5, 6)
    expected = x.numpy() @ (weight + delta).T + base.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("rows=0", "needs rows or columns above 0, got 0 and 0"),
        ("rows=25", "trains at most 24 rows and 24 columns of query, got 25 and 0"),
    ],
)
def test_rows_that_are_not_there_are_refused(options: str, message: str) -> None:
    config = from_json({"method": "rocoft", "method_options": options})
    model = build_model(backbone_folder("bert"), config.model, outputs=2, seed=0)
    with pytest.raises(UserError, match=message):
        method_of(config).prepare(model)
