"""`finegates bench`: how much faster a pruned run is here. No torch until it measures."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from finegates_engine.backbone import local_folder
from finegates_engine.cli.bench_options import Choices, listed, parse_shares
from finegates_engine.cli.bench_tables import (
    bench_json,
    matmul_json,
    print_bench,
    print_matmul,
    setting_text,
)
from finegates_engine.environment import collect_environment
from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.text.format import seconds_text
from finegates_engine.timing.inputs import most_tokens, token_stream
from finegates_engine.timing.stored import (
    Machine,
    Setting,
    fingerprint,
    passing_certificate,
    read_timings,
    save_cells,
    this_machine,
)

if TYPE_CHECKING:
    from finegates_engine.timing.cells import Outcome

MATMUL_TOKENS = 64
"""Vectors that a matrix is multiplied with at once in --matmul."""

_FAILED, _INTERRUPTED = 1, 130


def bench_run(name: str | None, root: Path, choices: Choices, *, as_json: bool, save: bool) -> None:
    """Time a pruned run against its dense model and Hugging Face's, on this machine."""
    if name is None:
        raise UserError("Which run? Give its id; `finegates runs` lists all. Or pass --matmul.")
    store = RunStore(root)
    run = store.find(name)
    passing_certificate(run)  # raises without a passing one, before anything is measured
    machine, commit = _machine(choices.device)
    folder = local_folder(run.config.model.backbone)
    _check_tokens(choices.tokens, most_tokens(folder))
    if save:
        store.check_writable()
        read_timings(run)  # a damaged file would be found only after the measurement
    outcomes: list[Outcome] = []

    def keep(outcome: "Outcome") -> None:
        outcomes.append(outcome)
        if save and outcome.cell is not None:
            save_cells(store, run, machine, [outcome.cell])

    interrupted = False
    try:
        _measure(run, folder, choices, keep, commit)
    except KeyboardInterrupt:
        interrupted = True
    saved = f"timings/{fingerprint(machine)}.json" if save and any(o.cell for o in outcomes) else ""
    if as_json:
        typer.echo(json.dumps(bench_json(run.run_id, machine, outcomes, saved), indent=1))
    else:
        print_bench(run.run_id, machine, outcomes, saved)
    if interrupted:
        typer.echo("Interrupted: the cells above are whole, the others were not timed.", err=True)
        raise typer.Exit(_INTERRUPTED)
    if not any(outcome.cell for outcome in outcomes):
        raise typer.Exit(_FAILED)


def _measure(
    run: StoredRun,
    folder: Path,
    choices: Choices,
    keep: "Callable[[Outcome], None]",
    commit: str | None,
) -> None:
    from finegates_engine.explain.certified import contenders
    from finegates_engine.timing.cells import CellTimer, settings_of, time_cells

    settings = settings_of(
        device=choices.device,
        backends=choices.backends,
        precisions=choices.precisions,
        threads=choices.threads,
        batches=choices.batches,
        tokens=choices.tokens,
    )
    with _bar(len(settings), "Building the models") as bar, TemporaryDirectory() as scratch:
        models = contenders(run, folder, Path(scratch), device=choices.device)
        timer = CellTimer(models, token_stream(run, folder), commit=commit)

        def done(outcome: "Outcome") -> None:
            keep(outcome)
            bar.advance()

        time_cells(
            timer,
            settings,
            budget_seconds=choices.budget_seconds,
            on_outcome=done,
            on_progress=lambda setting, progress: bar.tell(
                f"{setting_text(setting)}: round {progress.rounds}, "
                f"at most {seconds_text(progress.seconds_left)} left"
            ),
        )


def bench_matrices(
    run: str | None, choices: Choices, sizes: str, rates: str, *, as_json: bool
) -> None:
    """Time single matrices against sparsity. sizes, rates: texts with commas."""
    from finegates_engine.timing.matmul import kept_widths, matmul_curve, parse_size

    if run is not None:
        raise UserError(f"--matmul times matrices, no run: leave {run!r} out.")
    matrices = [parse_size(part) for part in listed(sizes)]
    shares = parse_shares(rates)
    if not matrices or not shares:
        raise UserError("--matmul needs at least one size and one rate.")
    for size, share in itertools.product(matrices, shares):
        kept_widths(size[0], share)
    if len(choices.precisions) > 1 or len(choices.threads) > 1:
        raise UserError("--matmul takes one --precision and one --threads at a time.")
    machine, _ = _machine(choices.device)
    setting = Setting(
        device=choices.device,  # type: ignore[arg-type]
        precision=choices.precisions[0],  # type: ignore[arg-type]
        threads=choices.threads[0],
        batch=1,
        tokens=MATMUL_TOKENS,
    )
    with _bar(len(matrices) * len(shares), "Matrices") as bar:
        points = matmul_curve(
            matrices,
            shares,
            tokens=setting.tokens,
            device=setting.device,
            precision=setting.precision,
            threads=setting.threads,
            budget_seconds=choices.budget_seconds,
            on_point=lambda *_: bar.advance(),
        )
    if as_json:
        typer.echo(json.dumps(matmul_json(points, setting, machine), indent=1))
    else:
        print_matmul(points, setting, machine)


def _machine(device: str) -> tuple[Machine, str | None]:
    """This machine, and the engine's commit. Raises UserError for a device that is not there."""
    from finegates_engine.timing.backends import accelerator_name, check_device

    check_device(device)
    environment = collect_environment(accelerator=accelerator_name())
    return this_machine(environment), environment.commit


def _check_tokens(tokens: Sequence[int], most: int | None) -> None:
    if most is not None and max(tokens) > most:
        raise UserError(
            f"--tokens is {max(tokens)}, but the backbone reads at most {most} tokens. Lower it."
        )


class _Bar:
    """What is done and what is left, on stderr."""

    def __init__(self, progress: Progress, total: int, text: str) -> None:
        self._progress = progress
        self._task = progress.add_task(text, total=total)

    def tell(self, text: str) -> None:
        self._progress.update(self._task, description=text)

    def advance(self) -> None:
        self._progress.advance(self._task)


@contextmanager
def _bar(total: int, text: str) -> Iterator[_Bar]:
    console = Console(stderr=True)
    columns = (BarColumn(bar_width=24), TextColumn("{task.completed}/{task.total}"))
    words = TextColumn("{task.description}", markup=False)
    hidden = not console.is_terminal
    # Drawn seldom: the bar's thread would otherwise take its share of the time that is measured.
    with Progress(
        *columns, words, console=console, transient=True, disable=hidden, refresh_per_second=1
    ) as progress:
        yield _Bar(progress, total, text)
