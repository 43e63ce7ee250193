"""What a run ran on: versions, machine, commit. No names, no paths, no torch."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass

from finegates_engine import __version__
from finegates_engine.validation import PRINTABLE

_STRICT = ConfigDict(extra="forbid")
_Short = Annotated[str, StringConstraints(max_length=256, pattern=PRINTABLE)]

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
)
"""Packages whose version can change a number."""

_GIT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Environment:
    """Software and hardware of a run; nothing that names a person, a host or a folder."""

    versions: dict[_Short, _Short | None] = Field(max_length=200)
    """Python, this engine and packages. None: not installed."""

    platform: _Short
    """Operating system, its release and the architecture."""

    cpu: _Short | None
    """Model of the CPU."""

    cores: int = Field(ge=1, le=2**20)
    """Logical cores that this process may use."""

    accelerator: _Short | None
    """Model of the GPU that was used. None: the CPU did the work."""

    commit: _Short | None
    """Git commit of the engine's source. None: not run from a checkout."""

    dirty: bool | None
    """Whether the engine's source differed from the commit. None: not run from a checkout."""


def collect_environment(*, accelerator: str | None = None) -> Environment:
    """The environment of this process. `accelerator` is said by whoever has torch."""
    commit, dirty = _checkout(Path(__file__).resolve().parent)
    versions: dict[str, str | None] = {name: _version(name) for name in PACKAGES}
    versions |= {"python": platform.python_version(), "finegates_engine": __version__}
    return Environment(
        versions=versions,
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_model(),
        cores=cores(),
        accelerator=accelerator,
        commit=commit,
        dirty=dirty,
    )


def load_average() -> float | None:
    """Mean number of processes that wanted a core over the last minute. None: not told here."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cores() -> int:
    """Logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or None


def _checkout(source: Path) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the folder `source`, or (None, None) where git does not track it."""
    if _git(source, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git(source, "rev-parse", "--verify", "HEAD")
    changes = _git(source, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return None, None
    return commit.strip(), bool(changes.strip())


def _git(folder: Path, *arguments: str) -> str | None:
    # In a git hook, GIT_DIR and the like name another repository.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603  (arguments are ours)
            ["git", "-C", str(folder), *arguments],  # noqa: S607  (whichever git the user has)
            env=inherited | {"GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
