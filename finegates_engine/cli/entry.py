"""The command line: finegates sweep, demo, watch, runs, show. No torch until a sweep trains."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from finegates_engine.cli.arguments import (
    DEFAULT_STORE,
    JsonOption,
    QuietOption,
    RunArgument,
    StoreOption,
)
from finegates_engine.cli.commands import bench, explain, prune
from finegates_engine.cli.executors import (
    AddressOption,
    Execution,
    ExecutorOption,
    GpusOption,
    ScratchOption,
    WorkersOption,
)
from finegates_engine.cli.ship import report, ship
from finegates_engine.cli.sweep import (
    BAD_INPUT,
    DEMO,
    DEMO_TARGETS,
    FAILED,
    SweepPlan,
    carry_out,
)
from finegates_engine.errors import UserError, printable
from finegates_engine.sweep.options import apply_options, with_config_options
from finegates_engine.sweep.presets import preset

DEFAULT_TARGETS = "0,0.1,0.2,0.3,0.4,0.5,0.6"

app = typer.Typer(
    help="Learn which rows and columns of a frozen Transformer to keep, and see what that buys.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main() -> None:
    """Entry point of the console script."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads: 10 times slower
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app()


def _said_plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Print a UserError as its text in red and exit with code 2; all else keeps its traceback."""

    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except UserError as error:
            lines = "\n".join(map(printable, str(error).split("\n")))
            Console(stderr=True).print(Text(lines, style="red"), soft_wrap=True)
            raise typer.Exit(BAD_INPUT) from None
        except BrokenPipeError:  # the reader, such as `head`, has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None

    return wrapper


@app.command()
@_said_plainly
@with_config_options
def sweep(
    *,
    targets: Annotated[
        str | None,
        typer.Option(
            help="Shares to remove, with commas "
            f"(each at least 0, below 1, default {DEFAULT_TARGETS})"
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, with commas (default 0)")] = None,
    store: StoreOption = DEFAULT_STORE,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="independent: each target anew; path: from one to the next (default independent)"
        ),
    ] = None,
    preset_name: Annotated[
        str | None,
        typer.Option(
            "--preset", help="Start values: default, or reference for the paper's (default default)"
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train cells again that have failed before.")
    ] = False,
    report_to: Annotated[
        str, typer.Option(help="Trackers, with commas: tensorboard, wandb, mlflow.")
    ] = "",
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    cell_gpus: GpusOption = None,
    scratch: ScratchOption = None,
    quiet: QuietOption = False,
    given: dict[tuple[str, str], Any],
) -> None:
    """Train every cell of targets and seeds that the store lacks. Without a choice: the demo."""
    trackers = tuple(name.strip() for name in report_to.split(",") if name.strip())
    plan = SweepPlan(DEMO, DEMO_TARGETS, (0,), "path")
    if given or any(choice is not None for choice in (targets, seeds, strategy, preset_name)):
        plan = SweepPlan(
            apply_options(preset(preset_name or "default"), given),
            _numbers(DEFAULT_TARGETS if targets is None else targets, float, "--targets"),
            _numbers("0" if seeds is None else seeds, int, "--seeds"),
            strategy or "independent",
        )
    carry_out(
        plan,
        store=store,
        quiet=quiet,
        retry_failed=retry_failed,
        report_to=trackers,
        execution=Execution(executor, workers, address, cell_gpus, scratch),
    )


@app.command()
@_said_plainly
def demo(store: StoreOption = DEFAULT_STORE, quiet: QuietOption = False) -> None:
    """A small sweep to begin with: half of an encoder removed step by step, in a few minutes."""
    carry_out(SweepPlan(DEMO, DEMO_TARGETS, (0,), "path"), store=store, quiet=quiet)


@app.command()
@_said_plainly
def watch(
    store: StoreOption = DEFAULT_STORE,
    once: Annotated[bool, typer.Option("--once", help="Print the table once and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the sweeps that are running on a store, and how far they are."""
    from finegates_engine.cli.watch import print_sweeps, sweeps_json, watch_sweeps
    from finegates_engine.sweep.state import read_sweeps

    _check_folder(store)
    if as_json:
        typer.echo(sweeps_json(read_sweeps(store)))
    elif once:
        print_sweeps(read_sweeps(store), store)
    else:
        with contextlib.suppress(KeyboardInterrupt):
            watch_sweeps(store)


@app.command()
@_said_plainly
def runs(
    store: StoreOption = DEFAULT_STORE,
    task: Annotated[str | None, typer.Option(help="Only runs of this task.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs of a store."""
    from finegates_engine.cli.tables import print_runs
    from finegates_engine.runs.store import RunStore

    opened = RunStore(store)
    frame = opened.frame()
    if task is not None:
        frame = frame[frame["task"] == task].reset_index(drop=True)
    if as_json:
        typer.echo(frame.to_json(orient="records", indent=1, double_precision=15))
    else:
        print_runs(frame, opened.damaged(), store, task=task)


@app.command()
@_said_plainly
def show(
    run: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show one run with its scores, their intervals, and its ladder."""
    from finegates_engine.cli.run import print_run, run_json
    from finegates_engine.runs.store import RunStore

    found = RunStore(store).find(run)
    if as_json:
        typer.echo(json.dumps(run_json(found), indent=1))
    else:
        print_run(found)


for command in (prune, bench, explain, ship, report):
    app.command()(_said_plainly(command))


@app.command()
@_said_plainly
def methods(as_json: JsonOption = False) -> None:
    """List the methods that a sweep knows, with their citation and options."""
    from finegates_engine.cli.methods import methods_json, print_methods

    if as_json:
        typer.echo(methods_json())
    else:
        print_methods()


@app.command()
@_said_plainly
def tasks() -> None:
    """List the tasks that a sweep knows by name."""
    from finegates_engine.cli.tables import print_tasks

    print_tasks()


def _numbers(text: str, kind: type[Any], option: str) -> tuple[Any, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise UserError(
            f"{option} must be {what} with commas between them, such as "
            f"{'0,1,2' if kind is int else '0,0.2,0.4'}, got {text!r}."
        ) from None


def _check_folder(store: Path) -> None:
    if store.exists() and not store.is_dir():
        raise UserError(f"Store {str(store)!r} is not a folder. Choose another with --store.")
