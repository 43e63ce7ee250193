"""finegates bench: bad input is refused before anything is measured; tables say what was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from rich.console import Console
from run_examples import make_config, make_result
from timing_examples import MACHINE, certified_run, make_cell
from tiny_timing import Sleeper
from typer.testing import CliRunner

from finegates_engine.cli import bench as cli_bench
from finegates_engine.cli import bench_tables as cli_bench_tables
from finegates_engine.cli.bench_tables import bench_json, print_bench, verdict_text
from finegates_engine.cli.commands import bench
from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore
from finegates_engine.text.format import ms_text
from finegates_engine.timing.benchmark import RaceLimits
from finegates_engine.timing.cells import Contenders, Outcome
from finegates_engine.timing.inputs import TokenStream
from finegates_engine.timing.latency import Speedup
from finegates_engine.timing.stored import Setting, fingerprint, read_timings

app = typer.Typer()
app.command()(bench)


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def quick(monkeypatch, tiny_backbone: Path) -> None:
    """Models that sleep instead of those of the run, eight rounds."""
    import numpy as np

    models = Contenders(
        dense=Sleeper(8), pruned=Sleeper(2), transformers=Sleeper(9), mac_ratio=lambda _: 2.0
    )
    stream = TokenStream(np.arange(10), "made up")
    quick_limits = RaceLimits(min_rounds=8, max_rounds=8, block_seconds=0.0)
    monkeypatch.setattr("finegates_engine.explain.certified.contenders", lambda *_, **__: models)
    monkeypatch.setattr(cli_bench, "token_stream", lambda run, folder: stream)
    monkeypatch.setattr(cli_bench, "local_folder", lambda name: tiny_backbone)
    monkeypatch.setattr("finegates_engine.timing.cells.RaceLimits", lambda: quick_limits)


BAD: dict[str, tuple[list[str], str]] = {
    "device": (["--device", "tpu"], "Unknown device 'tpu'. Choose from: cpu, cuda"),
    "batch": (["--batch", "1,0"], "--batch must be whole numbers from 1 to 4,096"),
    "tokens": (["--tokens", "many"], "--tokens must be whole numbers"),
    "no tokens": (["--tokens", ","], "--tokens must be whole numbers"),
    "threads": (["--threads", "-1"], "--threads must be whole numbers"),
    "backend": (["--backend", "torch,tf"], "Unknown backend 'tf'"),
    "precision": (["--precision", "fp8"], "Unknown precision 'fp8'"),
    "budget": (["--budget", "0"], "--budget must be seconds above 0"),
    "nan": (["--budget", "nan"], "--budget must be seconds above 0"),
    "long": (["--tokens", "257"], "--tokens is 257, but the backbone reads at most 256"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
@pytest.mark.usefixtures("quick")
def test_bad_input_is_refused_before_anything_is_measured(
    kind: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(
        "finegates_engine.explain.certified.contenders",
        lambda *_, **__: pytest.fail("models were built"),
    )
    _, run = certified_run(tmp_path)
    options, words = BAD[kind]
    done = invoke(run.run_id, "--store", tmp_path, *options)
    assert isinstance(done.exception, UserError)
    assert words in str(done.exception)
    assert not (run.folder / "timings").exists()


@pytest.mark.usefixtures("quick")
def test_cuda_that_is_not_there_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _, run = certified_run(tmp_path)
    done = invoke(run.run_id, "--store", tmp_path, "--device", "cuda")
    assert "Device 'cuda' is not there" in str(done.exception)


@pytest.mark.usefixtures("quick")
def test_a_run_without_a_certificate_is_not_timed(tmp_path: Path) -> None:
    result = make_result(make_config(target=0.4))
    RunStore(tmp_path).save(result)
    done = invoke(result.run_id, "--store", tmp_path, "--no-save")
    assert isinstance(done.exception, UserError)
    assert f"finegates prune {result.run_id}" in str(done.exception)


@pytest.mark.usefixtures("quick")
def test_cells_are_shown_and_kept(tmp_path: Path) -> None:
    _, run = certified_run(tmp_path)
    done = invoke(run.run_id, "--store", tmp_path, "--batch", "1,8", "--tokens", 16)
    assert done.exit_code == 0, done.output
    assert "x faster" in done.output
    (name, file), *others = read_timings(run).items()
    assert not others
    assert [cell.setting.batch for cell in file.cells] == [1, 8]
    assert f"Kept as timings/{name}.json" in done.output
    assert f"Fingerprint {name}" in done.output


@pytest.mark.usefixtures("quick")
def test_json_holds_raw_values_and_no_save_keeps_nothing(tmp_path: Path) -> None:
    _, run = certified_run(tmp_path)
    done = invoke(
        run.run_id, "--store", tmp_path, "--batch", 2, "--tokens", 16, "--json", "--no-save"
    )
    found = json.loads(done.stdout)
    (cell,) = found["cells"]
    assert len(cell["variants"]["pruned"]["seconds"]) == 8
    assert cell["rows_per_second"]["dense"] == pytest.approx(250, rel=0.3)
    assert found["saved"] is None
    assert not (run.folder / "timings").exists()


@pytest.mark.usefixtures("quick")
def test_a_damaged_timing_file_is_found_before_the_measurement(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "finegates_engine.explain.certified.contenders",
        lambda *_, **__: pytest.fail("models were built"),
    )
    _, run = certified_run(tmp_path)
    (run.folder / "timings").mkdir()
    (run.folder / "timings" / "abc.json").write_text("{}")
    done = invoke(run.run_id, "--store", tmp_path)
    assert "timings/abc.json" in str(done.exception)


@pytest.mark.usefixtures("quick")
def test_interrupted_command_keeps_the_cells_that_are_done(tmp_path: Path, monkeypatch) -> None:
    _, run = certified_run(tmp_path)
    saved = cli_bench.save_cells

    def once(*arguments: Any) -> None:
        saved(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_bench, "save_cells", once)
    done = invoke(run.run_id, "--store", tmp_path, "--batch", "1,8", "--tokens", 16)
    assert done.exit_code == 130
    (file,) = read_timings(run).values()
    assert len(file.cells) == 1
    assert "x faster" in done.output


@pytest.mark.usefixtures("quick")
def test_a_grid_without_any_cell_fails_with_the_reasons(tmp_path: Path) -> None:
    _, run = certified_run(tmp_path)
    done = invoke(run.run_id, "--store", tmp_path, "--backend", "onnx", "--batch", 1, "--tokens", 8)
    assert done.exit_code == 1
    assert "Not timed, 1 x 8 tokens, cpu, onnx, fp32, 1 thread: " in done.output


def test_runs_are_found_by_their_hash_and_paths_are_no_runs(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    assert store.find(run.run_id.rsplit("-", 1)[1][:7]).run_id == run.run_id
    with pytest.raises(UserError, match="is not one"):
        store.find("../x")


def test_a_run_or_matmul_must_be_named_not_both() -> None:
    assert "--matmul" in str(invoke().exception)
    assert "leave 'x' out" in str(invoke("x", "--matmul").exception)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rates", "1"], "--rates must be shares in [0, 1)"),
        (["--rates", "nan"], "--rates must be shares in [0, 1)"),
        (["--rates", ""], "at least one size and one rate"),
        (["--sizes", "384"], "rows x columns"),
        (["--threads", "1,2"], "one --threads"),
    ],
)
def test_bad_matmul_input_is_refused(options: list[str], words: str) -> None:
    assert words in str(invoke("--matmul", *options).exception)


def test_matmul_prints_and_gives_json() -> None:
    options = ("--matmul", "--sizes", "16x16", "--rates", "0.5", "--budget", "0.1")
    table = invoke(*options)
    assert table.exit_code == 0, table.output
    assert "16 x 16, 64 vectors" in table.output
    assert "75.0%" in table.output
    (point,) = json.loads(invoke(*options, "--json").stdout)["points"]
    assert point["widths"]["removed"] == [8, 8]
    assert set(point["speedup"]) == {"removed", "rounded", "zeros"}


def shown(outcomes: list[Outcome], monkeypatch, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    monkeypatch.setattr(cli_bench_tables, "output", lambda: console)
    print_bench("agreement-x", MACHINE, outcomes, "")
    return console.export_text()


def test_table_fits_80_columns(monkeypatch) -> None:
    settings = ({"batch": 32, "tokens": 128}, {"batch": 1, "tokens": 16})
    cells = [make_cell(gain=gain, **s) for gain, s in zip((1.5, 1.0), settings, strict=True)]
    text = shown([Outcome(cell.setting, cell) for cell in cells], monkeypatch)
    assert "32 x 128" in text
    assert "1.50x faster" in text
    assert text.index("1 x 16") < text.index("32 x 128")
    assert "Not kept." in text


def test_busy_machine_is_said(monkeypatch) -> None:
    import dataclasses

    busy = dataclasses.replace(make_cell(), load=5.0)
    assert "Other work ran on this machine (load up to 5.0 of 2 cores)" in shown(
        [Outcome(busy.setting, busy)], monkeypatch, width=200
    )
    quiet = make_cell()
    assert "Other work" not in shown([Outcome(quiet.setting, quiet)], monkeypatch)


def test_names_in_a_table_are_never_markup(monkeypatch) -> None:
    outcome = Outcome(Setting(batch=1, tokens=8), None, "[bold]reason[/bold]")
    assert "[bold]reason[/bold]" in shown([outcome], monkeypatch, width=200)


def test_json_names_the_machine_by_its_fingerprint() -> None:
    cell = make_cell()
    found = bench_json("agreement-x", MACHINE, [Outcome(cell.setting, cell)], "timings/x.json")
    assert found["fingerprint"] == fingerprint(MACHINE)
    assert found["saved"] == "timings/x.json"
    json.dumps(found, allow_nan=False)


def test_numbers_have_the_digits_that_matter() -> None:
    assert [ms_text(s) for s in (0.00001234, 0.0100, 0.1234, 12.3)] == [
        "0.0123",
        "10.0",
        "123",
        "12,300",
    ]
    assert verdict_text(Speedup(value=0.8, low=0.7, high=0.9)) == "0.80x slower\n(0.70 to 0.90)"
    same = verdict_text(Speedup(value=1.0, low=0.9, high=1.1))
    assert same == "no measurable\ndifference\n(0.90 to 1.10)"
