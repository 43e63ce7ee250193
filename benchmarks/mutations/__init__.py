"""Damage to one run of a store, for `benchmarks/damage.py`. Reproducible by a seed.

A mutation is a function of a victim and a generator. Those in MUST_BE_NAMED change what a reader
must notice; others, such as a changed number in run.json, can leave a run that is whole.
"""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORE = (
    "adapter.safetensors",
    "gate_history.safetensors",
    "history.parquet",
    "predictions.parquet",
)


@dataclass(frozen=True)
class Victim:
    """The run that is damaged, and a folder outside of the store that nothing may read."""

    folder: Path
    outside: Path

    @property
    def root(self) -> Path:
        """The store."""
        return self.folder.parents[1]

    def there(self, *names: str) -> list[str]:
        """Files of the run, of these names or all, timings included."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        found = [str(path.relative_to(self.folder)) for path in files]
        return [name for name in found if not names or name in names]

    def write(self, name: str, data: bytes) -> None:
        """Replace a file; it may be a hard link into the store that is copied."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def seal(self, name: str, data: bytes) -> None:
        """Replace a core file, its size and its checksum, as someone would who means it."""
        self.write(name, data)
        record = json.loads((self.folder / "run.json").read_bytes())
        digest = hashlib.sha256(data).hexdigest()
        record["files"][name] = {"bytes": len(data), "sha256": digest}
        self.write("run.json", json.dumps(record).encode())


Mutation = Callable[[Victim, random.Random], Any]
MUTATIONS: dict[str, Mutation] = {}
MUST_BE_NAMED: set[str] = set()


def mutation(*, must: bool = True) -> Callable[[Mutation], Mutation]:
    """Register a mutation. must: a reader must notice it."""

    def register(function: Mutation) -> Mutation:
        name = function.__name__
        MUTATIONS[name] = function
        if must:
            MUST_BE_NAMED.add(name)
        return function

    return register
