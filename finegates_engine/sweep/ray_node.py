"""What a node of a Ray cluster does: lay out the backbone once, train a cell, give back the run.

Nothing here needs the store: a node's folder holds the backbones and the checkpoints.
"""

import dataclasses
import gc
import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from finegates_engine.errors import UserError
from finegates_engine.files import write_synced
from finegates_engine.runs.core_files import encode
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.supervise import Began, Finished
from finegates_engine.sweep.training import Arrays, Failure, Inputs, failure_of, train_job

Files = Mapping[str, NDArray[np.uint8]]
"""File name to its bytes, which the processes of a node share."""

BACKBONE_FILES = ("*.json", "*.safetensors")
"""What a training reads of a backbone's folder: rows come tokenised."""


@dataclass(frozen=True, eq=False)
class Order:
    """One attempt at a cell, as it travels to a node."""

    job: Job
    """The cell; its folders are those of the sweep's machine, and not used."""

    adapter: Arrays | None
    """What the run that it starts from has stored."""

    ticket: int
    """In whose name progress is told."""

    backbone: str
    """Digest of the backbone's files, by which a node keeps them."""

    scratch: Path | None
    """A folder for checkpoints that all nodes see. None: the node's own."""

    engine: str
    """Version of the sweep's package (`engine_version`)."""


def train_on_node(
    order: Order, inputs: Inputs, backbone: Files, mailbox: Any
) -> Finished | Failure:
    """One Ray task: train a cell, whose progress goes to the mailbox; the run or the failure."""

    def tell(message: object) -> None:
        mailbox.put.remote(order.ticket, message)

    try:
        _check_engine(order.engine)
        tell(Began(f"{_node_name()}, process {os.getpid()}"))
        root = node_folder()
        job = dataclasses.replace(
            order.job,
            store=order.scratch or root,
            folder=lay_out(backbone, root / "backbones" / order.backbone),
        )
        files = encode(train_job(job, inputs, adapter=order.adapter, on_progress=tell))
        RunStore(job.store).clear_scratch(job.run_id)
        return Finished(files)
    except Exception as error:
        return failure_of(error)
    finally:
        gc.collect()  # the process will train other cells: Trainer and callbacks hold each other


def read_backbone(folder: Path) -> Files:
    """The files of a backbone that a training reads."""
    names = {path for pattern in BACKBONE_FILES for path in folder.glob(pattern)}
    return {path.name: np.asarray(np.memmap(path, np.uint8, "r")) for path in sorted(names)}


def digest_of(files: Files) -> str:
    """SHA-256 over names and content."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)} ".encode())
        digest.update(data.data)
    return digest.hexdigest()


def lay_out(files: Files, folder: Path) -> Path:
    """Write a backbone's files into a folder, once for all processes of a node; the folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            making = Path(tempfile.mkdtemp(dir=folder.parent))
            for name, data in files.items():
                write_synced(making / Path(name).name, data.data)
            making.rename(folder)
    return folder


def node_folder() -> Path:
    """The folder of this user on this node. Raises UserError where it is not this user's alone."""
    folder = Path(tempfile.gettempdir()) / f"finegates-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise UserError(
            f"Folder {str(folder)!r} of node {_node_name()} belongs to somebody else, or others "
            "may write there. Remove it, or set TMPDIR to another place."
        )
    return folder


def engine_version() -> str:
    """Version of this package, and of its numerics."""
    from finegates_engine import __version__
    from finegates_engine.identity import NUMERICS_VERSION

    return f"{__version__}, numerics {NUMERICS_VERSION}"


def _check_engine(wanted: str) -> None:
    if engine_version() != wanted:
        raise UserError(
            f"Node {_node_name()} has finegates-explorer {engine_version()}, the sweep has "
            f"{wanted}. Install the same version on all nodes."
        )


def _node_name() -> str:
    import ray.util

    return str(ray.util.get_node_ip_address())
