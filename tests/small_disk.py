"""A small disk in memory that can be filled; only root may mount one."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Remount = Callable[[str], None]


@contextlib.contextmanager
def mounted(place: Path, *, megabytes: int) -> Iterator[Remount]:
    """A disk of that size at `place`, and how it is mounted anew with other options.

    The test is skipped for a user who may not mount.
    """
    place.mkdir()

    def mount(options: str) -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
            check=True,
            capture_output=True,
        )

    try:
        mount(f"size={megabytes}m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a disk in memory")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(place: Path, *, left: int) -> Path:
    """A file that takes all but some bytes of the disk at `place`, also while others write there.

    Called again it takes what has become free.
    """
    free = os.statvfs(place)
    path = place / "filler"
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - left)))
    return path
