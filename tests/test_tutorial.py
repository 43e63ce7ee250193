"""docs/tutorial.md, followed to the letter: its commands work and print what it says they print."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest
from documents import ROOT, commands

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
PART = re.compile(r"^## \d+\. .*?(?=^## |\Z)", re.M | re.S)
BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.M | re.S)


class Step(NamedTuple):
    """One command of the tutorial."""

    command: str
    printed: str
    """What it prints, shortened; empty where it prints nothing."""


def steps() -> list[Step]:
    found = []
    for part in PART.findall(TEXT):
        blocks = [(kind, body) for kind, body in BLOCK.findall(part)]
        (command,) = (body for kind, body in blocks if kind == "bash")
        found.append(Step(command, "".join(body for kind, body in blocks if kind == "text")))
    return found


def words(text: str) -> set[str]:
    """Words of three letters and more; numbers, marks and units of time differ from run to run."""
    return set(re.findall(r"[A-Za-z]{3,}", text)) - {"min"}


def environment(port: int) -> dict[str, str]:
    """The tutorial's terminal: this Python's programs first, and a Streamlit that opens nothing."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "COLUMNS": "100",
        "STREAMLIT_SERVER_HEADLESS": "true",
        "STREAMLIT_SERVER_PORT": str(port),
    }


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def answers(port: int, seconds: float) -> bool:
    """Whether a Streamlit answers on the port within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5):
                return True
        except OSError:
            time.sleep(0.5)
    return False


def run(step: Step, folder: Path, port: int) -> str:
    """What a command prints on both streams, once it has ended well."""
    done = subprocess.run(
        ["bash", "-ec", step.command],
        cwd=folder,
        env=environment(port),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{step.command}\n{done.stdout}"
    return done.stdout


def test_tutorial_has_ten_commands_and_says_what_they_print() -> None:
    rows, *found = steps()
    assert rows.printed.startswith("text,label")
    assert len(found) == 10
    silent = [number for number, step in enumerate(found, 1) if not step.printed]
    assert silent == [10], "the explorer is a page"
    assert "streamlit run" in found[-1].command
    assert len(commands(TEXT, "finegates")) >= 7


@pytest.mark.slow
def test_tutorial_works_and_prints_what_it_shows(tmp_path: Path) -> None:
    folder = tmp_path / "tickets"
    folder.mkdir()
    (tmp_path / "explorer").symlink_to(ROOT / "explorer")
    *printing, last = steps()
    for step in printing:
        missing = words(step.printed) - words(run(step, folder, free_port()))
        assert not missing, step.command
    assert (folder / "small" / "model.onnx").is_file()
    port = free_port()
    app = subprocess.Popen(
        ["bash", "-c", f"exec {last.command}"], cwd=folder, env=environment(port)
    )
    try:
        assert answers(port, 120)
    finally:
        app.send_signal(signal.SIGTERM)
        app.wait(30)
