"""A Ray cluster as the place where cells are trained: each cell a task, its progress by mail.

Backbone and rows go into the object store once, from which each node takes them once. Runs come
back to this process. Ray's own retries are off: a lost cell is handed out again by `supervise`.
"""

import contextlib
import importlib.util
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finegates_engine.errors import UserError
from finegates_engine.sweep.claims import Report
from finegates_engine.sweep.jobs import Executor
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.ray_node import (
    Order,
    digest_of,
    engine_version,
    read_backbone,
    train_on_node,
)
from finegates_engine.sweep.supervise import RETRIES, Lost, Message, supervise
from finegates_engine.sweep.training import Arrays, Failure, Inputs

LOOK_SECONDS = 10.0
"""Time between two looks at how many cells the cluster has room for."""

MAIL_SECONDS = 10.0
"""How long the mailbox may take to answer."""

FILE_TRACKERS = {"tensorboard"}
"""Trackers that write files, which would stay on the nodes."""


@dataclass(frozen=True)
class RayOptions:
    """Which cluster, and what a cell takes of it."""

    address: str = "auto"
    """auto, host:port of a running cluster, or local to start one on this machine."""

    cells: int | None = None
    """Cells at a time. None: as many as the cluster has room for."""

    cell_gpus: float | None = None
    """GPUs of one cell. None: 1 where the cluster has any, else 0."""

    scratch: Path | None = None
    """Folder for checkpoints that all nodes see. None: a folder of each node."""

    retries: int = RETRIES
    """Times that a cell is trained again after its worker was lost."""


def ray_cluster(options: RayOptions) -> Executor:
    """An executor that trains each cell as a Ray task with the CPUs of its threads.

    Raises UserError where Ray is not installed or cell_gpus is negative; the executor raises it
    where there is no cluster, or no node on which a cell has room.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            "--executor ray needs the package ray. Run: pip install 'finegates-explorer[cluster]'"
        )
    if options.cell_gpus is not None and options.cell_gpus < 0:
        raise UserError(f"--cell-gpus must be at least 0, got {options.cell_gpus:g}.")

    def execute(jobs: Sequence[Job], inputs: Inputs, report: Report) -> None:
        if not jobs:
            return
        if FILE_TRACKERS & set(jobs[0].report_to):
            raise UserError(
                "--report-to tensorboard writes files, which would stay on the nodes of a Ray "
                "cluster. Choose wandb or mlflow, or leave it out."
            )
        with _connected(options.address):
            pool = RayPool(options, jobs[0], inputs)
            supervise(jobs, pool, report, retries=options.retries)

    return execute


class RayPool:
    """The pool of a connected Ray cluster (`supervise.Pool`)."""

    def __init__(self, options: RayOptions, job: Job, inputs: Inputs) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.ray: Any = ray
        self.options = options
        gpus = options.cell_gpus
        if gpus is None:
            gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
        self.needs = {"CPU": float(job.config.threads), "GPU": gpus}
        self._places, self._looked = self._count_places(), time.monotonic()
        if not self._places and options.cells is None:
            raise UserError(_no_room(self.needs))
        self._inputs = ray.put(inputs)
        files = read_backbone(job.folder)
        self._digest, self._backbone = digest_of(files), ray.put(files)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        self._task = ray.remote(train_on_node)
        self._tickets = itertools.count()
        self._running: dict[Any, tuple[int, str]] = {}

    def room(self) -> int:
        """Cells that could be begun now, where nobody else has taken the place."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._places, self._looked = self._count_places(), time.monotonic()
        return (self.options.cells or self._places) - len(self._running)

    def start(self, job: Job, adapter: Arrays | None) -> None:
        """Hand a cell to the cluster."""
        ticket = next(self._tickets)
        order = Order(
            job=job,
            adapter=adapter,
            ticket=ticket,
            backbone=self._digest,
            scratch=self.options.scratch,
            engine=engine_version(),
        )
        task = self._task.options(
            num_cpus=self.needs["CPU"], num_gpus=self.needs["GPU"], max_retries=0, name=job.run_id
        )
        reference = task.remote(order, self._inputs, self._backbone, self._mailbox)
        self._running[reference] = (ticket, job.run_id)

    def messages(self, seconds: float) -> Iterator[tuple[str, Message]]:
        """Progress from the mailbox, then what tasks have given back, or why they were lost."""
        if not self._running:
            time.sleep(seconds)
            return
        ended, _ = self.ray.wait(
            list(self._running), num_returns=len(self._running), timeout=seconds
        )
        names = dict(self._running.values())
        for ticket, message in self._mail():
            if ticket in names:
                yield names[ticket], message
        for reference in ended:
            yield self._running.pop(reference)[1], self._result(reference)

    def close(self) -> None:
        """End all tasks at once."""
        for reference in self._running:
            with contextlib.suppress(Exception):
                self.ray.cancel(reference, force=True)
        self._running.clear()

    def _mail(self) -> list[tuple[int, Message]]:
        with contextlib.suppress(self.ray.exceptions.RayError):
            mail: list[tuple[int, Message]] = self.ray.get(
                self._mailbox.take.remote(), timeout=MAIL_SECONDS
            )
            return mail
        return []

    def _result(self, reference: Any) -> Message:
        try:
            result: Message = self.ray.get(reference)
            return result
        except self.ray.exceptions.RayTaskError as error:  # the task could not even begin
            return Failure(" ".join(str(error).strip().split("\n")[-1].split()), str(error))
        except self.ray.exceptions.RayError as error:
            first = (str(error).strip() or "no reason given").split("\n")[0].rstrip(".")
            return Lost(f"{type(error).__name__}: {first}")

    def _count_places(self) -> int:
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(
            int(min(node.get(kind, 0.0) / count for kind, count in self.needs.items() if count))
            for node in alive
        )


class Mailbox:
    """An actor on the sweep's node that keeps the newest progress of each attempt."""

    def __init__(self) -> None:
        self.newest: dict[tuple[int, str], Message] = {}

    def put(self, ticket: int, message: Message) -> None:
        """Keep a message until it is taken, or a newer one of its kind comes."""
        self.newest[ticket, type(message).__name__] = message

    def take(self) -> list[tuple[int, Message]]:
        """All messages since the last call, in the order in which their kinds first came."""
        taken = [(ticket, message) for (ticket, _), message in self.newest.items()]
        self.newest.clear()
        return taken


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """A connection to the cluster, ended where it was made here. Raises UserError."""
    import logging

    import ray

    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        first = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise UserError(
            f"No Ray cluster answers at {address!r}: {first} Start one with `ray start --head`, "
            "pass --address host:port, or --address local for this machine alone."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _no_room(needs: dict[str, float]) -> str:
    wanted = " and ".join(f"{count:g} {kind}s" for kind, count in needs.items() if count)
    return (
        f"No node of the Ray cluster has {wanted}, which one cell needs. Lower --threads or "
        "--cell-gpus; for a cluster that grows when it is asked, say with --workers how many "
        "cells to train at a time."
    )
