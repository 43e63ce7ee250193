"""Pictures of every page in both themes and two widths, with the system's Chromium.

    python -m explorer.screenshots --store cached_runs --out docs/screenshots

Needs the package playwright and a Chromium (Debian: apt-get install chromium); no network.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finegates_engine.errors import UserError

ROOT = Path(__file__).parents[1]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"wide": (1280, 900), "phone": (420, 900)}
SCHEMES = ("light", "dark")
PAGES = {
    "trade-off": "",
    "pick-a-level": "pick_a_level?drop=2",
    "gates-map": "gates?view=map",
    "gates-matrix": "gates?view=matrix&layer=3&matrix=ffn_in",
    "gates-agreement": "gates?view=agreement&layer=3",
    "gates-movie": "gates?view=movie",
    "training-curves": "training?part=curves",
    "training-sweeps": "training?part=sweeps",
    "training-start": "training?part=start",
    "method-gate": "method?screen=gate",
    "method-matrix": "method?screen=fold",
    "method-layer": "method?screen=fold&shape=layer&stage=gated",
    "method-deviations": "method?screen=deviations",
    "method-lesson": "method?screen=lesson",
    "compare": "compare",
    "live": "live",
    "live-levels": "live?more=levels",
    "live-close": "live?more=close&close=2.head.3",
    "live-why": "live?more=why",
}
"""Name of a picture -> address of its page."""

CLICKS = {
    "live": ("Race dense against pruned", "Race again"),
    "live-why": ("Take the call apart", "Download"),
}
"""Name of a picture -> a button to click first, and the one that says that it is done."""

_START_SECONDS = 60
_RACE_MS = 180_000
_SETTLE_MS = 180_000


@contextlib.contextmanager
def serving(store: Path | str, *, folder: Path = ROOT) -> Iterator[str]:
    """The app over a store, in a process of its own, started in `folder`; gives its address."""
    with app_over(store, folder=folder) as (address, _):
        yield address


@contextlib.contextmanager
def app_over(
    store: Path | str, *, folder: Path = ROOT
) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """The app over a store: its address, and its process, which ends with the context."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "explorer" / "app.py")]
    command += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    command += ["--server.headless", "true", "--", "--store", str(store)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(  # noqa: S603
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        _wait(f"{address}_stcore/health", process)
        yield address, process
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310
            return
        time.sleep(0.2)
    raise UserError(f"The app did not start within {_START_SECONDS} s. Run it by hand to see why.")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser. Raises UserError where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise UserError("There is no Chromium. Debian: apt-get install chromium.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def settle(page: Any) -> None:
    """Wait until the page has drawn all that it has to draw."""
    page.wait_for_selector(
        "[data-testid=stApp][data-test-script-state=notRunning]", timeout=_SETTLE_MS
    )
    page.wait_for_function(
        "document.querySelectorAll('[data-testid=stSkeleton]').length === 0"
        " && [...document.querySelectorAll('.stPlotlyChart')]"
        ".every(chart => chart.querySelector('.main-svg'))"
        " && !document.body.innerText.includes('still to compute')"
        " && document.querySelectorAll('[class*=st-key-waiting-]').length === 0",
        timeout=_SETTLE_MS,
    )
    page.wait_for_timeout(900)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default=str(ROOT / "cached_runs"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--only", default="", help="only pages whose name begins so")
    arguments = parser.parse_args()
    if not any(name.startswith(arguments.only) for name in PAGES):
        parser.error(f"--only {arguments.only}: no page begins so. Pages: {', '.join(PAGES)}.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        name = Path(arguments.store).resolve().name
        copy = Path(shutil.copytree(arguments.store, Path(folder) / name))
        with serving(copy, folder=Path(folder)) as address, chromium() as browser:
            for scheme in SCHEMES:
                for size, (width, height) in SIZES.items():
                    viewport = {"width": width, "height": height}
                    context = browser.new_context(color_scheme=scheme, viewport=viewport)
                    _shoot(context, address, arguments, f"{size}-{scheme}", width)
                    context.close()


def _shoot(context: Any, address: str, arguments: Any, kind: str, width: int) -> None:
    page = context.new_page()
    for name, path in PAGES.items():
        if not name.startswith(arguments.only):
            continue
        page.goto(address + path)
        settle(page)
        if name in CLICKS:
            button, done = CLICKS[name]
            page.get_by_role("button", name=button).click()
            page.mouse.move(0, 0)  # or the figure that comes there shows its buttons
            page.wait_for_selector(f"button:has-text('{done}')", timeout=_RACE_MS)
            settle(page)
        _fit(page, width)
        file = arguments.out / f"{name}-{kind}.png"
        page.screenshot(path=file)
        _shrink(file)
        page.set_viewport_size({"width": width, "height": 900})
        print(file)


def _fit(page: Any, width: int) -> None:
    """A window as high as the page, which may grow while it is drawn."""
    shown = 0
    for _ in range(4):
        height = page.evaluate("document.querySelector('.stMainBlockContainer').scrollHeight")
        if height == shown:
            return
        shown = height
        page.set_viewport_size({"width": width, "height": min(int(height) + 40, 3000)})
        settle(page)


def _shrink(file: Path) -> None:
    """A palette of 128 colours, which these pages do not exceed to the eye."""
    from PIL import Image

    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


if __name__ == "__main__":
    main()
