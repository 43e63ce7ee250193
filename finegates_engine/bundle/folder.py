"""A folder that appears whole or not at all, and replaces nothing but a bundle. No torch."""

import contextlib
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from finegates_engine.errors import UserError
from finegates_engine.files import held_folder, sync_folder

BUNDLE_FORMAT = "finegates-bundle"
MANIFEST_FILE = "manifest.json"
"""Every file of a bundle but itself."""

_SHOWN = 3


def check_target(target: Path, *, force: bool) -> None:
    """Raises UserError unless a bundle may be written there: nothing, an empty folder or, with
    `force`, a bundle with no other files in it."""
    name = str(target)
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise UserError(f"{name!r} is a file, not a folder. Choose another with --out.")
    try:
        found = _files(target)
    except OSError as error:
        raise UserError(f"{name!r} cannot be read ({error.strerror or error}).") from error
    if not found and not any(target.iterdir()):
        return
    own = _own_files(target)
    if own is None:
        raise UserError(f"{name!r} is not empty and no bundle. Choose another folder with --out.")
    if not force:
        raise UserError(f"{name!r} is a bundle already. Choose another folder, or pass --force.")
    if other := sorted(found - own):
        more = "" if len(other) <= _SHOWN else f" and {len(other) - _SHOWN} more"
        raise UserError(
            f"{name!r} holds files that are not of its bundle: {', '.join(other[:_SHOWN])}{more}. "
            "Move them away, or choose another folder with --out."
        )


@contextlib.contextmanager
def new_folder(target: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `target` to be filled, which takes its name when all went well.

    Whatever goes wrong, `target` is as it was, and what a process that was killed here has left
    beside it is cleared. Raises UserError as `check_target` does, and where
    the disk or permissions do not allow it.
    """
    target = target.resolve()
    _clear_killed(target)
    check_target(target, force=force)
    made = _missing_parents(target)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(6)}.tmp"
    try:
        with said_plainly(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
        with held_folder(temporary):
            yield temporary
            check_target(target, force=force)
            with said_plainly(target):
                _settle(temporary)
                _publish(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _clear_killed(target: Path) -> None:
    """Remove what killed processes have left beside `target`; an older bundle that one of them
    had moved aside takes its place again."""
    for aside in sorted(target.parent.glob(f".{glob.escape(target.name)}.*.old")):
        with contextlib.suppress(OSError), held_folder(aside):
            if not os.path.lexists(target):
                os.rename(aside, target)
    for kind in ("old", "tmp"):
        for folder in target.parent.glob(f".{glob.escape(target.name)}.*.{kind}"):
            with contextlib.suppress(OSError), held_folder(folder):
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def said_plainly(target: Path) -> Iterator[None]:
    """Errors of the disk as a UserError that names the folder."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Bundle {str(target)!r} could not be written ({reason}). Nothing of it was kept. "
            "Free some space, change permissions, or choose another folder with --out."
        ) from error


def _own_files(folder: Path) -> set[str] | None:
    """Files of the bundle in a folder. None: there is none."""
    try:
        values = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        own = {*values["files"], MANIFEST_FILE} if values["format"] == BUNDLE_FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return own


def _files(folder: Path) -> set[str]:
    """Names of all files in a folder, but for what Python compiles."""
    paths = (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    names = (path.relative_to(folder) for path in paths)
    return {name.as_posix() for name in names if "__pycache__" not in name.parts}


def _missing_parents(target: Path) -> list[Path]:
    """Folders above it that are not there, the innermost first."""
    return [folder for folder in target.parents if not folder.exists()]


def _settle(folder: Path) -> None:
    """Everything readable as the folder is, and on the disk."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)  # safetensors makes files for their owner alone
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _publish(temporary: Path, target: Path) -> None:
    if target.is_dir() and any(target.iterdir()):
        aside = target.parent / f".{target.name}.{secrets.token_hex(6)}.old"
        with held_folder(target):  # also when it is moved aside
            os.rename(target, aside)
            try:
                os.rename(temporary, target)
            except BaseException:
                os.rename(aside, target)
                raise
            shutil.rmtree(aside, ignore_errors=True)
    else:
        os.rename(temporary, target)
    sync_folder(target.parent)
