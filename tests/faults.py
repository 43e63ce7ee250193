"""Processes that are killed at a chosen moment, and a store's content to compare afterwards.

Whoever forks has imported all that the children need, and has trained nothing itself.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

LONGEST_SECONDS = 3600.0
"""Time in which a child must end, on however busy a machine."""

_WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.utime"}
_SWEEP_FILE = re.compile(r"\.sweeps/\d{8}-\d{6}-[a-z]+-[0-9a-f]{6}\.(json|lock)")


@dataclass(frozen=True)
class Moment:
    """When a process is killed with SIGKILL."""

    kind: Literal["time", "before", "during", "torn"]
    """time: seconds after its start, by its parent. before: just before a write operation below
    the folder. during: a moment after one has begun. torn: with part of a file written."""

    at: float
    """Seconds, or the number of the operation (of the file, for torn), from 1."""

    share: float = 0.5
    """during: milliseconds. torn: share of the file's bytes that are written."""


class Child:
    """A forked process that calls `work`; its output goes to `log`."""

    def __init__(self, work: Callable[[], Any], log: Path) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(work, log)
        self.code: int | None = None

    def wait(self, seconds: float = LONGEST_SECONDS) -> int | None:
        """Its exit code, negative for a signal; None: it still runs after `seconds`."""
        end = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                return None
            else:
                time.sleep(0.005)
        return self.code

    def kill(self) -> int | None:
        """SIGKILL, and its exit code: not -9 where it had ended before."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()


def run_and_kill(work: Callable[[], Any], folder: Path, moment: Moment | None, log: Path) -> bool:
    """Call `work` in a child that dies at the moment; whether it did. None: it runs to its end.

    Raises RuntimeError where it fails instead.
    """

    def armed() -> None:
        if moment is not None:
            arm(folder, moment)
        work()

    child = Child(armed, log)
    timed = moment is not None and moment.kind == "time"
    code = child.wait(moment.at if timed and moment else LONGEST_SECONDS)
    if code is None:
        code = child.kill()
    if code not in (0, -signal.SIGKILL) or (code and moment is None):
        raise RuntimeError(f"A child ended with {code}: {log.read_text()[-2000:]}")
    return code != 0


def arm(folder: Path, moment: Moment) -> None:
    """Let this process die at a moment that its own writes below `folder` decide."""
    if moment.kind == "torn":
        _tear_file(int(moment.at), moment.share)
    elif moment.kind != "time":
        begun = [0]

        def count() -> None:
            begun[0] += 1
            if begun[0] == int(moment.at):
                if moment.kind == "before":
                    die()
                threading.Timer(moment.share / 1000, die).start()

        on_write(folder, count)


def on_write(folder: Path, call: Callable[[], None]) -> None:
    """Call before each operation of Python that writes below `folder`; never to be taken back."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            flags = args[2] if isinstance(args[2], int) else 0
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event not in _WRITES:
            return
        path = os.fsdecode(args[0]) if isinstance(args[0], str | bytes | os.PathLike) else ""
        if path.startswith(str(folder)) or (path and not os.path.isabs(path)):  # rmtree: relative
            call()

    sys.addaudithook(hook)


def count_writes(work: Callable[[], Any], folder: Path, log: Path) -> tuple[int, int]:
    """(operations, files written by `write_synced`) of a call below a folder, in a child."""
    place = log.with_suffix(".counts")

    def counted() -> None:
        counts = [0, 0]

        def operation() -> None:
            counts[0] += 1

        def file(real: Callable[[Path, bytes], None], path: Path, data: bytes) -> None:
            counts[1] += 1
            real(path, data)

        _replace_writer(file)
        on_write(folder, operation)
        work()
        place.write_text(json.dumps(counts))

    run_and_kill(counted, folder, None, log)
    operations, files = json.loads(place.read_text())
    return operations, files


def answer(work: Callable[[], Any], log: Path) -> Any:
    """What `work` returns in a child, as JSON."""
    place = log.with_suffix(".answer")
    run_and_kill(lambda: place.write_text(json.dumps(work())), log, None, log)
    return json.loads(place.read_text())


def die() -> None:
    """SIGKILL to this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def content(root: Path) -> dict[str, Any]:
    """Run id to hashes of its predictions, gates and scores; times and machine stay out."""
    from finegates_engine.runs.store import RunStore

    store = RunStore(root)
    return {name: _run_content(store.load(name)) for name in store.ids()}


def _run_content(run: Any) -> dict[str, Any]:
    run.verify()
    history = run.gate_history
    frames = {} if history is None else dict(history.values)
    return {
        "predictions": _hash(run.predictions.to_csv(index=False).encode()),
        "metrics": run.record.metrics,
        "adapter": {key: _hash(value.tobytes()) for key, value in sorted(run.adapter.items())},
        "frames": {key: _hash(value.tobytes()) for key, value in sorted(frames.items())},
    }


def files(root: Path) -> list[str]:
    """Every file and folder of a store, but for states of ended sweeps, and openings.

    Without an opening a cell trains its first steps itself, so that one may be missing.
    """
    names = (path.relative_to(root).as_posix() for path in root.rglob("*"))
    return sorted(
        name
        for name in names
        if not _SWEEP_FILE.fullmatch(name) and not name.startswith(".work/openings")
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _tear_file(number: int, share: float) -> None:
    written = [0]

    def write(real: Callable[[Path, bytes], None], path: Path, data: bytes) -> None:
        written[0] += 1
        if written[0] < number:
            real(path, data)
            return
        with open(path, "xb", buffering=0) as file:
            file.write(data[: int(share * len(data))])
            die()

    _replace_writer(write)


def _replace_writer(write: Callable[[Callable[..., None], Path, bytes], None]) -> None:
    from finegates_engine import files as engine_files
    from finegates_engine.runs import store

    real = engine_files.write_synced

    def replacement(path: Path, data: bytes) -> None:
        write(real, path, data)

    engine_files.write_synced = store.write_synced = replacement


def _be_child(work: Callable[[], Any], log: Path) -> None:
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
