"""Text of others in a real browser: no mark of it becomes an element, a link or a request."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile_texts import MARKS

ROOT = Path(__file__).parents[2]
MORE = (
    "www.example.com http://x.example a@example.com",
    ":bomb: :red-badge[x]",
    "a\n====",
    "a\n---",
)
APP = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import streamlit as st
from explorer.widgets import parts
for number, text in enumerate({texts!r}):
    with st.container(key=f"mark-{{number}}"):
        st.markdown(parts.plain(text))
        st.caption(f"**{{parts.plain(text)}}**")
        st.error(parts.plain(text))
"""
FOUND = """() => [...document.querySelectorAll('[class*=st-key-mark-]')].flatMap(
    (place) => [...place.querySelectorAll('[data-testid=stMarkdownContainer]')].flatMap(
        (text) => [...text.querySelectorAll('*')]
            .filter((e) => !['P', 'STRONG', 'BR', 'DIV'].includes(e.tagName))
            .map((e) => e.outerHTML.slice(0, 120))))"""


@pytest.fixture
def marks(tmp_path):
    """An app that shows each text as the explorer shows it; its address and their number."""
    texts = [text[:200].encode("utf-8", "replace").decode() for text in (*MARKS, *MORE)]
    file = tmp_path / "app.py"
    file.write_text(APP.format(root=str(ROOT), tests=str(ROOT / "tests"), texts=texts))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(file), "--server.port", str(port)]
    command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
    command += ["--browser.gatherUsageStats", "false"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=tmp_path, **quiet)
    yield f"http://127.0.0.1:{port}/", len(texts)
    process.terminate()
    process.wait(timeout=20)


def test_no_text_becomes_an_element_a_link_or_a_request(page, marks):
    address, count = marks
    end = time.monotonic() + 90
    while True:
        try:
            page.goto(address)
            break
        except Exception:
            assert time.monotonic() < end
            time.sleep(0.5)
    spoken = []
    page.on("dialog", lambda dialog: (spoken.append(dialog.message), dialog.dismiss()))
    page.wait_for_selector(f".st-key-mark-{count - 1}", timeout=60_000)
    page.wait_for_timeout(1500)
    assert page.evaluate(FOUND) == []
    assert spoken == []
