"""Where the cells of a sweep are trained: options of `finegates sweep`. No torch."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finegates_engine.errors import UserError, unknown

if TYPE_CHECKING:
    from finegates_engine.sweep.jobs import Executor

EXECUTORS = ("local", "ray")
DEFAULT_ADDRESS = "auto"
_PANEL = "Where cells are trained"

WorkersOption = Annotated[
    int | None,
    typer.Option(
        help="Cells trained at a time, each in a process of its own. Each has --threads threads, "
        "whatever N is, so that no run depends on it: N workers need N x threads cores. 8 cores "
        "are --workers 8 --threads 1, or --workers 2 --threads 4. Where there are GPUs each "
        "worker has one. (default: one cell after the other in this process; with --executor ray "
        "as many as the cluster has room for)",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        help="local: on this machine; ray: as tasks of a Ray cluster, with --threads CPUs each "
        "(default local)",
        rich_help_panel=_PANEL,
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster: auto (the one on this machine), host:port, or local to start one here "
        f"(default {DEFAULT_ADDRESS})",
        rich_help_panel=_PANEL,
    ),
]
GpusOption = Annotated[
    float | None,
    typer.Option(
        "--cell-gpus",
        help="GPUs of one cell on a Ray cluster; 0.25 puts four cells on one (default 1 where the "
        "cluster has any, else 0)",
        rich_help_panel=_PANEL,
    ),
]
ScratchOption = Annotated[
    Path | None,
    typer.Option(
        "--scratch",
        help="Folder for checkpoints that all nodes of a Ray cluster see, so that a cell goes on "
        "where its node is gone (default: a folder on each node, and the cell begins again)",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class Execution:
    """What was asked for; None: left out."""

    executor: str | None = None
    workers: int | None = None
    address: str | None = None
    cell_gpus: float | None = None
    scratch: Path | None = None


def make_executor(asked: Execution, threads: int) -> "Executor | None":
    """The executor that was asked for. None: one cell after the other, in this process.

    threads: of each cell. Says on stderr where they are more than the cores. Raises UserError for
    options that are wrong or do not fit each other.
    """
    name = asked.executor or "local"
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    if asked.workers is not None and asked.workers < 1:
        raise UserError(f"--workers must be at least 1, got {asked.workers}.")
    if name == "ray":
        return _ray(asked)
    for field in dataclasses.fields(asked)[2:]:
        if getattr(asked, field.name) is not None:
            option = f"--{field.name.replace('_', '-')}"
            raise UserError(f"{option} is for --executor ray. Add that, or leave {option} out.")
    if asked.workers is None:
        return None
    from finegates_engine.sweep.workers import crowded, warm_up, worker_processes

    warm_up()
    if (warning := crowded(asked.workers, threads)) is not None:
        typer.echo(warning, err=True)
    return worker_processes(asked.workers)


def _ray(asked: Execution) -> "Executor":
    from finegates_engine.sweep.ray_cluster import RayOptions, ray_cluster

    return ray_cluster(
        RayOptions(
            address=asked.address or DEFAULT_ADDRESS,
            cells=asked.workers,
            cell_gpus=asked.cell_gpus,
            scratch=asked.scratch,
        )
    )
