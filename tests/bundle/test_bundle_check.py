"""A bundle checks itself: other weights, files, logits and tokens are noticed."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finegates_engine.folded import check as folded_check


def test_checking_command_says_ok_from_the_bundle(copied: Path) -> None:
    command = [sys.executable, "-m", "finegates_model"]
    done = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OK: logits as expected")


def test_changed_weights_and_changed_files_are_noticed(copied: Path) -> None:
    assert folded_check(copied) == 0
    card = (copied / "README.md").read_bytes()
    (copied / "README.md").write_bytes(card + b"!")
    with pytest.raises(ValueError, match=r"README\.md is not the file that was written"):
        folded_check(copied)
    (copied / "README.md").unlink()
    with pytest.raises(ValueError, match=r"README\.md is missing"):
        folded_check(copied)


def test_other_logits_and_other_tokens_are_noticed(copied: Path) -> None:
    expected = json.loads((copied / "expected.json").read_text())
    expected["rows"][1]["logits"][0] += 0.01
    write_expected(copied, expected)
    with pytest.raises(ValueError, match="logits differ by"):
        folded_check(copied)
    expected["rows"][0]["input_ids"][1] += 1
    write_expected(copied, expected)
    with pytest.raises(ValueError, match="other token ids for"):
        folded_check(copied)


def write_expected(folder: Path, values: dict[str, Any]) -> None:
    (folder / "expected.json").write_text(json.dumps(values))
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256((folder / "expected.json").read_bytes()).hexdigest()
    manifest["files"]["expected.json"]["sha256"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))
