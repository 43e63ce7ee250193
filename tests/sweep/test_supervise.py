"""Cells handed out to workers: in which order, and what becomes of lost ones. No process, no torch.

The workers are played by a pool that does what a test tells it; runs are copies of a small one.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from run_examples import make_result

from finegates_engine.config import GateConfig, RunConfig
from finegates_engine.runs.core_files import encode
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.order import JobQueue
from finegates_engine.sweep.plan import Job
from finegates_engine.sweep.supervise import Began, Finished, Lost, Message, supervise
from finegates_engine.sweep.training import Arrays, Failure
from finegates_engine.train.progress import Progress


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "store")


def job(store: RunStore, letter: str, *, after: str | None = None, epochs: float = 1.0) -> Job:
    config = RunConfig(gates=GateConfig(target=0.4))
    train = dataclasses.replace(config.train, epochs=epochs)
    return Job(
        run_id=name(letter),
        config=dataclasses.replace(config, train=train),
        after=None if after is None else name(after),
        store=store.root,
        folder=Path("backbone"),
        weights_hash="weights",
    )


def name(letter: str) -> str:
    return f"agreement-finegates-t0.40-s0-{letter * 12}"


def result_files(run_id: str) -> dict[str, bytes]:
    return encode(make_result(run_id=run_id))


class Played:
    """A pool of `size` workers: what the next attempt at a cell leads to is in `script`."""

    def __init__(self, size: int, script: dict[str, list[Message]] | None = None) -> None:
        self.size = size
        self.script = script or {}
        self.running: list[str] = []
        self.started: list[str] = []
        self.adapters: dict[str, Arrays | None] = {}
        self.at_once = 0
        self.closed = False

    def room(self) -> int:
        return self.size - len(self.running)

    def start(self, job: Job, adapter: Arrays | None) -> None:
        self.running.append(job.run_id)
        self.started.append(job.run_id[-1])
        self.adapters[job.run_id[-1]] = adapter
        self.at_once = max(self.at_once, len(self.running))

    def messages(self, seconds: float) -> Iterable[tuple[str, Message]]:
        if not self.running:
            return
        run_id = self.running.pop(0)
        yield run_id, Began("process 7")
        yield run_id, Progress(3, 12, 0.5, 9.0)
        ends = self.script.get(run_id[-1], [])
        yield run_id, ends.pop(0) if ends else Finished(result_files(run_id))

    def close(self) -> None:
        self.closed = True


class Reports:
    """All that was reported, and the last of each cell."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self.last: dict[str, dict[str, Any]] = {}

    def __call__(self, run_id: str, changes: Any) -> None:
        self.all.append((run_id[-1], dict(changes)))
        self.last.setdefault(run_id[-1], {}).update(changes)


def test_every_cell_is_trained_as_many_at_a_time_as_there_is_room_for(store: RunStore) -> None:
    pool, reports = Played(2), Reports()
    supervise([job(store, letter) for letter in "abcd"], pool, reports)
    assert store.ids() == [name(letter) for letter in "abcd"]
    assert pool.at_once == 2
    assert pool.closed
    assert {one["state"] for one in reports.last.values()} == {"done"}
    assert {"step": 3, "steps": 12, "score": 0.5, "seconds_left": 9.0} in [
        r[1] for r in reports.all
    ]
    assert not [path for path in (store.root / ".work").iterdir() if path.is_dir()]


def test_a_cell_waits_for_the_one_that_it_starts_from_and_gets_its_adapter(store: RunStore) -> None:
    pool = Played(4)
    supervise([job(store, "a"), job(store, "b", after="a"), job(store, "c")], pool, Reports())
    assert pool.started == ["a", "c", "b"]
    assert pool.adapters["a"] is None
    assert set(pool.adapters["b"] or {}) == set(store.load(name("a")).adapter)


def test_the_longest_road_is_begun_first(store: RunStore) -> None:
    jobs = [job(store, "a"), job(store, "b"), job(store, "c", after="b"), job(store, "d", epochs=9)]
    pool = Played(1)
    supervise(jobs, pool, Reports())
    assert pool.started == ["d", "b", "a", "c"]
    queue = JobQueue(jobs)
    assert queue.next() == jobs[0]  # without workers: as planned
    assert queue.next(but={jobs[0].run_id, jobs[1].run_id}) == jobs[3]


def test_cells_that_begin_alike_are_not_begun_at_once(store: RunStore) -> None:
    """The first one of each seed is, so that it leaves its opening to the others."""
    base = job(store, "x")
    alike = {
        letter: dataclasses.replace(
            base, run_id=name(letter), config=RunConfig(gates=GateConfig(target=target), seed=seed)
        )
        for letter, target, seed in [("a", 0.2, 0), ("b", 0.4, 0), ("c", 0.2, 1), ("d", 0.4, 1)]
    }
    queue, order = JobQueue(list(alike.values())), []
    while (one := queue.next(longest_first=True)) is not None:
        order.append(one.run_id)
        queue.settle(one.run_id)
    assert order == [name(letter) for letter in "acbd"]


def test_a_lost_worker_s_cell_is_done_again_and_the_state_says_so(store: RunStore) -> None:
    pool, reports = Played(1, {"a": [Lost("process 7 was ended by SIGKILL")]}), Reports()
    supervise([job(store, "a"), job(store, "b")], pool, reports)
    assert pool.started == ["a", "a", "b"]
    assert reports.last["a"]["state"] == "done"
    (lost,) = [change for _, change in reports.all if change.get("retries")]
    assert lost == {
        "state": "planned",
        "worker": None,
        "retries": 1,
        "note": "Its worker was lost: process 7 was ended by SIGKILL. "
        "It goes on from its last checkpoint.",
    }


def test_a_cell_whose_workers_are_lost_again_and_again_fails_with_its_checkpoints(
    store: RunStore,
) -> None:
    (store.scratch(name("a")) / "checkpoint-50").mkdir()
    pool, reports = Played(1, {"a": [Lost("it was ended by SIGKILL")] * 9}), Reports()
    supervise([job(store, "a"), job(store, "b", after="a"), job(store, "c")], pool, reports)
    assert pool.started == ["a", "a", "a", "c"]
    assert {k: one["state"] for k, one in reports.last.items()} == {
        "a": "failed", "b": "skipped", "c": "done",
    }  # fmt: skip
    folder = store.root / ".work" / name("a")
    assert (folder / "checkpoint-50").is_dir()
    told = json.loads((folder / "failed.json").read_text())["error"]
    assert told == reports.last["a"]["note"]
    assert told.startswith("Its worker was lost 3 times, at last because it was ended by SIGKILL.")


def test_a_failure_is_recorded_in_place_of_checkpoints_and_not_tried_again(store: RunStore) -> None:
    (store.scratch(name("a")) / "checkpoint-50").mkdir()
    pool, reports = Played(1, {"a": [Failure("ValueError: bad", "Traceback ...")]}), Reports()
    supervise([job(store, "a")], pool, reports)
    supervise([job(store, "a")], pool, reports)
    assert pool.started == ["a"]
    assert (reports.last["a"]["state"], reports.last["a"]["note"]) == ("failed", "ValueError: bad")
    folder = store.root / ".work" / name("a")
    assert [path.name for path in folder.iterdir()] == ["failed.json"]
    assert json.loads((folder / "failed.json").read_text())["traceback"] == "Traceback ..."


def test_a_result_that_was_damaged_on_its_way_is_a_failure(store: RunStore) -> None:
    files = result_files(name("a"))
    files["history.parquet"] = files["history.parquet"][:-1]
    reports = Reports()
    supervise([job(store, "a")], Played(1, {"a": [Finished(files)]}), reports)
    assert reports.last["a"]["note"] == "history.parquet is not the file that run.json describes"
    assert store.ids() == []


def test_a_cell_of_another_sweep_is_waited_for(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finegates_engine.sweep import supervise as module

    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    lock = store.lock(name("a"))
    lock.acquire()

    class Neighbour(Played):
        looks = 0

        def messages(self, seconds: float) -> Iterable[tuple[str, Message]]:
            self.looks += 1
            if self.looks == 3:
                store.save_files(result_files(name("a")))
                lock.release()
            return super().messages(seconds)

    pool, reports = Neighbour(2), Reports()
    supervise([job(store, "a"), job(store, "b")], pool, reports)
    assert pool.started == ["b"]
    assert ("a", {"note": "Another sweep trains it."}) in reports.all
    assert reports.last["a"]["cached"] is True


def test_an_interrupt_ends_the_workers_and_gives_the_cells_back(store: RunStore) -> None:
    class Interrupted(Played):
        def messages(self, seconds: float) -> Iterable[tuple[str, Message]]:
            raise KeyboardInterrupt

    pool = Interrupted(2)
    with pytest.raises(KeyboardInterrupt):
        supervise([job(store, "a"), job(store, "b")], pool, Reports())
    assert pool.closed
    with store.lock(name("a")), store.lock(name("b")):
        pass
