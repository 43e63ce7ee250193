"""`finegates ship` and `finegates report`: their options; the work is done elsewhere. No torch."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from finegates_engine.errors import UserError


def ship(
    store: Annotated[Path, typer.Argument(help="The store with finished runs.")],
    out: Annotated[
        Path, typer.Option("--out", help="The store that goes with the project.")
    ] = Path("cached_runs"),
    weights_of_seed: Annotated[
        str | None,
        typer.Option(
            help="Keep the weights and gate history of these seeds (with commas, or none); other "
            "runs keep gates, scores, history and predictions. Left out: of all."
        ),
    ] = None,
    only: Annotated[str, typer.Option(help="Only runs whose id fits this pattern.")] = "*",
    limit_mb: Annotated[float, typer.Option(help="Largest size of --out, in megabytes.")] = 40,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the summary.")] = False,
) -> None:
    """Copy finished runs into the store that goes with the project, and write its manifest.

    What is there already stays; a run that is there without its weights gives way to a whole one.
    Paths of this machine are left out. For a first shipment of a path with weights, then the rest:

    finegates ship runs --only '*-path-*-s0-*' and finegates ship runs --weights-of-seed none
    """
    from finegates_engine.runs.store import RunStore
    from finegates_engine.shipping.copy import MEGABYTE, check_stores, ship
    from finegates_engine.shipping.manifest import shipped_bytes

    check_stores(store, out)
    seeds = _seeds(weights_of_seed)
    copied = ship(
        RunStore(store),
        RunStore(out),
        whole=lambda record: seeds is None or record.config.seed in seeds,
        only=only,
        limit_mb=limit_mb,
        on_run=lambda run: None if quiet else typer.echo(f"{run.outcome:>5}  {run.run_id}"),
    )
    counts = Counter(run.outcome for run in copied)
    typer.echo(
        f"{len(copied)} runs: {counts['whole']} copied whole, {counts['light']} without weights, "
        f"{counts['there']} there before. {out} has {shipped_bytes(RunStore(out)) / MEGABYTE:.1f} "
        f"of {limit_mb:g} MB."
    )


def _seeds(text: str | None) -> set[int] | None:
    if text is None:
        return None
    if text.strip() == "none":
        return set()
    try:
        return {int(part) for part in text.split(",") if part.strip()}
    except ValueError:
        raise UserError(
            f"--weights-of-seed must be seeds with commas between them, or none, got {text!r}."
        ) from None


def report(
    store: Annotated[Path, typer.Option("--store", help="Folder of the run store.")] = Path(
        "cached_runs"
    ),
    out: Annotated[Path, typer.Option("--out", help="Folder of the pages.")] = Path("docs/results"),
) -> None:
    """Write what a store's runs say: a page a task with intervals, and a picture of all."""
    from finegates_engine.report.folder import write_report
    from finegates_engine.runs.store import RunStore

    for path in write_report(RunStore(store), out):
        typer.echo(path)
