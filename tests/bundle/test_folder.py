"""A bundle's folder appears whole or not at all, and replaces nothing but a bundle."""

import errno
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from finegates_engine.bundle import folder as bundle_folder
from finegates_engine.bundle.folder import BUNDLE_FORMAT, check_target, new_folder
from finegates_engine.errors import UserError


def write(target: Path, text: str, *, force: bool = False) -> None:
    with new_folder(target, force=force) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file.txt").write_text(text)
        names = {"sub/file.txt": {}}
        manifest = {"format": BUNDLE_FORMAT, "files": names}
        (folder / "manifest.json").write_text(json.dumps(manifest))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "bundle"
    with new_folder(target, force=False) as folder:
        assert not target.exists()
        assert folder.parent == target.parent
        (folder / "file").write_text("x")
        (folder / "file").chmod(0o600)
    assert names_in(target) == ["file"]
    assert (target / "file").stat().st_mode & 0o777 == target.stat().st_mode & 0o666
    assert names_in(target.parent) == ["bundle"]


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    write(tmp_path / "bundle", "x")
    assert (tmp_path / "bundle" / "sub" / "file.txt").read_text() == "x"


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: BaseException) -> None:
    def write_half() -> None:
        with new_folder(tmp_path / "a" / "b" / "bundle", force=False) as folder:
            (folder / "file").write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert names_in(tmp_path) == []


def test_older_bundle_stays_after_an_error_and_goes_with_force(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    write(target, "old")
    with pytest.raises(RuntimeError), new_folder(target, force=True):
        raise RuntimeError
    assert (target / "sub" / "file.txt").read_text() == "old"
    with pytest.raises(UserError, match=r"is a bundle already.*--force"):
        write(target, "new")
    (target / "sub" / "__pycache__").mkdir()
    (target / "sub" / "__pycache__" / "x.pyc").write_bytes(b"")
    write(target, "new", force=True)
    assert (target / "sub" / "file.txt").read_text() == "new"
    assert names_in(tmp_path) == ["bundle"]


def test_failed_rename_puts_the_older_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "bundle", os.rename
    write(target, "old")

    def fail(source: Path, place: Path) -> None:
        if str(source).endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, place)

    monkeypatch.setattr(bundle_folder.os, "rename", fail)
    with pytest.raises(UserError, match=r"could not be written \(Input/output error\)"):
        write(target, "new", force=True)
    assert (target / "sub" / "file.txt").read_text() == "old"
    assert names_in(tmp_path) == ["bundle"]


def test_what_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is a file, not a folder"):
        check_target(file, force=True)
    with pytest.raises(UserError, match="is not empty and no bundle"):
        check_target(folder, force=True)
    (folder / "manifest.json").write_text("[1]")
    with pytest.raises(UserError, match="is not empty and no bundle"):
        check_target(folder, force=True)


def test_files_of_the_user_in_a_bundle_keep_it_from_being_replaced(tmp_path: Path) -> None:
    write(tmp_path / "bundle", "old")
    (tmp_path / "bundle" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not of its bundle: notes\.txt"):
        write(tmp_path / "bundle", "new", force=True)
    assert (tmp_path / "bundle" / "notes.txt").read_text() == "mine"


def test_disk_that_is_full_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle_folder.os, "fsync", fail)
    with pytest.raises(UserError, match=r"No space left on device.*Free some space"):
        write(tmp_path / "bundle", "x")
    assert names_in(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_said_plainly(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="Permission denied"):
            write(tmp_path / "bundle", "x")
    finally:
        tmp_path.chmod(0o700)


def killed_at_rename(target: Path, number: int) -> None:
    """A process that is killed at its n-th rename while it replaces a bundle."""
    pid = os.fork()
    if pid == 0:
        seen: list[str] = []

        def hook(event: str, args: Any) -> None:
            if event == "os.rename":
                seen.append(event)
                if len(seen) == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        write(target, "new", force=True)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_killed_process_has_left_is_cleared_and_the_older_bundle_is_back(
    tmp_path: Path, number: int
) -> None:
    target = tmp_path / "bundle"
    write(target, "old")
    killed_at_rename(target, number)
    assert len(names_in(tmp_path)) == 2
    with pytest.raises(UserError, match="is a bundle already"):
        write(target, "newer")
    assert names_in(tmp_path) == ["bundle"]
    assert (target / "sub" / "file.txt").read_text() == "old"
    write(target, "newer", force=True)
    assert (target / "sub" / "file.txt").read_text() == "newer"


def test_folder_that_another_process_fills_is_left_alone(tmp_path: Path) -> None:
    with new_folder(tmp_path / "bundle", force=False) as folder:
        (folder / "file").write_text("x")
        write(tmp_path / "bundle", "first")
        assert (folder / "file").exists()
        shutil.rmtree(tmp_path / "bundle")
