"""What a store's folder holds, and processes that work on a store."""

import os
import subprocess
import sys
import textwrap

from tiny import REPOSITORY

CORE = {
    "run.json",
    "history.parquet",
    "predictions.parquet",
    "adapter.safetensors",
    "gate_history.safetensors",
}


def leftovers(store):
    """What lies in the work folder, locks aside."""
    work = store.root / ".work"
    if not work.exists():
        return []
    return [p.name for p in work.rglob("*") if p.is_file() and not p.name.endswith(".lock")]


def start(code, *arguments):
    """A process that runs `code`, which may import what these tests do."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["tests", *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
