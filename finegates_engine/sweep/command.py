"""The command that trains a stored run again. No torch."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finegates_engine.config import RunConfig, to_json
from finegates_engine.sweep.options import config_options

REMADE = "remade"
"""Store for runs that are trained again."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def sweep_command(config: RunConfig, *, targets: Sequence[float] | None = None) -> str:
    """The command that trains this run again, where the folders of this machine are left out.

    DIR stands for the folder in which the rows lie, BACKBONE for a local backbone. targets: other
    levels than the run's own.
    """
    ours, default = to_json(config), to_json(RunConfig())
    words = ["finegates", "sweep"]
    for option in config_options():
        part, name = option.place
        value, usual = (values[part][name] if part else values[name] for values in (ours, default))
        if option.place == ("task", "data"):
            value = None if value is None else f"DIR/{Path(value).name}"
        if option.place == ("model", "backbone") and not _HUB_ID.fullmatch(value):
            value = "BACKBONE"
        if value != usual:
            words += _option(option.parameter.replace("_", "-"), value)
    levels = (*config.path, config.gates.target) if targets is None else targets
    words += ["--targets", ",".join(f"{level!r}" for level in levels), "--seeds", str(config.seed)]
    words += ["--strategy", "path"] if config.path else []
    return shlex.join(words)


def remake_command(config: RunConfig) -> str:
    """The same in a store of its own, for a run that a store has without its weights."""
    return f"{sweep_command(config)} --store {REMADE}"


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if name == "method-options":
        value = [f"{key}={number!r}" for key, number in value]
    return [f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
