"""One process that computes for all users, one job at a time; the others wait in a queue.

The process (`explorer.processes.worker_main`) is started by the first job, spoken to in JSON
lines, and started again after it died. torch is never loaded in the app's own process.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from finegates_engine.errors import UserError

ROOT = Path(__file__).parents[2]

MOST_WAITING = 20
"""Jobs in the queue; more are refused."""

UNSEEN_SECONDS = 150.0
"""A job that no page has asked about for so long is dropped: its user has gone. Browsers let
hidden tabs ask once a minute."""

GRACE_SECONDS = 4.0
"""A cancelled job of those that take long, that has not stopped by then, is stopped with its
process, which then has to load its models again."""

LONGEST_SECONDS = {"race": 600.0, "explain": 600.0}
"""Kinds of job that take long -> when their process is held to be stuck."""

_OTHER_LONGEST = 240.0
_RESULT_BYTES = 16 * 2**20

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(eq=False)
class Job:
    """One job of one page."""

    id: str
    kind: str
    arguments: dict[str, Any]
    state: State = "waiting"
    progress: str = ""
    share: float | None = None
    result: dict[str, Any] | None = None
    error: str = ""
    begun: float = 0.0
    seen: float = field(default_factory=time.monotonic)
    cancelled_at: float | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "failed", "cancelled")


class Worker:
    """The queue and its process."""

    def __init__(self, command: tuple[str, ...] = ()) -> None:
        self._command = command or (sys.executable, "-m", "explorer.processes.worker_main")
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._serving = False
        self._closed = False
        self._count = 0
        self.machine: dict[str, Any] = {}
        """{"accelerator": name or None, "cores": count} once the process has said so."""

    def submit(self, kind: str, **arguments: Any) -> Job:
        """Put a job into the queue. Raises UserError where that is full."""
        with self._changed:
            self._drop_unseen()
            if len(self._waiting) >= MOST_WAITING:
                raise UserError(
                    f"{MOST_WAITING} computations are waiting already. Try again in a minute."
                )
            self._count += 1
            job = Job(f"job {self._count}", kind, arguments)
            self._waiting.append(job)
            if not self._serving:
                self._serving = True
                threading.Thread(target=self._serve, daemon=True, name="live worker").start()
            self._changed.notify_all()
        return job

    def ahead(self, job: Job) -> int:
        """How many jobs come before this one, the running one included. Tells that it is seen."""
        job.seen = time.monotonic()
        with self._changed:
            if job not in self._waiting:
                return 0
            return self._waiting.index(job) + (self._running is not None)

    def cancel(self, job: Job) -> None:
        """Stop a job, or take it out of the queue."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.state = "cancelled"
            elif job is self._running and job.cancelled_at is None:
                job.cancelled_at = time.monotonic()
                if job.kind in LONGEST_SECONDS:
                    job.progress = "Stopping"
                    self._say({"cancel": job.id})
                else:  # short: its process ends it, nobody looks at the result
                    job.state = "cancelled"

    def close(self) -> None:
        """End the process; jobs that are left are cancelled."""
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.state = "cancelled"
            self._waiting.clear()
            self._changed.notify_all()
        self._kill()

    def _serve(self) -> None:
        """The thread that gives jobs to the process."""
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._drop_unseen()
                if not self._waiting:
                    continue
                job = self._running = self._waiting.popleft()
                job.state, job.begun = "running", time.monotonic()
            try:
                self._run(job)
            except Exception as error:  # the thread must live on, whatever a pipe or a line does
                self._end(job, error=f"The computing process could not be used ({error!r}).")
                self._kill()
            with self._changed:
                self._running = None

    def _run(self, job: Job) -> None:
        process = self._alive(job)
        self._say({"id": job.id, "kind": job.kind, "arguments": job.arguments})
        watch = threading.Thread(target=self._watch, args=(job, process), daemon=True)
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line) if len(line) <= _RESULT_BYTES else {}
            if "hello" in event:
                self.machine = event["hello"]
            if event.get("id") not in (job.id, ""):
                continue
            if "progress" in event and job.cancelled_at is None:
                job.progress, job.share = event["progress"], event["share"]
            elif "result" in event:
                self._end(job, result=event["result"])
                return
            elif "error" in event:
                self._end(job, error=event["error"])
                return
        code = process.wait()
        self._end(
            job,
            error=f"The computing process ended in the middle (exit code {code}); it may have run "
            "out of memory. It starts again with the next try; take fewer rows or tokens.",
        )

    def _alive(self, job: Job) -> "subprocess.Popen[str]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        job.progress = "Starting the computing process: loading torch"
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUTF8": "1",
        }
        self._process = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )
        return self._process

    def _watch(self, job: Job, process: "subprocess.Popen[str]") -> None:
        """End the process of a job that does not stop when it should."""
        longest = LONGEST_SECONDS.get(job.kind, _OTHER_LONGEST)
        while self._running is job and process.poll() is None:
            now = time.monotonic()
            if job.cancelled_at is None and now - job.seen > UNSEEN_SECONDS:
                self.cancel(job)
            asked = job.cancelled_at if job.kind in LONGEST_SECONDS else None
            stubborn = asked is not None and now - asked > GRACE_SECONDS
            if stubborn or now - job.begun > longest:
                if not stubborn:
                    job.error = f"It took longer than {longest:.0f} s and was stopped."
                self._kill()
                return
            time.sleep(0.1)

    def _end(self, job: Job, *, result: dict[str, Any] | None = None, error: str = "") -> None:
        with self._changed:
            if job.state == "cancelled":
                return
            if job.cancelled_at is not None and result is None:
                job.state = "cancelled"
            elif result is None:
                job.error = job.error or error
                job.state = "failed"  # last: a page looks at any moment
            else:
                job.result = result
                job.state = "done"

    def _say(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it died: its reader says so
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)

    def _drop_unseen(self) -> None:
        now = time.monotonic()
        for job in [job for job in self._waiting if now - job.seen > UNSEEN_SECONDS]:
            self._waiting.remove(job)
            job.state = "cancelled"


_SHARED: list[Worker] = []
_LOCK = threading.Lock()


def shared() -> Worker:
    """The app's one worker."""
    with _LOCK:
        if not _SHARED:
            _SHARED.append(Worker())
            atexit.register(_SHARED[0].close)
        return _SHARED[0]
