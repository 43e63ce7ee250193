"""Portable bundles made on demand: `finegates prune` in a process of its own. No torch here.

A bundle is made once for all who ask for it, in a thread that outlives a page's rerun; one at a
time, for folding takes all cores. Its folder goes when it is no longer among the last few.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

from explorer.loading import loaders

ROOT = Path(__file__).parents[2]
KEPT = 4
"""Bundles that are kept for download."""

_ONE_AT_A_TIME = threading.Lock()
_STARTING = threading.Lock()


class BundleJob:
    """One bundle in the making: what is being done, then a zip or an error."""

    def __init__(self, root: str, run_id: str, data: str | None = None) -> None:
        self.run_id = run_id
        self.started = time.monotonic()
        self.steps: list[str] = []
        self.error: str | None = None
        self.file: Path | None = None
        """The zip, when it is done."""
        self._place = tempfile.TemporaryDirectory(prefix="finegates-bundle-")
        self._command = prune_command(root, run_id, Path(self._place.name) / run_id, data)
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    @property
    def running(self) -> bool:
        """Whether it is not done yet."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it; what was made is dropped."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Until it is done, at most so long."""
        self._thread.join(seconds)

    def _work(self) -> None:
        self.steps.append("Waiting for another bundle to be finished")
        with _ONE_AT_A_TIME:
            self.steps.clear()
            try:
                self._make()
            except OSError as error:
                self.error = f"The bundle could not be made: {error.strerror or error}."

    def _make(self) -> None:
        if self._stopped:
            self.error = "Stopped."
            return
        self.steps.append("Starting finegates prune")
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        with subprocess.Popen(  # noqa: S603  (arguments are ours, the run id is one of the store's)
            self._command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "2000"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            self._process = process
            said: list[str] = []
            assert process.stderr is not None
            for line in process.stderr:
                text = line.strip()
                if text.endswith("..."):
                    self.steps.append(text.removesuffix("...").strip())
                elif text:
                    said.append(text)
            process.wait()
        if self._stopped:
            self.error = "Stopped."
        elif process.returncode:
            self.error = _reason(said, process.returncode)
        else:
            self.steps.append("Packing")
            self.file = self._zip()

    def _zip(self) -> Path:
        folder = Path(self._place.name) / self.run_id
        target = Path(self._place.name) / f"{self.run_id}.zip"
        # Weights do not get smaller by packing.
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    packed.write(path, Path(self.run_id) / path.relative_to(folder))
        return target


def prune_command(root: str, run_id: str, out: Path, data: str | None) -> list[str]:
    """The command that makes a bundle."""
    command = [sys.executable, "-m", "finegates_engine", "prune", f"--store={root}", f"--out={out}"]
    return [*command, *([f"--data={data}"] if data else []), "--", run_id]


def job(store: loaders.Store, run_id: str) -> BundleJob | None:
    """The bundle of a run, if one was asked for."""
    found: BundleJob | None = _jobs().get((store.root, run_id))
    return found


def start(store: loaders.Store, run_id: str, data: str | None = None) -> BundleJob:
    """Make a run's bundle, unless that is being done already."""
    with _STARTING:
        known = job(store, run_id)
        if known is not None and known.running:
            return known
        made = BundleJob(store.root, run_id, data)
        _jobs().put((store.root, run_id), made)
        made.start()
        return made


def _jobs() -> loaders.Memo:
    return loaders.memo("bundles", KEPT)


def _reason(said: list[str], code: int) -> str:
    """What the command said last when it failed: its message is one line."""
    if not said:
        return f"finegates prune ended with code {code}."
    broke = any(line.startswith("Traceback") for line in said)
    return f"finegates prune failed: {said[-1]}" if broke else said[-1]
