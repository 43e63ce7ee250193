"""One model as a call without arguments: in PyTorch, compiled, or in ONNX Runtime."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finegates_engine.errors import UserError
from finegates_engine.timing.stored import Setting

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

SAME = {"fp32": 1e-4, "bf16": 5e-2}
"""Precision to the largest difference of logits, as a share of max(1, largest logit), between a
model in PyTorch and the same one in another backend. It tells a broken one, not a good one: that
is what certificates are for."""

_REASON_LENGTH = 200

Call = Callable[[], object]
OnnxCall = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]


class Unavailable(UserError):  # noqa: N818  (a state of a backend, told to the user as such)
    """A backend that cannot run here, or not this model; the text is the reason."""


def check_device(device: str) -> None:
    """Raises UserError for CUDA that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        built = "" if torch.version.cuda else " (this torch is built without CUDA)"
        raise UserError(
            f"Device 'cuda' is not there: torch sees no NVIDIA GPU{built}. Use --device cpu, or "
            "install a CUDA build of torch on a machine with a GPU."
        )


def accelerator_name() -> str | None:
    """Model of the GPU that torch sees. None: none."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def placed(model: nn.Module, device: str, precision: str) -> nn.Module:
    """A copy in evaluation on the device, in the precision."""
    return copy.deepcopy(model).to(device, DTYPES[precision]).eval()


def inputs_for(ids: NDArray[np.int64], device: str) -> tuple[Tensor, Tensor]:
    """Token ids and their mask of ones, (batch, tokens) each; every variant gets both."""
    tensor = torch.from_numpy(ids).to(device)
    return tensor, torch.ones_like(tensor)


def eager_call(model: nn.Module, inputs: tuple[Tensor, Tensor]) -> Call:
    """The model as it is."""
    ids, mask = inputs
    return lambda: model(ids, mask)


def compiled_call(model: nn.Module, inputs: tuple[Tensor, Tensor], precision: str) -> Call:
    """The model through `torch.compile` for exactly this shape, compiled when it returns.

    To be called with the threads, and in the inference mode, in which it is timed: others compile
    it again. Raises Unavailable with the reason where that fails or changes the outputs.
    """
    ids, mask = inputs
    compiled = torch.compile(model, dynamic=False)
    try:
        found = compiled(ids, mask)
    except Exception as error:  # each part of the compiler has errors of its own
        raise Unavailable(f"torch.compile failed: {_first_line(error)}") from error
    _check_same(model(ids, mask), found, precision, "torch.compile")
    return lambda: compiled(ids, mask)


def onnx_call(path: Path, model: nn.Module, inputs: tuple[Tensor, Tensor], threads: int) -> Call:
    """The ONNX file of a model in ONNX Runtime. model: in PyTorch, fp32, on the CPU.

    Raises Unavailable with the reason where that fails or gives other outputs.
    """
    ids, mask = inputs
    session = onnx_session(path, threads)
    feeds = {"input_ids": ids.cpu().numpy(), "attention_mask": mask.cpu().numpy()}
    feeds["token_type_ids"] = np.zeros_like(feeds["input_ids"])
    try:
        found = session(feeds)
    except Exception as error:
        raise Unavailable(f"ONNX Runtime failed: {_first_line(error)}") from error
    _check_same(model(ids, mask), torch.from_numpy(found), "fp32", "ONNX Runtime")
    return lambda: session(feeds)


def onnx_session(path: Path, threads: int) -> OnnxCall:
    """An ONNX file as a call from named inputs to the logits, on the CPU.

    Takes input_ids and attention_mask, int64 (batch, tokens); those that the file does not read
    are left out. Raises Unavailable where ONNX Runtime is missing or cannot read the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(
            "ONNX Runtime is not installed. Install it: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Spinning threads take the cores from whatever else runs, and from the next variant.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common class
        raise Unavailable(f"ONNX Runtime cannot use {path.name}: {_first_line(error)}") from error
    read = [value.name for value in session.get_inputs()]

    def call(feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        logits: NDArray[Any] = session.run(None, {name: feeds[name] for name in read})[0]
        return logits

    return call


def check_backend(setting: Setting) -> None:
    """Raises Unavailable for a backend that has no such device or precision."""
    if setting.backend == "onnx" and setting.device != "cpu":
        raise Unavailable("ONNX Runtime is timed on the CPU only")
    if setting.backend == "onnx" and setting.precision != "fp32":
        raise Unavailable(f"ONNX files are fp32, not {setting.precision}")


def _check_same(expected: Tensor, found: Tensor, precision: str, backend: str) -> None:
    expected, found = expected.detach().float().cpu(), found.detach().float().cpu()
    if expected.shape != found.shape:
        raise Unavailable(f"{backend} gives {tuple(found.shape)}, not {tuple(expected.shape)}")
    scale = max(1.0, float(expected.abs().max()))
    difference = float((expected - found).abs().max()) / scale
    if not difference <= SAME[precision]:
        raise Unavailable(f"{backend} gives other outputs: they differ by {difference:.1g}")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:_REASON_LENGTH]
