"""Finished runs copied into the store that goes with the project, whole or light. No torch."""

import dataclasses
import fnmatch
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finegates_engine.config import RunConfig
from finegates_engine.errors import UserError
from finegates_engine.files import read_file
from finegates_engine.results import VALUE, LeftOut, RunRecord
from finegates_engine.runs.core_files import (
    ADAPTER,
    GATE_HISTORY,
    GATES,
    array_bytes,
    core_content,
    describe,
    record_bytes,
)
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import RECORD_BYTES, StoredRun
from finegates_engine.shipping.manifest import shipped_bytes, write_manifest
from finegates_engine.sweep.command import remake_command

MEGABYTE = 10**6
LIMIT_MB = 40
"""All that ships with the project, in megabytes."""

Outcome = Literal["whole", "light", "there"]


@dataclass(frozen=True)
class Copied:
    """What became of one run."""

    run_id: str
    outcome: Outcome
    """As what it was copied; "there": it was in the store already, and stays."""


def ship(
    source: RunStore,
    out: RunStore,
    *,
    whole: Callable[[RunRecord], bool],
    only: str = "*",
    limit_mb: float = LIMIT_MB,
    on_run: Callable[[Copied], None] = lambda _: None,
) -> list[Copied]:
    """Copy the finished runs of `source` whose id fits `only`, and write the manifest.

    A run for which `whole` is true keeps adapter and gate history, another is light: its final
    gates stay. What is in `out` stays as it is; only a light run gives way to a whole one.
    Certificates and timings that `out` lacks follow. Each run appears by one rename, so that the
    same call goes on where another was killed; the manifest is written at the end, also when
    an error ends it. Raises UserError for a pattern that fits nothing, a damaged run, or a store
    that would grow beyond limit_mb; what was copied until then stays.
    """
    names = fnmatch.filter(source.ids(), only)
    if not names:
        raise UserError(
            f"No run of the store {str(source.root)!r} fits {only!r}. `finegates runs` lists all."
        )
    copied = []
    try:
        for name in names:
            run = source.load(name)
            run.verify()
            copied.append(Copied(name, _copy(run, out, whole(run.record), limit_mb * MEGABYTE)))
            on_run(copied[-1])
    finally:
        write_manifest(out)
    return copied


def shipped_core(run: StoredRun, *, whole: bool) -> dict[str, bytes]:
    """File name to content of the copy's core; packed, and without paths of this machine."""
    files = core_content(run.history, run.predictions, {}, None)
    left_out = run.record.left_out
    if whole and not run.is_light:
        files = core_content(run.history, run.predictions, run.adapter, run.gate_history)
    else:
        values = {VALUE + name: vector for name, vector in run.gate_values.items()}
        files |= {GATES: array_bytes(values)} if values else {}
        gone = {n: f for n, f in run.record.files.items() if n in (ADAPTER, GATE_HISTORY)}
        if left_out is None and gone:
            left_out = LeftOut(files=gone, remake=remake_command(run.config))
    record = dataclasses.replace(
        run.record,
        config=without_paths(run.record),
        files={name: describe(data) for name, data in files.items()},
        left_out=left_out,
    )
    return files | {"run.json": record_bytes(record)}


def without_paths(record: RunRecord) -> RunConfig:
    """The config with names in place of paths: of the rows, and of a local backbone."""
    config = record.config
    data = config.task.data and Path(config.task.data).name
    return dataclasses.replace(
        config,
        task=dataclasses.replace(config.task, data=data),
        model=dataclasses.replace(config.model, backbone=record.identity.base_weights),
    )


def _copy(run: StoredRun, out: RunStore, whole: bool, limit: float) -> Outcome:
    wanted: Outcome = "whole" if whole and not run.is_light else "light"
    if not run.record.files.keys() & {ADAPTER, GATES}:
        wanted = "whole"  # nothing of it is left out
    outcome: Outcome = "there"
    if not out.exists(run.run_id) or (wanted == "whole" and out.load(run.run_id).is_light):
        files = shipped_core(run, whole=wanted == "whole")
        _check_room(run, out, sum(map(len, files.values())), limit)
        out.put(run.record, files)
        outcome = wanted
    for name, data in _later_files(run):
        if not (out.load(run.run_id).folder / name).exists():
            out.add_file(run.run_id, name, data)
    return outcome


def _check_room(run: StoredRun, out: RunStore, size: int, limit: float) -> None:
    total = shipped_bytes(out) + size
    if total > limit:
        raise UserError(
            f"With run {run.run_id!r} the store {str(out.root)!r} would have "
            f"{total / MEGABYTE:.1f} MB, at most {limit / MEGABYTE:g} MB are allowed. Ship fewer "
            "runs with their weights (--weights-of-seed, --only), or pass another --limit-mb."
        )


def _later_files(run: StoredRun) -> Iterator[tuple[str, bytes]]:
    folder = run.folder
    for path in (folder / "certificate.json", *sorted((folder / "timings").glob("[!.]*.json"))):
        if path.exists():
            name = str(path.relative_to(folder).as_posix())
            yield name, read_file(path, root=run.root, limit=RECORD_BYTES)


def check_stores(source: Path, out: Path) -> None:
    """Raises UserError where both are one folder, or the source is none."""
    if not source.is_dir():
        raise UserError(f"Store {str(source)!r} is not a folder. Pass one with finished runs.")
    if out.exists() and source.resolve() == out.resolve():
        raise UserError(f"Store {str(source)!r} cannot be shipped into itself. Pass another --out.")
