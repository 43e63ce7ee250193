"""ONNX files give the folded model's logits, for any batch and length."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, gate_config, gated_model, inputs
from torch import Tensor

from finegates_engine.config import ModelConfig
from finegates_engine.data.batches import Ragged, TokenizedSplit
from finegates_engine.errors import UserError
from finegates_engine.fold.block import FoldOptions
from finegates_engine.folded import FoldedClassifier
from finegates_engine.prune.compiled import fold_model
from finegates_engine.prune.onnx_export import check_onnx, export_onnx, predict_onnx
from finegates_engine.timing.backends import onnx_session
from finegates_engine.train.evaluation import predict

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SHAPES = ((1, 1), (1, 9), (3, 7), (5, 16))


def folded(
    family: str = "bert", *, pooling: str = "mean", options: FoldOptions | None = None
) -> FoldedClassifier:
    """Heads of several widths, one head gone, nothing left of the first block's FFN."""
    model, _ = gated_model(
        family,
        gates=gate_config(axes="all", tie=False),
        model=ModelConfig(low_rank=0, pooling=pooling),  # type: ignore[arg-type]
    )
    assert model.gates is not None
    generator = torch.Generator().manual_seed(2)
    closed = torch.rand(model.gates.value().shape, generator=generator) < 0.3
    parts = model.gates.split((~closed).float())
    parts["0/ffn_out_columns"].zero_()
    parts["1/attention_output_columns"][:8] = 0
    model.gate_values = torch.cat(list(parts.values()))
    return fold_model(model, options or FoldOptions(round_to=1))


def feeds(values: dict[str, Tensor]) -> dict[str, Any]:
    plain = {name: value.numpy() for name, value in values.items()}
    types = np.zeros_like(plain["input_ids"])
    types[:, types.shape[1] // 2 :] = 1
    return plain | {"token_type_ids": types}


def assert_same(model: FoldedClassifier, path: Path) -> None:
    session = onnx_session(path, 1)
    for rows, tokens in SHAPES:
        given = feeds(inputs(rows=min(rows, tokens), tokens=tokens))
        with torch.inference_mode():
            expected = model(**{k: torch.from_numpy(v) for k, v in given.items()}).numpy()
        np.testing.assert_allclose(session(given), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "model"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_exports(family: str, pooling: str, tmp_path: Path) -> None:
    model = folded(family, pooling=pooling)
    export_onnx(model, tmp_path / "model.onnx")
    assert_same(model, tmp_path / "model.onnx")


def test_gathered_and_spread_dimensions_export_for_any_shape(tmp_path: Path) -> None:
    model = folded(options=FoldOptions(round_to=1, heads="spread", residual="gather"))
    assert model.spec.blocks[0].ffn == 0
    assert model.spec.blocks[1].qkv.take_in
    assert model.spec.blocks[1].qkv.take_out
    path = tmp_path / "model.onnx"
    export_onnx(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert_same(model, path)
    rows = TokenizedSplit(Ragged.of([[1, 2, 3], range(4, 13), [13]]), np.zeros(3))
    expected = predict(model, rows, 0)
    np.testing.assert_allclose(predict_onnx(path, rows, 0), expected, atol=1e-5)
    assert not np.allclose(expected[0], expected[2])


def test_missing_packages_are_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "onnxruntime" else found(name, *rest),
    )
    with pytest.raises(UserError, match=r'onnxruntime.*pip install "finegates-explorer\[onnx\]"'):
        check_onnx()
    with pytest.raises(UserError, match="ONNX needs onnxruntime"):
        export_onnx(folded(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_failing_export_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(UserError, match=r"could not be exported to ONNX \(RuntimeError"):
        export_onnx(folded(), tmp_path / "model.onnx")
