"""Models that are quick to time: a tiny one, its ONNX file, and one that only sleeps."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn


class TinyModel(nn.Module):
    """(batch, tokens) ids to (batch, 2): mean of an embedding, one layer."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.table, self.layer = nn.Embedding(10, 4), nn.Linear(4, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.layer(self.table(input_ids).mean(1)).float()


def save_onnx(model: TinyModel, path: Path) -> Path:
    """The same model, written node by node."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    weights = {
        "table": model.table.weight,
        "weight": model.layer.weight.T.contiguous(),
        "bias": model.layer.bias,
    }
    arrays = [
        onnx.numpy_helper.from_array(w.detach().numpy().copy(), n) for n, w in weights.items()
    ]
    nodes = [
        make.make_node("Gather", ["table", "input_ids"], ["x"]),
        make.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=0),
        make.make_node("Gemm", ["m", "weight", "bias"], ["logits"]),
    ]
    ids = make.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    out = make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 2])
    graph = make.make_graph(nodes, "tiny", [ids], [out], arrays)
    opsets = [make.make_opsetid("", 13)]
    onnx.save(make.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


class Sleeper(nn.Module):
    """Takes some milliseconds, whatever the input."""

    def __init__(self, ms: float) -> None:
        super().__init__()
        self.ms = ms
        self.seen: list[tuple[tuple[int, ...], torch.dtype]] = []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        assert attention_mask.shape == input_ids.shape
        time.sleep(self.ms / 1000)
        self.seen.append((tuple(input_ids.shape), self.weight.dtype))
        return torch.zeros(len(input_ids), 2)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sleeper":
        copy = Sleeper(self.ms)
        copy.seen = self.seen
        return copy
