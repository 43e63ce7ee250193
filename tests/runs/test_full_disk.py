"""A store on a full or read-only disk: said in a line, nothing half-written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from run_examples import make_config, make_result
from safetensors import SafetensorError
from safetensors.numpy import save_file
from small_disk import Remount, fill, mounted

from finegates_engine.errors import DiskError, UserError
from finegates_engine.files import full_disk
from finegates_engine.runs.store import RunStore


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[RunStore, Remount]]:
    """A store on a disk of its own, and how that disk is mounted anew with other options."""
    with mounted(tmp_path / "disk", megabytes=2) as remount:
        yield RunStore(tmp_path / "disk" / "store"), remount


@pytest.mark.parametrize("left", [0, 4096, 8192, 16384])
def test_full_disk_is_said_in_a_line_and_the_run_is_saved_once_there_is_room(
    disk: tuple[RunStore, Remount], left: int
) -> None:
    store, _ = disk
    store.save(make_result())
    filler = fill(store.root.parent, left=left)
    second = make_result(make_config(seed=1))
    with pytest.raises(DiskError, match=r"could not be saved in .* \(No space left") as caught:
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


def test_disk_with_too_little_room_is_said_before_anything_begins(
    disk: tuple[RunStore, Remount],
) -> None:
    store, _ = disk
    store.save(make_result())
    fill(store.root.parent, left=100_000)
    with pytest.raises(UserError, match=r"cannot be written \(No space left"):
        store.check_writable()
    assert not list((store.root / ".work").glob("probe-*"))


def test_safetensors_that_finds_no_room_is_understood(disk: tuple[RunStore, Remount]) -> None:
    """It leaves no file behind, so that afterwards the disk looks as if there were room."""
    store, _ = disk
    store.root.mkdir()
    with pytest.raises(SafetensorError) as caught:
        save_file({"weight": np.zeros(2**20, np.float32)}, store.root / "state.safetensors")
    assert full_disk(caught.value) == "No space left on device"
    assert full_disk(ValueError("no such thing")) is None
