"""finegates sweep and demo: a plan carried out, its progress shown, its end told. No torch."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import typer

from finegates_engine.cli.executors import Execution, make_executor
from finegates_engine.config import GateConfig, RunConfig, TaskConfig, TrainConfig
from finegates_engine.errors import DiskError, printable
from finegates_engine.sweep import ranks

DEMO = RunConfig(
    task=TaskConfig(name="agreement", max_train_samples=1500),
    gates=GateConfig(target=0.0),
    train=TrainConfig(
        epochs=2.0,
        path_epochs=2.0,
        batch_size=8,
        bias_lr=5e-4,
        low_rank_lr=7e-4,
        head_lr=2e-3,
        dropout=False,
    ),
)
"""The sweep of `finegates demo`: some minutes on two cores, no download."""

DEMO_TARGETS = (0.0, 0.3, 0.5)

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes: a cell failed, or the disk is full; the input is wrong; stopped by the user."""


class SweepPlan(NamedTuple):
    """What a sweep command was asked for."""

    base: RunConfig
    targets: tuple[float, ...]
    seeds: tuple[int, ...]
    strategy: str


def carry_out(
    plan: SweepPlan,
    *,
    store: Path,
    quiet: bool,
    retry_failed: bool = False,
    report_to: tuple[str, ...] = (),
    execution: Execution | None = None,
) -> None:
    """Train what the store lacks; leaves with an exit code unless all of it is there."""
    from finegates_engine.cli.progress import progress_display
    from finegates_engine.cli.tables import print_sweep_result
    from finegates_engine.runs.store import RunStore
    from finegates_engine.sweep.runner import Strategy, run_sweep

    executor = make_executor(execution or Execution(), plan.base.threads)
    try:
        silent = quiet or ranks.is_follower()
        with _stopped_by_sigterm(), progress_display(quiet=silent) as on_state:
            state = run_sweep(
                plan.base,
                plan.targets,
                plan.seeds,
                store=RunStore(store),
                strategy=cast(Strategy, plan.strategy),
                retry_failed=retry_failed,
                report_to=report_to,
                on_state=on_state,
                executor=executor,
            )
    except KeyboardInterrupt:
        typer.echo("Interrupted. What is trained is kept: the same command goes on.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except DiskError as error:
        typer.echo(printable(str(error)), err=True)
        raise typer.Exit(FAILED) from None
    if ranks.is_follower():
        return
    print_sweep_result(state, RunStore(store))
    if state.count("failed") or state.count("skipped"):
        raise typer.Exit(FAILED)


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Treat a request to end, as a batch system sends it, like Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
