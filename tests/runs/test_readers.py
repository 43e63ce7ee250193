"""Many read a store while others save the same runs and delete them: nobody fails."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from run_examples import make_config, make_result

from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.runs.store import RunStore

SEEDS = range(4)


def forked(work: Callable[[], None]) -> int:
    """A process that calls `work` until it is killed; its id."""
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                work()
        finally:
            os._exit(1)
    return pid


@pytest.mark.parametrize(
    ("writers", "seconds"), [(2, 2.0), pytest.param(4, 60.0, marks=pytest.mark.slow)]
)
def test_readers_see_whole_runs_or_none(tmp_path: Path, writers: int, seconds: float) -> None:
    results = [make_result(make_config(seed=seed)) for seed in SEEDS]

    def save_and_delete() -> None:
        for result in results:
            store.save(result)
        for result in results:
            with contextlib.suppress(UserError):  # another one was faster
                store.delete(result.run_id)

    store = RunStore(tmp_path / "store")
    children = [forked(save_and_delete) for _ in range(writers)]
    seen, end = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < end or not seen:
            assert store.damaged() == []
            for name in store.ids():
                seen += _whole(store, name)
            assert [os.waitpid(pid, os.WNOHANG)[0] for pid in children] == [0] * writers
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    print(f"{seen} runs were read whole beside {writers} writers")


def _whole(store: RunStore, name: str) -> bool:
    """Whether a run is there; one that is there has all its files, or goes just now."""
    try:
        run = store.load(name)
    except Damaged:
        raise
    except UserError:
        return False
    try:
        run.verify()
    except Damaged:
        assert not run.folder.exists() or store.load(name).run_id == name
        return False
    return True
