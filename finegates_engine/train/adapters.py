"""Trained values under the names of a stored adapter, and back into a model.

| in the model | in the adapter |
|---|---|
| gates.logit, split by gate vector | gates.<vector>: the logit; mu = tanh(logit) |
| gates.value | gate_values.<vector> |
| blocks.0.query.bias | biases.0.query |
| blocks.0.query.low_rank_down | low_rank.0.query.down |
| head.weight | head.weight |
| network.classifier.weight | head.network.classifier.weight |
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finegates_engine.architectures import gate_kinds
from finegates_engine.config import GateConfig
from finegates_engine.gates.model import TextClassifier, trained_parameters
from finegates_engine.results import LOCATION, VALUE

_LOW_RANK = "low_rank_"
_NETWORK = "network."


def stored_adapter(model: TextClassifier) -> dict[str, NDArray[Any]]:
    """All that was trained and the final gate values, fp32; empty for a model without gates."""
    gates = model.gates
    if gates is None:
        return {}
    parts = trained_parameters(model)
    arrays = {
        _stored_name(part, name): _numpy(parameter)
        for part in ("biases", "low_rank", "head")
        for name, parameter in parts[part].items()
    }
    for name, logit in gates.split(gates.logit).items():
        arrays[LOCATION + name] = _numpy(logit)
    for name, value in gates.split(gates.value()).items():
        arrays[VALUE + name] = _numpy(value)
    return arrays


@torch.no_grad()
def round_trained(model: TextClassifier) -> None:
    """Round biases, low-rank updates and head to fp16 values, so that storing them costs nothing.

    To be called once a training has ended, before its scores. Gates stay as they are, and so does
    a value outside of fp16's range.
    """
    parts = trained_parameters(model)
    for part in ("biases", "low_rank", "head"):
        for parameter in parts[part].values():
            rounded = parameter.half().to(parameter.dtype)
            parameter.copy_(torch.where(rounded.isfinite(), rounded, parameter))


def model_state(adapter: Mapping[str, NDArray[Any]], config: GateConfig) -> dict[str, Tensor]:
    """A stored adapter as what `model.load_adapter_state` takes.

    Gates of value 0 are closed for good; where all values are 0 or 1, they are fixed. Raises
    ValueError for an adapter without gates, or with those of another gate configuration.
    """
    order = list(gate_kinds(config.axes, tie=config.tie, head_gates=config.head_gates))
    order = [name.replace(".", "_") for name in order]
    vectors = [name.removeprefix(VALUE) for name in adapter if name.startswith(VALUE)]
    try:
        vectors.sort(key=lambda vector: _place(vector, order))
    except ValueError as error:
        raise ValueError(f"the adapter's gates are not those of its config: {error}") from error
    if not vectors:
        raise ValueError("the adapter has no gates")
    value = _joined(adapter, VALUE, vectors)
    state = {
        _model_name(name): torch.tensor(values)
        for name, values in adapter.items()
        if not name.startswith((LOCATION, VALUE))
    }
    state["gates.logit"] = _joined(adapter, LOCATION, vectors)
    state["gates.closed"] = value == 0
    state["gates.fixed"] = ((value == 0) | (value == 1)).all()
    state["gates.value"] = value
    return state


def _place(vector: str, order: list[str]) -> tuple[int, int]:
    """Block and number of a gate vector, such as 0/query_key, in the model's order."""
    layer, _, name = vector.partition("/")
    return int(layer), order.index(name)


def _joined(adapter: Mapping[str, NDArray[Any]], prefix: str, vectors: list[str]) -> Tensor:
    return torch.from_numpy(np.concatenate([adapter[prefix + vector] for vector in vectors]))


def _stored_name(part: str, name: str) -> str:
    if part == "head":
        return name if name.startswith("head.") else f"head.{name}"
    short = name.removeprefix("blocks.")
    if part == "biases":
        return f"biases.{short.removesuffix('.bias')}"
    return f"low_rank.{short.replace(_LOW_RANK, '')}"


def _model_name(name: str) -> str:
    part, _, rest = name.partition(".")
    if part == "head":
        return rest if rest.startswith(_NETWORK) else name
    if part == "biases":
        return f"blocks.{rest}.bias"
    layer, role, leaf = rest.split(".")
    return f"blocks.{layer}.{role}.{_LOW_RANK}{leaf}"


def _numpy(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().cpu().float().numpy().copy()
    return array
