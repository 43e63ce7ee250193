import pytest

from finegates_engine.fold.block import FoldOptions
from finegates_engine.fold.targets import device_options, onnx_options


def test_heads_are_padded_for_onnx_where_nobody_chose() -> None:
    assert onnx_options(FoldOptions(round_to=8)) == FoldOptions(round_to=8, heads="padded")
    assert onnx_options(FoldOptions(heads="spread")).heads == "spread"


def test_nothing_is_picked_or_spread_on_a_gpu_where_nobody_chose() -> None:
    padded = FoldOptions(round_to=8, heads="padded", residual="zeros")
    assert device_options(FoldOptions(round_to=8), "cuda") == padded


@pytest.mark.parametrize(
    ("options", "device"),
    [(FoldOptions(), "cpu"), (FoldOptions(heads="spread", residual="gather"), "cuda")],
)
def test_what_was_chosen_and_the_cpu_keep_their_layout(options: FoldOptions, device: str) -> None:
    assert device_options(options, device) == options
