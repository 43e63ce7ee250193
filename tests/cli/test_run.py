"""`finegates show`: which rungs are shown, and what is said of those that are missing."""

from pathlib import Path

from rich.console import Console
from run_examples import make_config, make_result
from timing_examples import MACHINE, certified_run, make_cell

from finegates_engine.cli import run as cli_run
from finegates_engine.cli.run import ladder_texts, print_run
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.measured_ladder import SETTING, measured_ladder
from finegates_engine.timing.stored import save_cells

HERE = {"batch": SETTING.batch, "tokens": SETTING.tokens, "threads": SETTING.threads}


def printed(run: StoredRun, monkeypatch) -> str:
    console = Console(width=200, color_system=None, record=True, quiet=False)
    monkeypatch.setattr(cli_run, "output", lambda: console)
    print_run(run)
    return console.export_text()


def test_a_run_that_was_not_folded_says_how_to_fold_it(tmp_path: Path, monkeypatch) -> None:
    store, result = RunStore(tmp_path), make_result(make_config(target=0.4))
    store.save(result)
    text = printed(store.load(result.run_id), monkeypatch)
    assert f"Not folded yet: finegates prune {result.run_id}" in text
    assert "finegates bench" not in text


def test_a_folded_run_that_was_not_timed_says_how_to_time_it(tmp_path: Path, monkeypatch) -> None:
    _, run = certified_run(tmp_path)
    text = printed(run, monkeypatch)
    assert f"Not timed yet: finegates bench {run.run_id}" in text
    assert ladder_texts(measured_ladder(run).ladder)["file_bytes"] == "700 B"


def test_a_timed_run_shows_its_latency_beside_the_dense_one(tmp_path: Path, monkeypatch) -> None:
    store, run = certified_run(tmp_path)
    cell = make_cell(gain=2.0, **HERE)
    save_cells(store, run, MACHINE, [cell])
    timed = store.load(run.run_id)
    assert f"{cell.speedup.value:.2f}x as fast as dense" in printed(timed, monkeypatch)
    median = 1e3 * cell.variants["pruned"].latency.median
    assert ladder_texts(measured_ladder(timed).ladder)["latency_ms"] == f"{median:.2f} ms"


def test_a_damaged_certificate_is_said(tmp_path: Path, monkeypatch) -> None:
    _, run = certified_run(tmp_path)
    (run.folder / "certificate.json").write_text("{}")
    assert "certificate.json" in printed(run, monkeypatch)
