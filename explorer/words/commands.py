"""Commands that make what a page lacks or offers, to be copied into a terminal. No Streamlit.

A store is given as a word of the shell. The engine's commands are imported where they are shown:
they bring the whole command line with them.
"""

import dataclasses

from finegates_engine.config import ModelConfig, RunConfig

LEVELS = (0.0, 0.3, 0.5, 0.7)
"""Targets from nothing removed to most of it."""

FRAMES = 24
"""Moments of a training of which a movie is made."""


def train_levels(config: RunConfig, store: str) -> str:
    """FineGates at several targets, on the rows and the backbone of a run."""
    from finegates_engine.sweep.command import sweep_command

    plain = RunConfig(task=config.task, model=ModelConfig(backbone=config.model.backbone))
    return f"{sweep_command(plain, targets=LEVELS)} --store {store}"


def keep_movie(config: RunConfig) -> str:
    """The run again with a history of its gates, in a store of its own: this one has it already."""
    from finegates_engine.sweep.command import remake_command

    gates = dataclasses.replace(config.gates, history_frames=FRAMES)
    return remake_command(dataclasses.replace(config, gates=gates))


def take(run_id: str, store: str, again: str | None) -> str:
    """What makes a run's portable bundle. again: what trains a light run first, if it is one."""
    return _after(
        again, [f"finegates prune {run_id} --store {_place(store, again)} --out {run_id}"]
    )


def measure(run_id: str, store: str, again: str | None) -> str:
    """What measures a run: its certificate, then its times. again: as in `take`."""
    place = _place(store, again)
    return _after(
        again, [f"finegates {name} {run_id} --store {place}" for name in ("prune", "bench")]
    )


def _place(store: str, again: str | None) -> str:
    if again is None:
        return store
    from finegates_engine.sweep.command import REMADE

    return REMADE


def _after(again: str | None, lines: list[str]) -> str:
    return "\n".join(lines if again is None else [again, *lines])
