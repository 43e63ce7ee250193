"""What reads a damaged store, and what is said of the damage."""

import contextlib
import ctypes
import io
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PAGES = ("trade_off", "pick_a_level", "gates", "live", "training", "compare", "method")
APP = Path(__file__).parents[2] / "explorer" / "app.py"
MOST_SECONDS = 60
_IN_ACCESS, _IN_OPEN = 1, 0x20


class Watch:
    """Whether anything opens or reads what lies in a folder, in whatever process (inotify)."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            self._libc.inotify_add_watch(self._file, os.fsencode(place), _IN_ACCESS | _IN_OPEN)

    def read(self) -> list[str]:
        """Names that were opened since."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._file, 2**16)
            names, place = [], 0
            while place < len(data):
                *_, size = struct.unpack_from("iIII", data, place)
                name = data[place + 16 : place + 16 + size].rstrip(b"\0").decode(errors="replace")
                names.append(name or "the folder itself")
                place += 16 + size
            return sorted(set(names))
        return []

    def close(self) -> None:
        """Stop watching."""
        os.close(self._file)


class Opened:
    """Every path that Python opens or lists from now on (audit events), devices among them."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and arguments:
            path = arguments[0]
            if isinstance(path, (str, bytes, os.PathLike)):
                self.paths.add(os.path.realpath(os.fsdecode(path)))

    def outside(self, allowed: tuple[str, ...]) -> list[str]:
        """Paths that are in none of these folders; forgets them all."""
        found, self.paths = self.paths, set()
        return sorted(path for path in found if not path.startswith(allowed))


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raises TimeoutError where it takes longer: a read that hangs."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak_mb() -> float:
    """Largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def engine_reads(root: Path, run_ids: list[str]) -> dict[str, str]:
    """Every reader of the engine and the loaders of the explorer. What each says of problems.

    Anything but a UserError is let through.
    """
    from explorer.loading import latencies, loaders
    from finegates_engine.errors import UserError
    from finegates_engine.parity import read_certificate
    from finegates_engine.runs.store import RunStore
    from finegates_engine.timing.stored import read_timings

    said: dict[str, str] = {}
    store = RunStore(root)
    store.frame()
    said["listing"] = "\n".join(f"{path}: {reason}" for path, reason in store.damaged())
    key = loaders.Store(str(root), os.fsencode(root).hex())
    listing = loaders.listing(key)
    assert [(item.path, item.reason) for item in listing.damaged] == store.damaged()
    curves = loaders.curves(key)
    latencies.stored_times(key, list(listing.frame["run_id"]))
    loaders.sweeps(key)
    assert len(curves.rows) >= len(listing.frame)

    def read(name: str, reader: Callable[[], Any]) -> None:
        try:
            reader()
        except UserError as error:
            said[name] = str(error)

    for run in run_ids:
        for part in ("history", "predictions", "adapter", "masks", "gate_history"):
            read(f"{run} {part}", lambda run=run, part=part: getattr(store.load(run), part))
        read(f"{run} certificate", lambda run=run: read_certificate(store.load(run)))
        read(f"{run} timings", lambda run=run: _timings(store.load(run), read_timings))
        read(f"{run} gates", lambda run=run: loaders.gate_values(key, run))
        read(f"{run} all", lambda run=run: store.load(run).verify())
    return said


def _timings(run: Any, read_timings: Callable[[Any], Any]) -> None:
    if run.timings:
        read_timings(run)


def command_line(root: Path, run_id: str) -> dict[str, str]:
    """`runs` and `show`. What is printed. Raises whatever is no exit."""
    from typer.testing import CliRunner

    from finegates_engine.cli.entry import app

    printed = {}
    for words in (["runs"], ["runs", "--json"], ["show", run_id], ["watch", "--once"]):
        done = CliRunner().invoke(app, [*words, "--store", str(root)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        text = done.output
        text.encode()  # a terminal must be able to show it
        if "Traceback" in text:
            raise AssertionError(text[-300:])
        if any(not (c.isprintable() or c == "\n") for c in text):
            raise AssertionError(f"{words} prints characters that steer a terminal")
        printed[" ".join(words)] = text
    return printed


def page_words(root: Path, page: str, **query: str) -> str:
    """All words of one page. Raises AssertionError for an exception that the page shows."""
    from streamlit.testing.v1 import AppTest

    os.environ["FINEGATES_STORE"] = str(root)
    app = AppTest.from_file(str(APP), default_timeout=MOST_SECONDS)
    for name, value in query.items():
        app.query_params[name] = value
    app.switch_page(f"app_pages/{page}.py")
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        app.run()
    if app.exception:
        raise AssertionError(f"{page}: {app.exception[0].message} {app.exception[0].stack_trace}")
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "text")
    words = [str(e.value) for kind in kinds for e in getattr(app, kind)]
    words += [str(e.label) for e in app.expander]
    return "\n".join(words).replace("\\", "")


def as_json(values: Any) -> str:
    """One line."""
    return json.dumps(values, default=str)
