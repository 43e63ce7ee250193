"""A model gives the same outputs in every backend, or the backend says why it cannot run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_timing import TinyModel, save_onnx
from torch import Tensor

from finegates_engine.errors import UserError
from finegates_engine.timing import backends
from finegates_engine.timing.backends import (
    Unavailable,
    accelerator_name,
    check_backend,
    check_device,
    compiled_call,
    eager_call,
    inputs_for,
    onnx_call,
    onnx_session,
    placed,
)
from finegates_engine.timing.stored import Setting


def tiny_inputs() -> tuple[Tensor, Tensor]:
    return inputs_for(np.arange(6).reshape(2, 3), "cpu")


def test_eager_call_is_the_model() -> None:
    model = TinyModel()
    ids, mask = inputs = tiny_inputs()
    assert mask.eq(1).all()
    assert torch.equal(eager_call(model, inputs)(), model(ids, mask))


def test_placed_model_is_a_copy_in_its_precision() -> None:
    model = TinyModel()
    copy = placed(model, "cpu", "bf16")
    assert copy.layer.weight.dtype == torch.bfloat16
    assert model.layer.weight.dtype == torch.float32
    assert not copy.training


def test_failing_compiler_is_a_reason_not_a_crash(monkeypatch) -> None:
    def fail(*_: object) -> Tensor:
        raise RuntimeError("No working C++ compiler found\nmore")

    monkeypatch.setattr(torch, "compile", lambda model, dynamic: fail)
    with pytest.raises(Unavailable, match=r"^torch.compile failed: RuntimeError: No working C\+\+"):
        compiled_call(TinyModel(), tiny_inputs(), "fp32")


def test_compiled_model_with_other_outputs_is_not_timed(monkeypatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: TinyModel(seed=1))
    with pytest.raises(Unavailable, match="gives other outputs"):
        compiled_call(TinyModel(), tiny_inputs(), "fp32")


def test_outputs_that_are_no_numbers_are_not_the_same() -> None:
    good = torch.ones(1, 2)
    with pytest.raises(Unavailable, match="differ by nan"):
        backends._check_same(good, good * float("nan"), "fp32", "x")
    with pytest.raises(Unavailable, match=r"gives \(2, 2\), not \(1, 2\)"):
        backends._check_same(good, torch.ones(2, 2), "fp32", "x")


@pytest.mark.slow
def test_compiled_model_gives_the_models_outputs() -> None:
    model, inputs = TinyModel().eval(), tiny_inputs()
    with torch.inference_mode():
        found = compiled_call(model, inputs, "fp32")()
        assert torch.allclose(found, model(*inputs), atol=1e-6)


def test_onnx_session_reads_only_the_inputs_that_the_file_has(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model, inputs = TinyModel(), tiny_inputs()
    path = save_onnx(model, tmp_path / "tiny.onnx")
    session = onnx_session(path, 1)
    ids, mask = (value.numpy() for value in inputs)
    found = session({"input_ids": ids, "attention_mask": mask})
    assert np.allclose(found, model(*inputs).detach().numpy(), atol=1e-6)
    with torch.inference_mode():
        assert np.array_equal(onnx_call(path, model, inputs, 1)(), found)


def test_onnx_session_has_the_threads_asked_for_and_none_that_spin(
    tmp_path: Path, monkeypatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    seen = []
    original = onnxruntime.InferenceSession

    def spy(path: str, options: object, **rest: object) -> object:
        seen.append(options)
        return original(path, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    onnx_session(save_onnx(TinyModel(), tmp_path / "tiny.onnx"), 3)
    assert seen[0].intra_op_num_threads == 3
    assert seen[0].get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_onnx_file_of_another_model_is_not_timed(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = save_onnx(TinyModel(seed=1), tmp_path / "tiny.onnx")
    with torch.inference_mode(), pytest.raises(Unavailable, match="gives other outputs"):
        onnx_call(path, TinyModel(), tiny_inputs(), 1)


def test_damaged_onnx_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(Unavailable, match=r"cannot use bad\.onnx"):
        onnx_session(path, 1)


def test_missing_runtime_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match="pip install onnxruntime"):
        onnx_session(tmp_path / "x.onnx", 1)


@pytest.mark.parametrize(
    ("changes", "words"), [({"device": "cuda"}, "CPU only"), ({"precision": "bf16"}, "fp32")]
)
def test_onnx_is_timed_on_the_cpu_in_fp32_alone(changes: dict[str, str], words: str) -> None:
    with pytest.raises(Unavailable, match=words):
        check_backend(Setting(backend="onnx", batch=1, tokens=8, **changes))
    check_backend(Setting(backend="onnx", batch=1, tokens=8))


def test_cuda_that_is_not_there_is_said_plainly(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"Device 'cuda' is not there.*--device cpu"):
        check_device("cuda")
    check_device("cpu")
    assert accelerator_name() is None
