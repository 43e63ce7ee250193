"""What a node lays out for itself, and what it refuses. No cluster."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from finegates_engine.errors import UserError
from finegates_engine.sweep import ray_node
from finegates_engine.sweep.ray_node import digest_of, lay_out, node_folder, read_backbone


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_node, "_node_name", lambda: "10.0.0.7")
    return tmp_path


def test_a_backbone_s_files_arrive_as_they_were_and_once(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    files = read_backbone(tiny_backbone)
    assert {"config.json", "model.safetensors"} <= set(files)
    folder = lay_out(files, tmp_path / "node" / digest_of(files))
    for name in files:
        assert (folder / name).read_bytes() == (tiny_backbone / name).read_bytes()
    written = (folder / "config.json").stat().st_mtime_ns
    assert lay_out(files, folder) == folder
    assert (folder / "config.json").stat().st_mtime_ns == written
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        folder.name, f"{folder.name}.lock",
    ]  # fmt: skip


def test_another_config_beside_the_same_weights_is_another_backbone() -> None:
    weights = np.arange(9, dtype=np.uint8)
    one, two = ({"config.json": np.full(3, n, np.uint8), "w": weights} for n in (1, 2))
    assert digest_of(one) != digest_of(two)
    assert digest_of(one) == digest_of(dict(reversed(one.items())))


def test_a_name_with_a_path_in_it_stays_inside_the_folder(tmp_path: Path) -> None:
    lay_out({"../../out.json": np.zeros(1, np.uint8)}, tmp_path / "node" / "a")
    assert (tmp_path / "node" / "a" / "out.json").exists()
    assert not (tmp_path / "out.json").exists()


def test_the_node_s_folder_is_the_user_s_alone(temporary: Path) -> None:
    folder = node_folder()
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    with pytest.raises(UserError, match=r"of node 10.0.0.7 belongs to somebody else, or others"):
        node_folder()
    folder.rmdir()
    folder.symlink_to(temporary)
    with pytest.raises(UserError, match="Remove it, or set TMPDIR to another place"):
        node_folder()


def test_another_version_on_a_node_is_refused(temporary: Path) -> None:
    ray_node._check_engine(ray_node.engine_version())
    with pytest.raises(UserError, match=r"Node 10.0.0.7 has finegates-explorer .*the sweep has 0,"):
        ray_node._check_engine("0, numerics 0")
