"""The process that trains one cell, and speaks to the sweep through a pipe. No torch at the top."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.supervise import Began, Finished, Message
from finegates_engine.sweep.training import Arrays, Failure, Inputs, failure_of, train_job

PRELOADED = (
    "finegates_engine.sweep.worker",
    "finegates_engine.train.cell",
    "finegates_engine.train.trainer",
)
"""What a process that workers are forked from imports once: some seconds for each worker."""


def work(
    pipe: Connection, job: Job, inputs: Inputs, adapter: Arrays | None, device: str | None
) -> None:
    """Train a cell and send what has happened; the last message is the run or the failure.

    device: the only GPU that this process sees, as CUDA_VISIBLE_DEVICES names it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep, which ends its workers
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    threading.Thread(target=_end_with_sweep, args=(pipe,), daemon=True).start()
    pipe.send(Began(f"process {os.getpid()}"))
    pipe.send(trained(pipe.send, job, inputs, adapter))


def trained(
    send: Callable[[Message], None], job: Job, inputs: Inputs, adapter: Arrays | None
) -> Finished | Failure:
    """Train a cell, whose progress is sent; the run or the failure."""
    from finegates_engine.runs.core_files import encode

    try:
        return Finished(encode(train_job(job, inputs, adapter=adapter, on_progress=send)))
    except Exception as error:
        return failure_of(error)


def _end_with_sweep(pipe: Connection) -> None:
    """The sweep never sends anything: the pipe is readable once its process is gone."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    os._exit(1)
