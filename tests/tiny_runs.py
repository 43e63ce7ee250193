"""Trained tiny runs in a store of their own, made once a process and copied for each test."""

import functools
import shutil
import tempfile
from pathlib import Path

from tiny import save_tiny_backbone, tiny_config, write_task

from finegates_engine.backbone import weights_hash
from finegates_engine.data.load import load_task
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.train.cell import train

_KEEP: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def places() -> tuple[Path, Path]:
    """(backbone, task): folders that all tiny runs share."""
    _KEEP.append(tempfile.TemporaryDirectory())
    root = Path(_KEEP[-1].name)
    return save_tiny_backbone(root / "tiny-bert"), write_task(root / "reviews")


@functools.cache
def _trained(pooling: str) -> tuple[Path, str]:
    backbone, task = places()
    config = tiny_config(backbone, task, model={"pooling": pooling}, gates={"target": 0.4})
    root = backbone.parent / f"store-{pooling}"
    scratch = backbone.parent / f"scratch-{pooling}"
    scratch.mkdir()
    result = train(
        config,
        load_task(config.task),
        folder=backbone,
        weights_hash=weights_hash(backbone),
        scratch=scratch,
    )
    RunStore(root).save(result)
    return root, result.run_id


def tiny_run(folder: Path, *, pooling: str = "mean") -> tuple[RunStore, StoredRun]:
    """A store below `folder` with one trained run, 40% of its encoder weights removed."""
    root, run_id = _trained(pooling)
    shutil.copytree(root, folder / "store", dirs_exist_ok=True)
    store = RunStore(folder / "store")
    return store, store.load(run_id)
