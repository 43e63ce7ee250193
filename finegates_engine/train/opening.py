"""The steps before any gate is pressed, trained once for all cells that share them. No torch.

With every gate open nothing depends on the target, so that cells of one seed begin alike, to the
bit. The first one to get there leaves its checkpoint; the others go on from a copy of it.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from finegates_engine.config import RunConfig, to_json
from finegates_engine.identity import NUMERICS_VERSION
from finegates_engine.method_table import options_of, spec_of

KEPT_SECONDS = 86_400.0
"""An opening that was not used for so long is removed when another one is kept."""

CLOCK_FILE = "seconds.json"
"""In a scratch folder and in an opening: the seconds that its training took."""

CLOSING = ("target", "target_unit", "ramp", "finish", "distill", "head_step", "allocation")
"""Settings of the gates that are not read before the open phase has ended."""

PATH_SETTINGS = ("path_ramp", "path_open_start", "path_finish")


def opening_key(config: RunConfig) -> str | None:
    """What cells with the same open phase have in common, on the same data and weights.

    None: there is none to share, as on the later levels of a path, where several processes share
    each step, and for a method whose gates are closed before the first step.
    """
    spec = spec_of(config.method)
    if config.path or config.processes > 1 or not spec.has_gates or spec.starts_trained:
        return None
    plain = to_json(config)
    del plain["task"]["data"], plain["model"]["backbone"]
    del plain["train"]["path_epochs"], plain["train"]["path_rate"]
    for name in (*CLOSING, *PATH_SETTINGS):
        del plain["gates"][name]
    if not spec.learns_gates:  # these differ in their scores alone
        after = options_of(config.method, config.method_options).get("after")
        plain["method"], plain["method_options"] = "one shot", ()
        plain["gates"]["open_start"] = config.phases.open_start if after is None else after
    if not plain["gates"]["open_start"]:
        return None
    return json.dumps([plain, NUMERICS_VERSION], sort_keys=True)


@dataclass(frozen=True)
class Opening:
    """Where the checkpoint of one open phase lies, or will."""

    folder: Path

    @classmethod
    def of(
        cls, config: RunConfig, root: Path, *, data_hash: str, weights_hash: str
    ) -> "Opening | None":
        """The opening of a cell, in a folder below `root`. None: it has none to share."""
        key = opening_key(config)
        if key is None:
            return None
        digest = hashlib.sha256(f"{key} {data_hash} {weights_hash}".encode()).hexdigest()
        return cls(root / digest[:16])

    def take(self, scratch: Path) -> None:
        """Copy the checkpoint into the scratch folder of a cell, if there is one."""
        making = scratch / f"opening-{secrets.token_hex(4)}"
        try:
            (found,) = self.folder.glob("checkpoint-*")
            shutil.copytree(found, making)
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(self.folder / CLOCK_FILE, scratch / CLOCK_FILE)
            os.utime(self.folder)
            making.rename(scratch / found.name)
        except (OSError, ValueError):  # none is there, or it has been removed just now
            shutil.rmtree(making, ignore_errors=True)

    def keep(self, checkpoint: Path, clock: Path) -> None:
        """Keep a copy of a checkpoint and the time that it took, and remove what is old.

        Without it nothing is lost but time, so that a full disk is no error.
        """
        root = self.folder.parent
        making = root / f"keeping-{secrets.token_hex(4)}"
        with contextlib.suppress(OSError):
            shutil.copytree(checkpoint, making / checkpoint.name)
            with contextlib.suppress(FileNotFoundError):  # a training of a moment has none
                shutil.copy(clock, making / CLOCK_FILE)
            making.rename(self.folder)
        shutil.rmtree(making, ignore_errors=True)
        _remove_old(root)


def _remove_old(root: Path) -> None:
    oldest = time.time() - KEPT_SECONDS
    with contextlib.suppress(OSError):
        for folder in root.iterdir():
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
