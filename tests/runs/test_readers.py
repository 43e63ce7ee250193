"""Many read a store while others save the same runs and delete them: nobody fails."""

import contextlib
import errno
import os
import signal
import time
import traceback
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
        except BaseException:
            traceback.print_exc()
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
            with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it has failed
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    print(f"{seen} runs were read whole beside {writers} writers")


def test_run_that_was_in_the_way_and_is_gone_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process deletes it between the rename that fails and the look at why."""
    real, tries = os.rename, []

    def rename(source: Path, target: Path) -> None:
        tries.append(source)
        if len(tries) == 1:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        real(source, target)

    store = RunStore(tmp_path / "store")
    monkeypatch.setattr(os, "rename", rename)
    assert store.save(make_result())
    assert store.ids() == [make_result().run_id]
    assert store.damaged(verify=True) == []


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
