"""Where cells are trained: what the options of `finegates sweep` lead to."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from finegates_engine.cli import entry
from finegates_engine.cli.executors import Execution, make_executor
from finegates_engine.errors import UserError
from finegates_engine.sweep import ray_cluster, workers


def test_without_a_choice_cells_are_trained_in_this_process() -> None:
    assert make_executor(Execution(), 1) is None
    assert make_executor(Execution(executor="local"), 64) is None


def test_workers_are_processes_and_too_many_threads_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    warmed: list[bool] = []
    monkeypatch.setattr(workers, "warm_up", lambda: warmed.append(True))
    assert make_executor(Execution(workers=2), 1) is not None
    assert capsys.readouterr().err == ""
    assert warmed
    assert make_executor(Execution(workers=2), 4) is not None
    assert "2 workers of 4 threads are 8 threads, and this process may use 2" in (
        capsys.readouterr().err
    )


def test_ray_gets_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(ray_cluster, "ray_cluster", seen.append)
    make_executor(Execution("ray"), 1)
    make_executor(Execution("ray", 9, "head:6379", 0.5, Path("shared")), 1)
    assert seen == [
        ray_cluster.RayOptions(address="auto"),
        ray_cluster.RayOptions("head:6379", 9, 0.5, Path("shared")),
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Execution("slurm"), "Unknown executor 'slurm'. Choose from: local, ray."),
        (Execution(workers=0), "--workers must be at least 1, got 0."),
        (
            Execution(address="auto"),
            "--address is for --executor ray. Add that, or leave --address out.",
        ),
        (
            Execution(workers=2, cell_gpus=1.0),
            "--cell-gpus is for --executor ray. Add that, or leave --cell-gpus out.",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(asked: Execution, message: str) -> None:
    with pytest.raises(UserError) as error:
        make_executor(asked, 1)
    assert str(error.value) == message


def test_options_reach_the_execution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(entry, "carry_out", lambda plan, **options: seen.append(options))
    words = "sweep --task cola --workers 3 --executor ray --address a:1 --cell-gpus 0.5"
    CliRunner().invoke(entry.app, [*words.split(), "--scratch", str(tmp_path)])
    assert seen[0]["execution"] == Execution("ray", 3, "a:1", 0.5, tmp_path)


def test_help_says_what_workers_do_with_threads() -> None:
    group: Any = typer.main.get_command(entry.app)
    (option,) = [p for p in group.commands["sweep"].params if p.name == "workers"]
    assert "N workers need N x threads cores" in option.help


def test_under_a_launcher_there_are_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from finegates_engine.config import RunConfig
    from finegates_engine.runs.store import RunStore
    from finegates_engine.sweep.runner import run_sweep

    monkeypatch.setenv("WORLD_SIZE", "2")
    executor = workers.worker_processes(2)
    with pytest.raises(UserError, match=r"Leave --workers and --executor out, or start the sweep"):
        run_sweep(RunConfig(), (0.0,), (0,), store=RunStore("nowhere"), executor=executor)
    assert not Path("nowhere").exists()


def test_without_ray_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    done = CliRunner().invoke(entry.app, ["sweep", "--executor", "ray", "--store", str(tmp_path)])
    assert done.exit_code == 2
    assert "pip install 'finegates-explorer[cluster]'" in " ".join(done.output.split())
