"""Files are whole or not there, and nothing odd is read."""

import os

import pytest

from finegates_engine import files
from finegates_engine.files import Damaged, read_file, write_atomic


def test_replaced_file_has_the_new_content_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_content_and_nothing_beside_it(tmp_path, monkeypatch, step):
    path = tmp_path / "a.json"
    write_atomic(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_written_file_has_the_permissions_of_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_only_a_file_inside_the_root_and_not_too_large_is_read(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_bytes(b"12345")
    (tmp_path / "out").write_bytes(b"secret")
    (root / "in-link").symlink_to(root / "a")
    (root / "out-link").symlink_to(tmp_path / "out")
    (root / "dangling").symlink_to(root / "gone")
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")

    def read(name, limit=5):
        return read_file(root / name, root=root, limit=limit)

    assert read("a") == read("in-link") == b"12345"
    for name, reason in {
        "out-link": "out-link is a link that leads out of the store",
        "dangling": "dangling is missing",
        "gone": "gone is missing",
        "folder": "folder is not a file",
        "pipe": "pipe is not a file",
    }.items():
        with pytest.raises(Damaged) as error:
            read(name)
        assert str(error.value) == reason
    with pytest.raises(Damaged, match="a is too large: 5 bytes, at most 4 are read"):
        read("a", limit=4)


def test_what_a_killed_write_has_left_goes_with_the_next_one(tmp_path):
    old, fresh, other = (tmp_path / f".{name}.tmp" for name in ("a.json.1", "a.json.2", "b.json.1"))
    for path in (old, fresh, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (1.0, 1.0))
    write_atomic(tmp_path / "a.json", b"{}")
    assert not old.exists()
    assert fresh.exists(), "its writer may still be at work"
    assert other.exists(), "it belongs to another file"


@pytest.mark.parametrize("read", [files.read_end, files.read_file])
def test_nothing_is_read_through_a_linked_folder_a_circle_or_a_pipe(tmp_path, read):
    limit = {"most": 10} if read is files.read_end else {"limit": 10}
    root, outside = tmp_path / "store", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "a").write_text("secret")
    (root / "folder").symlink_to(outside)
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe")
    (root / "whole").write_text("0123456789")
    for name, reason in (
        ("folder/a", "folder is a link that leads out of the store"),
        ("circle", "circle is a link that leads nowhere"),
        ("pipe", "pipe is not a file"),
    ):
        with pytest.raises(files.Damaged, match=reason):
            read(root / name, root=root, **limit)
    assert read(root / "whole", root=root, **limit) == b"0123456789"


def test_a_folder_is_listed_up_to_a_number_and_not_through_a_link(tmp_path):
    root = tmp_path / "store"
    (root / "own").mkdir(parents=True)
    for name in "cab":
        (root / "own" / name).touch()
    (root / "out").symlink_to(tmp_path)
    assert files.list_folder(root / "own", root=root, most=3) == ["a", "b", "c"]
    for name, most, reason in (
        ("own", 2, "more than 2 files"),
        ("out", 9, "leads out"),
        ("own/a", 9, "not a folder"),
    ):
        with pytest.raises(files.Damaged, match=reason):
            files.list_folder(root / name, root=root, most=most)
