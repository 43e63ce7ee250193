"""Sweeps as processes of their own, which outlive the page that started them. No Streamlit.

<root>/.sweeps/launched/<launch id>/launch.json   what was asked for, and the process that does it
<root>/.sweeps/launched/<launch id>/log.txt       what that process says

What is read back from there is checked like any other input: the command is built anew from the
checked request, never stored, and a process is stopped only where it is still the one recorded.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from explorer.processes.sweep_request import SweepRequest
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged, list_folder, read_end, read_file, write_atomic
from finegates_engine.sweep.state import FOLDER, MOST_FILES, SweepState, held

LAUNCHED = "launched"
KEPT = 20
"""Ended launches whose record and log are kept."""

LOG_BYTES = 20_000
"""Of a log's end that are read."""

_RECORD_BYTES = 2**20
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_SOURCE = Path(__file__).parents[2]
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Launch:
    """One sweep that this app started, and the process that does it."""

    launch_id: str = Field(pattern=f"^{_ID.pattern}$")
    request: SweepRequest
    process_id: int = Field(gt=1)
    birth: str = Field(max_length=100)
    """When the system says that the process began: with its id, its identity on this machine."""

    started: float
    """Seconds since 1970."""


_LAUNCH: TypeAdapter[Launch] = TypeAdapter(Launch)


def start(root: Path, request: SweepRequest) -> Launch:
    """Start a sweep on the store `root`. Raises UserError while another one runs."""
    launch_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    with _one_at_a_time(root):
        _forget_old(root)
        return _start(root, launch_id, request)


def resume(root: Path, launch_id: str) -> Launch:
    """Give an ended sweep's command again: it goes on from where it was. Raises UserError."""
    with _one_at_a_time(root):
        return _start(root, launch_id, load(root, launch_id).request)


def stop(root: Path, launch_id: str, *, now: bool = False) -> None:
    """Ask a sweep to end after what it is doing; now: end its processes at once.

    Either way what is trained is kept. SIGTERM, which the sweep takes as it takes Ctrl-C: SIGINT
    is ignored by children of a shell's background jobs. Raises UserError where it has ended.
    """
    launch = load(root, launch_id)
    if not alive(launch):
        raise UserError("This sweep has ended already.")
    with _gone_is_fine():
        if os.getpgid(launch.process_id) == launch.process_id:
            os.killpg(launch.process_id, signal.SIGKILL if now else signal.SIGTERM)


def stop_recorded(root: Path, sweep: SweepState) -> None:
    """Ask a sweep that was started elsewhere on this machine to end.

    Only where its process holds the sweep's lock open. Raises UserError where it does not.
    """
    lock = root / FOLDER / f"{Path(sweep.sweep_id).name}.lock"
    if sweep.process_id <= 1 or not held(lock) or not _has_open(sweep.process_id, lock):
        raise UserError(
            f"Process {sweep.process_id} of this sweep cannot be reached from here. Stop it where "
            "it was started, with Ctrl-C."
        )
    with _gone_is_fine():
        os.kill(sweep.process_id, signal.SIGTERM)


def launches(root: Path) -> list[Launch]:
    """The sweeps that this app has started on a store, newest first; damaged ones left out."""
    found = []
    for name in _names(root):
        with contextlib.suppress(Damaged):
            found.append(load(root, name))
    return found


def load(root: Path, launch_id: str) -> Launch:
    """One launch. Raises Damaged where it is not there, or not as it was written."""
    if not _ID.fullmatch(launch_id):
        raise Damaged("there is no such launch")
    path = _folder(root) / launch_id / "launch.json"
    try:
        launch = _LAUNCH.validate_json(read_file(path, root=root, limit=_RECORD_BYTES))
    except ValidationError as error:
        raise Damaged(f"launch {launch_id} cannot be used") from error
    if launch.launch_id != launch_id:
        raise Damaged(f"launch {launch_id} says that it is another one")
    return launch


def alive(launch: Launch) -> bool:
    """Whether its process still runs, and is not another one of the same number."""
    state, birth = _process(launch.process_id)
    return birth == launch.birth and state != "Z"


def log_text(root: Path, launch_id: str) -> str:
    """The end of what the process said, at most LOG_BYTES."""
    if not _ID.fullmatch(launch_id):
        return ""
    with contextlib.suppress(Damaged):
        path = _folder(root) / launch_id / "log.txt"
        return read_end(path, root=root, most=LOG_BYTES).decode("utf-8", "replace").strip()
    return ""


def _start(root: Path, launch_id: str, request: SweepRequest) -> Launch:
    folder = _folder(root) / launch_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "log.txt", "wb") as log:
            process = subprocess.Popen(  # noqa: S603  (a list of checked words, no shell)
                [sys.executable, "-m", "finegates_engine", *request.words(root)],
                cwd=_SOURCE,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        launch = Launch(
            launch_id=launch_id,
            request=request,
            process_id=process.pid,
            birth=_process(process.pid)[1],
            started=time.time(),
        )
        threading.Thread(target=process.wait, daemon=True).start()  # so that no zombie stays
        write_atomic(folder / "launch.json", _LAUNCH.dump_json(launch))
    except OSError as error:
        raise UserError(
            f"The sweep cannot be started: {error.strerror or error}. Is the store's folder "
            "writable, and the disk not full?"
        ) from error
    return launch


def _environment() -> dict[str, str]:
    paths = [str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"NO_COLOR": "1", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    return os.environ | quiet | {"PYTHONPATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Two sweeps at once on one machine are slower than one after the other."""
    folder = _folder(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"The store cannot be written: {error.strerror or error}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if any(alive(launch) for launch in launches(root)):
            raise UserError(
                "A sweep that was started here is still running. Wait for it, or stop it first."
            )
        yield
    finally:
        os.close(descriptor)


def _process(process_id: int) -> tuple[str, str]:
    """(state letter, time of birth) of a process; empty where there is none."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    if os.path.isdir("/proc/self"):
        return "", ""
    told = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "state=,lstart=", "-p", str(process_id)],
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, birth = told.stdout.strip().partition(" ")
    return state[:1], birth.strip()


def _has_open(process_id: int, file: Path) -> bool:
    """Whether a process holds a file open, as far as this system tells."""
    with contextlib.suppress(OSError):
        wanted = file.stat()
        for entry in os.scandir(f"/proc/{process_id}/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(entry.path), wanted):
                    return True
    return False


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise UserError("This sweep belongs to another user of this machine.") from error


def _folder(root: Path) -> Path:
    return root / FOLDER / LAUNCHED


def _names(root: Path) -> list[str]:
    with contextlib.suppress(Damaged):
        names = list_folder(_folder(root), root=root, most=MOST_FILES)
        return sorted(filter(_ID.fullmatch, names), reverse=True)
    return []


def _forget_old(root: Path) -> None:
    for name in _names(root)[KEPT:]:
        shutil.rmtree(_folder(root) / name, ignore_errors=True)
