"""Files that are whole or not there, and careful reading of files that others wrote. No torch."""

import contextlib
import errno
import fcntl
import glob
import itertools
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from finegates_engine.errors import UserError, printable

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""What a disk says that has no room, none for this user or for such a file, or is read-only."""

PROBE_BYTES = 2**20
"""Room that must be there before something is begun: about what a checkpoint or a run takes."""

ABANDONED_SECONDS = 60.0
"""Age from which the temporary file of a single write belongs to a process that was killed."""


class Damaged(UserError):  # noqa: N818  (a state of a file, told to the user as such)
    """A stored file or run that cannot be used; the text is the reason, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason))


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: whoever reads sees the old file or the new one.

    On the disk when it returns. Raises OSError; nothing is left behind then. What a process that
    was killed in such a write of the same file has left is removed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        write_synced(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)
    remove_abandoned(path.parent, f".{glob.escape(path.name)}.*.tmp")


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Remove files of this pattern that are too old for a write that still goes on."""
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


def probe(folder: Path) -> None:
    """Write PROBE_BYTES into a folder and remove them. Raises OSError where that cannot be done."""
    path = folder / f"probe-{secrets.token_hex(6)}"
    try:
        write_synced(path, bytes(PROBE_BYTES))
    finally:
        path.unlink(missing_ok=True)
    remove_abandoned(folder, "probe-*")


def full_disk(error: BaseException | None) -> str | None:
    """What a disk has said that cannot be written, where that is the cause of an error.

    >>> full_disk(OSError(errno.ENOSPC, "No space left on device"))
    'No space left on device'
    """
    while error is not None:
        if (number := _system_error(error)) in FULL:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


def _system_error(error: BaseException) -> int:
    """The system's number of an error, 0 where it has none; safetensors says it in its text."""
    if isinstance(error, OSError):
        return error.errno or 0
    said = re.search(r"\(os error (\d+)\)", str(error))
    return int(said[1]) if said else 0


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Mark a folder as in use by this process, until it ends. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """Write a new file and wait until it is on the disk. Raises OSError, also where it exists."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def inside(path: str | Path, root: str | Path) -> bool:
    """Whether `path`, all links followed, lies in `root`."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def read_file(path: str | Path, *, root: str | Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes inside `root`.

    A link that leads out of `root`, be it the file or a folder on the way to it, a pipe or a device
    is refused before it is read. Raises Damaged with the reason.
    """
    with _opened(path, root) as (file, size):
        if size > limit:
            name = os.path.basename(path)
            raise Damaged(f"{name} is too large: {size:,} bytes, at most {limit:,} are read")
        return file.read(size)  # not `limit`, for which room would be made


def read_end(path: str | Path, *, root: str | Path, most: int) -> bytes:
    """The last `most` bytes of such a file. Raises Damaged with the reason, as `read_file`."""
    with _opened(path, root) as (file, size):
        file.seek(max(0, size - most))
        return file.read(most)


@contextlib.contextmanager
def _opened(path: str | Path, root: str | Path) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file inside `root`, and its size."""
    name = os.path.basename(path)
    with _reasons(name):
        _check_links(path, root)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Damaged(f"{name} is not a file")
            yield file, status.st_size


def list_folder(path: str | Path, *, root: str | Path, most: int) -> list[str]:
    """Names in a folder inside `root`, sorted. Raises Damaged with the reason, as `read_file`."""
    name = os.path.basename(path)
    with _reasons(name):
        _check_links(path, root)
        if not os.path.isdir(path):
            raise Damaged(f"{name} is not a folder")
        with os.scandir(path) as entries:
            names = [entry.name for entry in itertools.islice(entries, most + 1)]
    if len(names) > most:
        raise Damaged(f"{name} holds more than {most:,} files")
    return sorted(names)


def still_there(entry: "os.DirEntry[str]") -> bool:
    """Whether a file or folder that was listed was neither removed nor replaced since."""
    try:
        return os.lstat(entry.path).st_ino == entry.inode()
    except OSError:
        return False


def _check_links(path: str | Path, root: str | Path) -> None:
    """Raises Damaged where a link below `root` leads out of it, or round in a circle."""
    place, end = str(path), str(root)
    while len(place) > len(end):
        if os.path.islink(place):
            name = os.path.basename(place)
            if not inside(path, root):
                raise Damaged(f"{name} is a link that leads out of the store")
            return
        place = os.path.dirname(place)


@contextlib.contextmanager
def _reasons(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise Damaged(f"{name} is missing") from error
        if error.errno == errno.EISDIR:
            raise Damaged(f"{name} is not a file") from error
        if error.errno == errno.ELOOP:
            raise Damaged(f"{name} is a link that leads nowhere") from error
        raise Damaged(f"{name} cannot be read ({error.strerror or error})") from error
