"""Changes apply where they differ, keep outputs where they say so, and are called as they say."""

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_runs import places, tiny_run

from finegates_engine.explain import other_sizes, what_if
from finegates_engine.explain.what_if import Situation, changes
from finegates_engine.fold.block import DEFAULT, FoldOptions
from finegates_engine.prune.compiled import CompiledRun, compile_run, stored_weights
from finegates_engine.timing.backends import Unavailable
from finegates_engine.timing.stored import Setting


@pytest.fixture
def compiled(tmp_path: Path) -> CompiledRun:
    _, run = tiny_run(tmp_path)
    return compile_run(run, places()[0])


def rows(batch: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.arange(5, 5 + batch * tokens).remainder(40).view(batch, tokens)
    return ids, torch.ones_like(ids)


def situation(
    compiled: CompiledRun, options: FoldOptions = DEFAULT, *, batch: int = 2, tokens: int = 6
) -> Situation:
    return Situation(compiled, options, Setting(batch=batch, tokens=tokens), rows)


def names(now: Situation) -> list[str]:
    return [change.name for change in changes(now)[0]]


@torch.inference_mode()
def test_other_folds_of_the_run_have_its_outputs(compiled: CompiledRun) -> None:
    now = situation(compiled)
    expected = compiled.folded(*rows(2, 6))
    found = {change.name: change for change in what_if._other_folds(now)}
    assert {"round_to 1", "heads spread"} <= set(found)  # padded is its own layout
    for change in found.values():
        assert change.same_outputs
        torch.testing.assert_close(change.call(), expected, atol=1e-5, rtol=0)


def test_a_fold_that_would_be_the_same_is_no_change(compiled: CompiledRun) -> None:
    found = {change.name for change in what_if._other_folds(situation(compiled))}
    assert "round_to 16" not in found
    assert not any(name.startswith("residual") for name in found)  # inner gates alone


def test_a_larger_batch_and_shorter_rows_are_of_those_sizes(
    compiled: CompiledRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    made = changes(situation(compiled))[0]
    monkeypatch.setattr(
        type(compiled.folded), "forward", lambda _, ids, mask: seen.append(tuple(ids.shape))
    )
    found = {change.name: change for change in made}
    found["larger batch"].call()
    found["shorter rows"].call()
    assert seen == [(16, 6), (2, 3)]
    assert (found["larger batch"].factor, found["larger batch"].per) == (8, "row")


def test_what_cannot_be_changed_is_said_with_its_reason(compiled: CompiledRun) -> None:
    _, left_out = changes(situation(compiled, batch=64, tokens=64))
    assert "already fill the machine" in left_out["larger batch"]
    _, left_out = changes(situation(compiled, batch=1, tokens=3))
    assert "short" in left_out["shorter rows"]


def test_threads_are_as_before_after_a_call(
    compiled: CompiledRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    set_to: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    what_if._other_threads(situation(compiled)).call()
    assert set_to == [2, 1]
    monkeypatch.setattr(what_if.os, "sched_getaffinity", lambda _: {0}, raising=False)
    with pytest.raises(Unavailable, match="one core"):
        what_if._other_threads(situation(compiled))


def test_whole_and_uniform_heads_keep_about_as_many_rows(compiled: CompiledRun) -> None:
    spec, dense = compiled.folded.spec, compiled.dense.spec
    for block, full in zip(spec.blocks, dense.blocks, strict=True):
        uniform = other_sizes.uniform(block, spec)
        whole = other_sizes.whole_heads(block, full, spec)
        assert block.heads == uniform.heads
        assert uniform.qkv.rows == 3 * uniform.heads * uniform.width
        assert abs(whole.qkv.rows - block.qkv.rows) <= 3 * full.width / 2
        assert whole.width == full.width


@torch.inference_mode()
def test_models_of_other_gates_run(compiled: CompiledRun) -> None:
    gates = dataclasses.replace(compiled.run.config.gates, axes="all")
    config = dataclasses.replace(compiled.run.config, gates=gates)
    record = dataclasses.replace(compiled.run.record, config=config)
    run = dataclasses.replace(compiled.run, record=record)
    now = situation(dataclasses.replace(compiled, run=run))
    found = {change.name: change for change in what_if._other_gates(now)}
    assert "inner gates" in found
    for change in found.values():
        assert not change.same_outputs
        assert change.call().shape == compiled.folded(*rows(2, 6)).shape  # type: ignore[attr-defined]


def test_a_narrowed_model_keeps_the_share_of_weights(compiled: CompiledRun) -> None:
    spec = compiled.dense.spec
    half = other_sizes.respecified(spec, lambda block, _: other_sizes.narrowed(block, spec, 0.5))
    kept = stored_weights(other_sizes.filled(half)) / stored_weights(compiled.dense)
    assert kept == pytest.approx(0.5, abs=0.35)  # widths of 8 are steps of a head here
    assert kept < 1


def test_onnx_is_refused_with_the_reason_of_the_export(
    compiled: CompiledRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(Unavailable, match="not installed"):
        what_if.onnx_change(situation(compiled))


@pytest.mark.slow
def test_onnx_gives_the_runs_outputs(compiled: CompiledRun) -> None:
    change = what_if.onnx_change(situation(compiled))
    with torch.inference_mode():
        expected = compiled.folded(*rows(2, 6))
    torch.testing.assert_close(torch.from_numpy(change.call()), expected, atol=1e-4, rtol=0)
