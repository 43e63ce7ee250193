"""The process that computes for the live page: jobs as JSON lines in, events as JSON lines out.

    python -m explorer.processes.worker_main

One job at a time, by the desk. It ends when its input ends, so it never outlives the app.
"""

import json
import os
import sys
import threading
import time
from queue import SimpleQueue
from typing import Any

from explorer.processes.desk import Desk

TELL_SECONDS = 0.3
"""Between two reports of progress."""

Event = dict[str, Any]


class _Inbox:
    """Reads jobs and cancellations while a job runs."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Event | None] = SimpleQueue()
        self.cancelled: set[str] = set()

    def read(self) -> None:
        """Until the app closes the pipe; then the process ends, whatever it does."""
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                self.cancelled.add(message["cancel"])
            else:
                self.jobs.put(message)
        os._exit(0)


def main() -> None:
    """Serve jobs until the input ends."""
    # Whatever a library prints must not get among the events.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(event: Event) -> None:
        out.write(json.dumps(event, allow_nan=False) + "\n")
        out.flush()

    inbox = _Inbox()
    threading.Thread(target=inbox.read, daemon=True).start()
    current: list[str] = [""]
    told = [0.0]

    def tell(text: str, share: float | None) -> None:
        # Seldom: whoever reads it takes time from what is measured.
        now = time.monotonic()
        if share is None or now - told[0] >= TELL_SECONDS:
            told[0] = now
            send({"id": current[0], "progress": text, "share": share})

    desk = Desk(tell, lambda: current[0] in inbox.cancelled)
    send({"progress": "Loading torch", "id": "", "share": None})
    send({"hello": _machine()})
    while (job := inbox.jobs.get()) is not None:
        current[0] = job["id"]
        send(_done(desk, job))


def _machine() -> dict[str, Any]:
    from finegates_engine.timing.backends import accelerator_name

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"accelerator": accelerator_name(), "cores": cores or 1}


def _done(desk: Desk, job: Event) -> Event:
    """The event that ends a job."""
    from finegates_engine.errors import UserError

    try:
        return {"id": job["id"], "result": desk.do(job["kind"], job["arguments"])}
    except UserError as error:
        return {"id": job["id"], "error": str(error)}
    except Exception as error:  # whatever a run's files or a text bring about ends this job alone
        import traceback

        traceback.print_exc()
        text = f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
        return {"id": job["id"], "error": f"The computation failed ({text}). Choose another run."}


if __name__ == "__main__":
    main()
