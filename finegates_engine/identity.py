"""A run's identity: the hash of all that decides its result, and its readable id. No torch."""

import hashlib
import json

from finegates_engine.config import RunConfig, to_json
from finegates_engine.method_table import METHODS

NUMERICS_VERSION = 2
"""Raised whenever the same config would train to other numbers."""


PATH_PHASES = {"path_open_start": 0.2, "path_ramp": 0.2, "path_finish": 0.6}
"""Left out of the identity: those of all levels from before there was a choice."""

UNREAD_PHASES = {"open_start": 0.2, "ramp": 0.2, "finish": 0.6}
"""What stands in the identity of a method without gates, whatever the config says."""


def cell_hash(config: RunConfig, *, data_hash: str, weights_hash: str) -> str:
    """Twelve hex digits that change with everything that changes the result of a run.

    Where the data lie is not part of it, their content (`data_hash`) and the backbone's
    (`weights_hash`) are. Display options (`history_frames`) are not either, nor is what only
    later levels of a path use.
    """
    plain = to_json(config)
    del plain["task"]["data"], plain["gates"]["history_frames"], plain["model"]["backbone"]
    if not config.path:
        del plain["train"]["path_epochs"], plain["train"]["path_rate"]
    for name, value in PATH_PHASES.items():
        if not config.path or plain["gates"][name] == value:
            del plain["gates"][name]
    if config.method in METHODS and not METHODS[config.method].has_gates:
        plain["gates"] |= UNREAD_PHASES
    if not config.gates.head_step:
        del plain["gates"]["head_step"]
    if config.gates.learn == "gradient":
        del plain["gates"]["learn"]  # the way of all runs from before there was another
    if not config.method_options:
        del plain["method_options"]  # an option that is left out changes no id
    hashes = {"data": data_hash, "weights": weights_hash}
    identity = {"config": plain, **hashes, "numerics": NUMERICS_VERSION}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_id(config: RunConfig, *, data_hash: str, weights_hash: str) -> str:
    """A readable name that ends in the cell's hash: `mrpc-finegates-t0.40-s0-1a2b3c4d5e6f`."""
    digest = cell_hash(config, data_hash=data_hash, weights_hash=weights_hash)
    label = f"{config.method}-path" if config.path else config.method
    return f"{config.task.name}-{label}-t{config.gates.target:.2f}-s{config.seed}-{digest}"
