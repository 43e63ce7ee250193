"""Every function is timed once, in its own part, and the parts sum up to the whole."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from finegates_engine.explain.explanation import PARTS
from finegates_engine.explain.part_times import (
    PartTimer,
    Recorder,
    clock_for,
    skeleton_inputs,
    skeleton_of,
    split_up,
)
from finegates_engine.folded import FoldedClassifier, ModelSpec
from finegates_engine.folded.layers import BlockKind, BlockSpec, MatrixSpec

HIDDEN, HEADS, WIDTH, FFN = 12, 3, 4, 10
COSTS = {
    "linear": 1000.0,
    "scaled_dot_product_attention": 100.0,
    "gather": 10.0,
    "gelu": 7.0,
    "layer_norm": 3.0,
    "embedding": 2.0,
    "mean": 5.0,
    "add": 0.5,
}


def block_spec(*, heads: int = HEADS, ffn: int = FFN, spread: bool = True) -> BlockSpec:
    rows = 3 * heads * WIDTH
    return BlockSpec(
        heads=heads,
        key_value_heads=heads,
        width=WIDTH,
        ffn=ffn,
        qkv=MatrixSpec(rows=rows, columns=HIDDEN, bias=True, take_out=rows if spread else 0),
        attention_output=MatrixSpec(rows=HIDDEN, columns=heads * WIDTH, bias=True),
        ffn_in=MatrixSpec(rows=ffn, columns=HIDDEN, bias=True),
        ffn_out=MatrixSpec(rows=HIDDEN, columns=ffn, bias=True),
    )


def model(*blocks: BlockSpec, pooling: str = "mean", **kind: Any) -> FoldedClassifier:
    spec = ModelSpec(
        kind=BlockKind(hidden=HIDDEN, activation="gelu", head_size=WIDTH, norm_eps=1e-5, **kind),
        blocks=blocks,
        vocabulary=20,
        positions=16,
        types=2,
        padding_id=None,
        pooling=pooling,
        outputs=2,
    )
    return FoldedClassifier(spec)


def inputs(rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.arange(5 * rows).view(rows, 5)
    return ids, torch.ones_like(ids)


class Work(TorchFunctionMode):
    """Below the timer: each function takes as long as COSTS says, by a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        self.now += COSTS.get(name, 0.0)
        self.names.append(name)
        return func(*args, **(kwargs or {}))


def timed_parts(timed: FoldedClassifier) -> dict[str, float]:
    work = Work()
    timer = PartTimer(timed, lambda: work.now)
    timer.begin()
    with torch.inference_mode(), work, timer:
        timed(*inputs())
    assert sum(timer.seconds.values()) == work.now
    return timer.seconds


def functions_of(
    model: FoldedClassifier, arguments: tuple[torch.Tensor, torch.Tensor]
) -> list[str]:
    work = Work()
    with torch.inference_mode(), work:
        model(*arguments)
    return work.names


def test_every_function_counts_in_its_own_part() -> None:
    found = timed_parts(model(block_spec(), block_spec(spread=False)))
    assert found == dict.fromkeys(PARTS, 0.0) | {
        "embeddings": 6.0,
        "qkv": 2000.0,
        "attention": 200.0,
        "attention_output": 2000.0,
        "ffn_in": 2000.0,
        "activation": 14.0,
        "ffn_out": 2000.0,
        "take": 10.0,
        "norm": 15.0,
        "elementwise": 3.0,
        "head": 1005.0,
    }


def test_a_block_without_heads_or_ffn_has_no_time_for_them() -> None:
    found = timed_parts(model(block_spec(heads=0, ffn=0, spread=False)))
    for part in ("qkv", "attention", "attention_output", "ffn_in", "activation", "ffn_out"):
        assert found[part] == 0.0


def test_a_second_call_begins_at_nothing() -> None:
    timed = model(block_spec())
    assert timed_parts(timed) == timed_parts(timed)


@pytest.mark.parametrize(
    "real",
    [
        model(block_spec(), block_spec(spread=False)),
        model(block_spec(heads=0, ffn=0, spread=False), block_spec()),
        model(block_spec(), pooling="tanh"),
        model(block_spec(), pre_norm=True, norm="rms", causal=True),
    ],
    ids=["spread", "empty block", "pooler", "other norms"],
)
def test_a_skeleton_calls_the_same_functions(real: FoldedClassifier) -> None:
    skeleton = skeleton_of(real)
    for rows in (1, 2):
        arguments = inputs(rows)
        found = functions_of(skeleton, skeleton_inputs(arguments[0]))
        assert found == functions_of(real, arguments)
    weights = sum(value.numel() for value in skeleton.parameters())
    assert weights < sum(value.numel() for value in real.parameters()) / 3


def recorders(clock: Callable[[], float]) -> tuple[Recorder, Recorder]:
    real = model(block_spec())
    skeleton = skeleton_of(real)
    tiny = skeleton_inputs(inputs()[0])
    return Recorder.of(real, inputs(), clock), Recorder.of(skeleton, tiny, clock)


def test_parts_sum_up_to_the_whole() -> None:
    found = recorders(time.perf_counter)
    for recorder in found:
        call = recorder.timed()
        for _ in range(9):
            recorder.plain()
            call()
    parts = split_up(*found, whole_ms=8.0)
    assert set(parts) == set(PARTS)
    assert sum(ms for ms, _ in parts.values()) == pytest.approx(8.0)
    assert all(ms >= 0 and error >= 0 for ms, error in parts.values())


def fill(recorder: Recorder, plain: float, **parts: float) -> None:
    for _ in range(4):
        recorder.plain_seconds.append(plain)
        values = dict.fromkeys(PARTS, 0.0) | parts
        recorder.part_seconds.append({**values, "all": 2 * plain})


def test_what_a_function_costs_on_nothing_is_not_its_work() -> None:
    real, skeleton = recorders(time.perf_counter)
    fill(real, 0.010, qkv=0.006, take=0.001)
    fill(skeleton, 0.001, qkv=0.001, take=0.0005)
    parts = split_up(real, skeleton, whole_ms=20.0)  # the wall is twice as long as the clock says
    assert parts["qkv"][0] == pytest.approx(10.0)
    assert parts["take"][0] == pytest.approx(1.0)
    assert parts["python"][0] == pytest.approx(9.0)


def test_parts_longer_than_the_whole_leave_nothing_for_python() -> None:
    real, skeleton = recorders(time.perf_counter)
    fill(real, 0.010, qkv=0.009, ffn_in=0.003)
    fill(skeleton, 0.001)
    parts = split_up(real, skeleton, whole_ms=10.0)
    assert parts["qkv"][0] == pytest.approx(7.5)
    assert parts["python"][0] == 0.0


def test_slow_calls_do_not_count() -> None:
    real, _ = recorders(time.perf_counter)
    fill(real, 0.010, qkv=0.006)
    real.part_seconds.append({**dict.fromkeys(PARTS, 0.0), "qkv": 5.0, "all": 9.0})
    assert real.means()["qkv"][0] == pytest.approx(0.006)
    assert real.slowed() == pytest.approx(2.0)


def test_one_thread_is_timed_by_its_own_clock() -> None:
    assert clock_for("cpu", 1) == (time.thread_time, True)
    assert clock_for("cpu", 2) == (time.perf_counter, False)


def test_a_gpu_is_waited_for_before_its_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    clock, own = clock_for("cuda", 1)
    assert clock() <= clock()
    assert (waited, own) == (["cuda", "cuda"], False)
