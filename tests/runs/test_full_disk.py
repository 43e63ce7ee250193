"""A store on a full or read-only disk: said in a line, nothing half-written."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_examples import make_config, make_result

from finegates_engine.errors import UserError
from finegates_engine.runs.store import RunStore

Remount = Callable[[str], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[RunStore, Remount]]:
    """A store on a disk of its own, and how that disk is mounted anew with other options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
            check=True,
            capture_output=True,
        )

    try:
        mount("size=2m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a disk in memory")
    try:
        yield RunStore(place / "store"), lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(store: RunStore, *, left: int) -> Path:
    """A file that takes all but some bytes of the store's disk."""
    store.root.mkdir(exist_ok=True)
    free = os.statvfs(store.root)
    path = store.root.parent / "filler"
    path.write_bytes(bytes(free.f_bavail * free.f_frsize - left))
    return path


@pytest.mark.parametrize("left", [0, 4096, 8192, 16384])
def test_full_disk_is_said_in_a_line_and_the_run_is_saved_once_there_is_room(
    disk: tuple[RunStore, Remount], left: int
) -> None:
    store, _ = disk
    store.save(make_result())
    filler = fill(store, left=left)
    second = make_result(make_config(seed=1))
    with pytest.raises(UserError, match=r"could not be saved in .* \(No space left") as caught:
        store.save(second)
    assert "\n" not in str(caught.value)
    assert store.ids() == [make_result().run_id]
    assert store.damaged(verify=True) == []
    assert store.left_of(second.run_id) == []
    filler.unlink()
    assert store.save(second)
    assert len(store.ids()) == 2


def test_read_only_disk_is_said_in_a_line_and_can_be_read(
    disk: tuple[RunStore, Remount],
) -> None:
    store, remount = disk
    store.save(make_result())
    remount("ro")
    with pytest.raises(UserError, match=r"cannot be written \(Read-only") as caught:
        store.check_writable()
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"could not be saved .*\(Read-only"):
        store.save(make_result(make_config(seed=1)))
    with pytest.raises(UserError, match=r"could not be deleted \(Read-only"):
        store.delete(make_result().run_id)
    assert store.ids() == [make_result().run_id]
    store.load(make_result().run_id).verify()
    remount("rw")
    assert store.save(make_result(make_config(seed=1)))
