"""The manifest of a shipped store: its runs, and the command for each. No torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from finegates_engine.files import write_atomic
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.command import sweep_command

MANIFEST = "manifest.json"
FORMAT = 1


def manifest_of(store: RunStore) -> dict[str, Any]:
    """What the manifest of a store says: a pure function of its runs.

    DIR in a command is the folder that holds the rows of the tasks.
    """
    return {
        "format": FORMAT,
        "about": "Each run of this folder, and the command that makes it where it is missing; DIR "
        "is a folder with the tasks' rows. The base weights are not here. Gates come out the same "
        "to the bit on hardware like trained_on with the same versions (run.json).",
        "runs": {name: _entry(store, name) for name in store.ids()},
    }


def write_manifest(store: RunStore) -> bool:
    """Write the manifest of a store; False where it is up to date."""
    path, data = store.root / MANIFEST, manifest_bytes(store)
    if path.exists() and path.read_bytes() == data:
        return False
    store.root.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)
    return True


def manifest_bytes(store: RunStore) -> bytes:
    """The manifest as it is written."""
    return json.dumps(manifest_of(store), indent=1).encode() + b"\n"


def shipped_bytes(store: RunStore) -> int:
    """Size of all files of a store but hidden ones, in bytes."""
    return _size(store.root)


def _entry(store: RunStore, name: str) -> dict[str, Any]:
    run = store.load(name)
    record = (run.folder / "run.json").read_bytes()
    return {
        "command": sweep_command(run.config),
        "weights": "left out" if run.is_light else ("kept" if run.has_adapter else "none"),
        "trained_on": run.record.environment.accelerator or run.record.environment.cpu,
        "core_bytes": len(record) + sum(file.bytes for file in run.record.files.values()),
        "sha256": hashlib.sha256(record).hexdigest(),
    }


def _size(folder: Path) -> int:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return sum(
        path.stat().st_size
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
