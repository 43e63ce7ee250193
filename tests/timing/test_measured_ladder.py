"""Measured rungs come from a passing certificate and from timings alone."""

from pathlib import Path

import pytest
from run_examples import make_config, make_result
from timing_examples import MACHINE, certified_run, make_cell

from finegates_engine.runs.store import RunStore
from finegates_engine.timing.measured_ladder import SETTING, measured_ladder
from finegates_engine.timing.stored import save_cells

HERE = {"batch": SETTING.batch, "tokens": SETTING.tokens, "threads": SETTING.threads}


def test_a_run_that_was_not_folded_has_its_counted_rungs(tmp_path: Path) -> None:
    store, result = RunStore(tmp_path), make_result(make_config(target=0.4))
    store.save(result)
    found = measured_ladder(store.load(result.run_id))
    assert found.ladder == result.ladder
    assert (found.latency, found.problem) == (None, None)


def test_a_certificate_gives_bytes_and_stored_weights(tmp_path: Path) -> None:
    _, run = certified_run(tmp_path)
    ladder = measured_ladder(run).ladder
    assert (ladder.stored_weight_fraction, ladder.file_bytes) == (0.6, 700)
    assert ladder.latency_ms is None


def test_a_certificate_that_did_not_pass_gives_nothing(tmp_path: Path) -> None:
    _, run = certified_run(tmp_path, passed=False)
    assert measured_ladder(run).ladder == run.ladder


def test_latency_is_the_median_of_the_one_setting(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    cell, other = make_cell(gain=2.0, **HERE), make_cell(**(HERE | {"batch": 8}))
    save_cells(store, run, MACHINE, [other, cell])
    found = measured_ladder(store.load(run.run_id))
    assert found.ladder.latency_ms == pytest.approx(1e3 * cell.variants["pruned"].latency.median)
    assert found.latency == cell
    assert found.machine == MACHINE.accelerator or found.machine == MACHINE.cpu


def test_a_damaged_certificate_is_said_and_the_counted_rungs_stay(tmp_path: Path) -> None:
    _, run = certified_run(tmp_path)
    (run.folder / "certificate.json").write_text("{}")
    found = measured_ladder(run)
    assert found.ladder == run.ladder
    assert found.problem is not None
    assert "certificate.json" in found.problem
