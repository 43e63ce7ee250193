"""A grid is timed cell by cell: short ones first, within a budget, reasons instead of crashes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_timing import Sleeper, TinyModel, save_onnx
from torch import Tensor, nn

from finegates_engine.timing.benchmark import RaceLimits
from finegates_engine.timing.cells import CellTimer, Contenders, Outcome, settings_of, time_cells
from finegates_engine.timing.inputs import TokenStream
from finegates_engine.timing.stored import Setting

QUICK = RaceLimits(min_rounds=8, max_rounds=8, block_seconds=0.0)
STREAM = TokenStream(np.arange(10), "made up")


def make_timer(*, pruned: nn.Module | None = None, **changes: Any) -> CellTimer:
    models = {"dense": Sleeper(6), "pruned": pruned or Sleeper(2), "transformers": Sleeper(15)}
    contenders = Contenders(**(models | {"mac_ratio": lambda tokens: 1.0 + tokens / 16} | changes))
    return CellTimer(contenders, STREAM, commit="c" * 40)


def test_a_cell_holds_what_was_measured() -> None:
    cell = make_timer().measure(Setting(batch=2, tokens=16), QUICK).cell
    assert cell is not None
    assert set(cell.variants) == {"dense", "pruned", "transformers"}
    assert {len(times.seconds) for times in cell.variants.values()} == {8}
    assert cell.speedup.verdict == "faster"
    assert cell.speedup.value == pytest.approx(3, rel=0.3)
    assert cell.variants["transformers"].verdict == "slower"
    assert cell.mac_ratio == 2.0
    assert cell.efficiency == pytest.approx(cell.speedup.value / 2)
    assert (cell.inputs, cell.commit) == ("made up", "c" * 40)


def test_models_see_the_exact_shape_in_the_precision_asked_for() -> None:
    pruned = Sleeper(0)
    make_timer(pruned=pruned).measure(Setting(batch=3, tokens=7, precision="bf16"), QUICK)
    assert set(pruned.seen) == {((3, 7), torch.bfloat16)}


def test_short_cells_come_first_compiled_ones_last_and_each_once() -> None:
    found = settings_of(
        device="cpu",
        backends=("compile", "torch", "torch"),
        precisions=("fp32",),
        threads=(1, 2),
        batches=(32, 1),
        tokens=(128, 16),
    )
    assert len(found) == len(set(found)) == 16
    assert [setting.backend for setting in found] == ["torch"] * 8 + ["compile"] * 8
    sizes = [setting.batch * setting.tokens for setting in found[:8]]
    assert sizes == sorted(sizes)


def test_backend_that_cannot_run_is_an_outcome_with_its_reason(monkeypatch) -> None:
    def fail(*_: object) -> Tensor:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda model, dynamic: fail)
    timer = make_timer()
    compiled = timer.measure(Setting(backend="compile", batch=1, tokens=4), QUICK)
    assert compiled.cell is None
    assert compiled.reason == "torch.compile failed: RuntimeError: no compiler"
    onnx = timer.measure(Setting(backend="onnx", batch=1, tokens=4), QUICK)
    assert onnx.reason == "there are no ONNX files of this run"


def test_onnx_files_are_timed_against_each_other(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    models = {"dense": TinyModel(seed=0), "pruned": TinyModel(seed=1)}

    def onnx_file(variant: str) -> Path:
        return save_onnx(models[variant], tmp_path / f"{variant}.onnx")

    timer = make_timer(**models, onnx_file=onnx_file)
    cell = timer.measure(Setting(backend="onnx", batch=2, tokens=3), QUICK).cell
    assert cell is not None
    assert set(cell.variants) == {"dense", "pruned"}


def timed(budget: float, *, stop: Callable[[], bool] | None = None) -> list[Outcome]:
    told: list[Outcome] = []
    settings = [Setting(batch=1, tokens=tokens) for tokens in (1, 2, 3)]
    limits = RaceLimits(min_rounds=8, interval_width=0.0)
    outcomes = time_cells(
        make_timer(),
        settings,
        budget_seconds=budget,
        limits=limits,
        on_outcome=told.append,
        stop=stop,
    )
    assert outcomes == told
    return outcomes


def rounds(outcomes: list[Outcome]) -> list[int]:
    return [len(o.cell.variants["dense"].seconds) for o in outcomes if o.cell is not None]


def test_every_cell_has_its_least_rounds_whatever_the_budget() -> None:
    assert rounds(timed(0.0)) == [8, 8, 8]


def test_what_is_left_of_the_budget_is_shared_by_the_cells_that_are_left(monkeypatch) -> None:
    clock, shares = [100.0], []

    def measure(self: CellTimer, setting: Setting, limits: RaceLimits, **_: Any) -> Outcome:
        shares.append(limits.budget_seconds)
        clock[0] += {1: 10.0, 2: 40.0, 3: 5.0}[setting.tokens]
        return Outcome(setting, None)

    monkeypatch.setattr(CellTimer, "measure", measure)
    monkeypatch.setattr("finegates_engine.timing.cells.time.monotonic", lambda: clock[0])
    timed(60.0)
    assert shares == [20.0, 25.0, 10.0]


def test_stop_ends_the_grid_and_an_unfinished_cell_is_none() -> None:
    asked = iter(range(10**6))
    outcomes = timed(60.0, stop=lambda: next(asked) > 20)
    assert len(outcomes) == 1
    assert outcomes[0].cell is None
    assert outcomes[0].reason.startswith("stopped after ")
