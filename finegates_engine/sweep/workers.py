"""Worker processes on this machine: one for each cell, so that nothing of a cell outlives it."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from finegates_engine.environment import cores
from finegates_engine.errors import UserError
from finegates_engine.sweep import worker
from finegates_engine.sweep.claims import Report
from finegates_engine.sweep.jobs import Executor
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.supervise import RETRIES, Finished, Lost, Message, supervise
from finegates_engine.sweep.training import Arrays, Failure, Inputs

GPU_PATHS = ("/dev/nvidiactl", "/dev/kfd")
"""Where a driver of GPUs shows itself, before torch is asked."""

END_SECONDS, JOIN_SECONDS = 30.0, 1.0
"""Time for a process to end by itself after its last message, and after it has closed its pipe."""


def worker_processes(workers: int, *, retries: int = RETRIES) -> Executor:
    """An executor that trains up to `workers` cells at a time, each in a process of its own.

    Each uses the threads of its config, and where there are GPUs one of them, which it shares
    when there are more workers. Raises UserError unless workers is at least 1.
    """
    if workers < 1:
        raise UserError(f"workers must be at least 1, got {workers}.")

    def execute(jobs: Sequence[Job], inputs: Inputs, report: Report) -> None:
        supervise(jobs, WorkerPool(workers, inputs), report, retries=retries)

    return execute


def warm_up() -> None:
    """Start the process that workers are forked from, whose imports take some seconds.

    To be called before a task is loaded. Does nothing where workers are not forked.
    """
    if sys.platform.startswith("linux") and not any(map(os.path.exists, GPU_PATHS)):
        _context(forked=True)
        forkserver.ensure_running()


def crowded(workers: int, threads: int) -> str | None:
    """What is wrong with so many threads on this machine. None: nothing."""
    wanted, there = workers * threads, cores()
    if wanted <= there:
        return None
    fitting = max(1, there // threads)
    return (
        f"{workers} workers of {threads} threads are {wanted} threads, and this process may use "
        f"{there} cores: all of them get slower. --workers {fitting} would fit."
    )


@dataclass(eq=False)
class _Worker:
    """A process, and the cell that it trains."""

    run_id: str
    process: BaseProcess
    pipe: Connection
    device: str | None
    done: bool = False
    """It has sent its last message."""

    since: float = field(default_factory=time.monotonic)
    """When it sent its last message; before that, its start."""


class WorkerPool:
    """The pool of worker processes of this machine (`supervise.Pool`)."""

    def __init__(self, workers: int, inputs: Inputs) -> None:
        self.workers = workers
        self.inputs = inputs
        self.devices = visible_gpus()
        self._context: Any = _context(forked=not self.devices)
        self._running: list[_Worker] = []

    def room(self) -> int:
        """Cells that could be begun now."""
        return self.workers - len(self._running)

    def start(self, job: Job, adapter: Arrays | None) -> None:
        """Begin with a cell in a new process."""
        ours, theirs = multiprocessing.Pipe()
        device = self._free_device()
        process = self._context.Process(
            target=worker.work,
            args=(theirs, job, self.inputs, adapter, device),
            name=job.run_id,
            daemon=True,
        )
        process.start()
        theirs.close()
        self._running.append(_Worker(job.run_id, process, ours, device))

    def messages(self, seconds: float) -> Iterator[tuple[str, Message]]:
        """What workers have said, and which were lost."""
        if not self._running:
            time.sleep(seconds)
        ready = wait([one.pipe for one in self._running], timeout=seconds)
        for one in [one for one in self._running if one.pipe in ready]:
            try:
                message = one.pipe.recv()
            except (EOFError, OSError):
                yield from self._ended(one)
                continue
            one.done, one.since = isinstance(message, Finished | Failure), time.monotonic()
            yield one.run_id, message
        for one in self._running:
            if one.done and time.monotonic() - one.since > END_SECONDS:
                one.process.kill()

    def close(self) -> None:
        """End all workers at once: their checkpoints are whole whenever they are killed."""
        for one in self._running:
            one.process.kill()
        for one in self._running:
            one.process.join()
            one.pipe.close()
        self._running.clear()

    def _ended(self, one: _Worker) -> Iterator[tuple[str, Message]]:
        one.process.join(JOIN_SECONDS)
        one.process.kill()
        one.process.join()
        one.pipe.close()
        self._running.remove(one)
        if not one.done:
            yield one.run_id, Lost(f"process {one.process.pid} {_exit_words(one.process.exitcode)}")

    def _free_device(self) -> str | None:
        used = [one.device for one in self._running]
        return min(self.devices, key=used.count, default=None)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] if named else [str(index) for index in range(count)]


def _context(*, forked: bool) -> Any:
    """How processes are begun: forked from one that has imported all, where that is safe.

    It is not once CUDA may have been touched, nor on macOS.
    """
    if not forked or not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(worker.PRELOADED))
    return context


def _exit_words(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
