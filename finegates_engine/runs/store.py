"""The run store: save, load, list and delete runs on disk. No torch.

<root>/<task>/<run id>/run.json ...   the runs; each appears by one rename
<root>/.work/<run id>/                scratch of a cell that is being trained
<root>/.work/openings/                first steps that several cells have in common
<root>/.work/<run id>.lock            held while a cell is being trained
<root>/.index.parquet                 a cache of the listing
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

import filelock
import pandas as pd

from finegates_engine.errors import DiskError, UserError
from finegates_engine.files import (
    Damaged,
    full_disk,
    inside,
    probe,
    sync_folder,
    write_atomic,
    write_synced,
)
from finegates_engine.results import RunRecord, RunResult
from finegates_engine.runs.core_files import decode, encode
from finegates_engine.runs.index import RUN_ID, Damage, list_runs
from finegates_engine.runs.names import checked, resolved
from finegates_engine.runs.stored_run import LATER_BYTES, StoredRun, json_object, read_record

__all__ = ["Damage", "Damaged", "RunStore", "StoredRun"]

_IN_THE_WAY = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
_LATER = re.compile(r"certificate\.json|timings/[A-Za-z0-9][A-Za-z0-9_-]{0,79}\.json")


class RunStore:
    """Runs below one folder, which may be missing (no runs) or read-only."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def check_writable(self) -> None:
        """Raises UserError unless a run could be saved; to be called before a training."""
        try:
            probe(self._work())
        except OSError as error:
            raise UserError(
                f"Store {str(self.root)!r} cannot be written ({error.strerror or error}). "
                "Choose another folder with --store, or change its permissions."
            ) from error

    def save(self, result: RunResult) -> bool:
        """Write a run, complete or not at all.

        True when it was written. False when an intact run of this id is there already: a run
        never changes, and the first to be saved stays. A damaged one is set aside in
        `.work/damaged`. Raises UserError where the store cannot be written: DiskError, where only
        its disk is to blame.
        """
        return self.save_files(encode(result))

    def save_files(self, files: Mapping[str, bytes]) -> bool:
        """Like `save`, of a run that was encoded elsewhere. Raises Damaged if it is not whole."""
        record = decode(files)
        name, task = checked(record.run_id), record.config.task.name
        if not name.startswith(f"{task}-"):
            raise UserError(f"Run id {name!r} must begin with its task, {task!r}.")
        if self.exists(name):
            return False
        return self._saved(name, task, files)

    def put(self, record: RunRecord, files: dict[str, bytes]) -> None:
        """Write a copy of another store's run, complete or not at all; one that is here gives way.

        files: name to content of its core, run.json among them. Raises UserError where the store
        cannot be written.
        """
        name = checked(record.run_id)
        if (before := self._folder(name)) is not None:
            self._set_aside(before, "replaced")
        self._saved(name, record.config.task.name, files)

    def _saved(self, name: str, task: str, files: Mapping[str, bytes]) -> bool:
        try:
            return self._publish(name, self.root / task / name, files)
        except OSError as error:
            kind = DiskError if full_disk(error) else UserError
            raise kind(
                f"Run {name!r} could not be saved in {str(self.root)!r} "
                f"({error.strerror or error})."
            ) from error

    def exists(self, run_id: str) -> bool:
        """Whether an intact run of this id is there; checksums are not computed."""
        folder = self._folder(checked(run_id))
        if folder is None:
            return False
        try:
            self._record(folder)
        except Damaged:
            return False
        return True

    def load(self, run_id: str) -> StoredRun:
        """The run of this id; tables and arrays follow when they are asked for.

        Raises UserError for an unknown id, Damaged for a run that cannot be used.
        """
        folder = self._folder(checked(run_id))
        if folder is None:
            raise UserError(
                f"Run {run_id!r} is not in the store {str(self.root)!r}. "
                "`finegates runs` lists those that are."
            )
        try:
            return StoredRun(self._record(folder), folder, self.root)
        except Damaged as error:
            if not os.path.lexists(folder):  # deleted since it was found
                return self.load(run_id)
            raise Damaged(f"Run {run_id!r} is damaged: {error}.") from error

    def ids(self) -> list[str]:
        """Ids of all intact runs, by task and id."""
        return [str(name) for name in self.frame()["run_id"]]

    def find(self, text: str) -> StoredRun:
        """The run that `text` names, as in `resolve`. Raises UserError where it is not just one."""
        if any(mark in text for mark in "/\\") or text.startswith("."):
            checked(text)
        return self.load(text if RUN_ID.fullmatch(text) else self.resolve(text))

    def resolve(self, text: str) -> str:
        """The one run id that `text` means (see `names.resolved`)."""
        return resolved(text, self.ids(), where=f"the store {str(self.root)!r}")

    def frame(self) -> pd.DataFrame:
        """One row an intact run, ordered by task and id; missing values are NaN.

        run_id, task, backbone, method, seed, the rungs of the ladder, costs and has_... have
        plain names; config fields are `gates.axes`, scores `metrics.<split>.<name>`.
        """
        return list_runs(self.root)[0]

    def damaged(self, *, verify: bool = False) -> list[tuple[str, str]]:
        """(path in the store, reason) of all that is skipped.

        verify: also read every file of every run and compare checksums, which takes its time.
        """
        frame, damaged = list_runs(self.root)
        found = [(item.path, item.reason) for item in damaged]
        if verify:
            for task, name in zip(frame["task"], frame["run_id"], strict=True):
                try:
                    self.load(name).verify()
                except UserError as error:
                    found.append((f"{task}/{name}", str(error)))
        return found

    def delete(self, run_id: str) -> None:
        """Remove a run, damaged or not. Raises UserError for an unknown id."""
        folder = self._folder(checked(run_id))
        if folder is None:
            raise UserError(f"Run {run_id!r} is not in the store {str(self.root)!r}.")
        try:
            aside = self._set_aside(folder, "deleted")
            if aside.is_symlink():
                aside.unlink()
            else:
                shutil.rmtree(aside)
        except OSError as error:
            raise UserError(
                f"Run {run_id!r} could not be deleted ({error.strerror or error})."
            ) from error

    def add_file(self, run_id: str, name: str, data: bytes) -> None:
        """Add or replace certificate.json or timings/<fingerprint>.json, a JSON object.

        The core of the run is untouched. Raises UserError for another name, or other content.
        """
        if not _LATER.fullmatch(name):
            raise UserError(
                f"File {name!r} cannot be added to a run. Choose certificate.json or "
                "timings/<fingerprint>.json."
            )
        if len(data) > LATER_BYTES:
            raise UserError(f"{name} has {len(data):,} bytes, at most {LATER_BYTES:,} are kept.")
        json_object(data, name)
        path = self.load(run_id).folder / name
        try:
            path.parent.mkdir(exist_ok=True)
            if not inside(path.parent, self.root):
                raise UserError(f"The folder of {name} is a link that leads out of the store.")
            write_atomic(path, data)
        except OSError as error:
            raise UserError(
                f"{name} of run {run_id!r} could not be saved ({error.strerror or error})."
            ) from error

    def scratch(self, run_id: str) -> Path:
        """A folder for the training of one cell, made if needed; whoever uses it has the lock."""
        folder = self._work() / checked(run_id)
        folder.mkdir(exist_ok=True)
        return folder

    def openings(self) -> Path:
        """A folder for first steps that several cells have in common, made if needed."""
        folder = self._work() / "openings"
        folder.mkdir(exist_ok=True)
        return folder

    def left_of(self, run_id: str) -> list[Path]:
        """Folders in which a cell is or was trained and saved."""
        patterns = (checked(run_id), f"saving-{run_id}-*")
        return [path for pattern in patterns for path in (self.root / ".work").glob(pattern)]

    def clear_scratch(self, run_id: str) -> None:
        """Remove what `left_of` names; to be called with the cell's lock held."""
        for folder in self.left_of(run_id):
            shutil.rmtree(folder, ignore_errors=True)

    def lock(self, run_id: str) -> filelock.BaseFileLock:
        """The lock of one cell. Entering it raises `filelock.Timeout` at once while another
        process has it; the system releases it when its holder dies."""
        return filelock.FileLock(self._work() / f"{checked(run_id)}.lock", blocking=False)

    def _work(self) -> Path:
        work = self.root / ".work"
        work.mkdir(parents=True, exist_ok=True)
        return work

    def _folder(self, run_id: str) -> Path | None:
        """Where a run lies, damaged or not. None: nowhere."""
        with contextlib.suppress(OSError), os.scandir(self.root) as entries:
            for entry in entries:
                folder = self.root / entry.name / run_id
                if run_id.startswith(f"{entry.name}-") and os.path.lexists(folder):
                    return folder
        return None

    def _record(self, folder: Path) -> RunRecord:
        if not inside(folder, self.root):
            raise Damaged("its folder is a link that leads out of the store")
        return read_record(folder, root=self.root)

    def _publish(self, name: str, target: Path, files: Mapping[str, bytes]) -> bool:
        temporary = self._work() / f"saving-{name}-{secrets.token_hex(6)}"
        temporary.mkdir()
        try:
            for file, data in files.items():
                write_synced(temporary / file, data)
            sync_folder(temporary)
            target.parent.mkdir(exist_ok=True)
            while not _renamed(temporary, target):
                if self.exists(name):
                    return False
                with contextlib.suppress(FileNotFoundError):
                    self._set_aside(target, "damaged")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync_folder(target.parent)
        return True

    def _set_aside(self, folder: Path, kind: str) -> Path:
        """Move a run out of the listing by one rename; where it lies then."""
        place = self._work() / kind
        place.mkdir(exist_ok=True)
        aside = place / f"{folder.name}-{secrets.token_hex(6)}"
        os.rename(folder, aside)
        return aside


def _renamed(source: Path, target: Path) -> bool:
    """Whether the rename was done; False where a run is in the way, or was until a moment ago."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in _IN_THE_WAY or os.path.lexists(target):
            return False
        raise
    return True
