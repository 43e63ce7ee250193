"""One job at a time: the queue, its process, and what happens when that dies."""

import sys
import time
from collections.abc import Callable, Iterator

import pytest

from explorer.processes import worker
from explorer.processes.worker import Job, Worker
from finegates_engine.errors import UserError

PROCESS = """
import json, os, sys, threading, queue, time
jobs, cancelled = queue.Queue(), set()
def say(**event):
    print(json.dumps(event), flush=True)
def read():
    for line in sys.stdin:
        message = json.loads(line)
        cancelled.add(message["cancel"]) if "cancel" in message else jobs.put(message)
    os._exit(0)
threading.Thread(target=read, daemon=True).start()
say(hello={"accelerator": None, "cores": 3})
while True:
    job = jobs.get()
    name, kind, arguments = job["id"], job["kind"], job["arguments"]
    say(id=name, progress="at work", share=0.5)
    if arguments.get("die"):
        os._exit(7)
    if arguments.get("noise"):
        print("this is no JSON", flush=True)
    end = time.time() + arguments.get("seconds", 0)
    while time.time() < end and (name not in cancelled or arguments.get("deaf")):
        time.sleep(0.01)
    if name in cancelled:
        say(id=name, error="stopped")
    elif "error" in arguments:
        say(id=name, error=arguments["error"])
    else:
        say(id=name, result={"pid": os.getpid(), **arguments})
"""


@pytest.fixture
def work() -> Iterator[Worker]:
    made = Worker((sys.executable, "-c", PROCESS))
    yield made
    made.close()


def until(true: Callable[[], object], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def done(job: Job) -> Job:
    until(lambda: job.finished)
    return job


def test_jobs_are_done_by_one_process_that_stays(work: Worker) -> None:
    one, two = (done(work.submit("predict", number=number)) for number in (1, 2))
    assert one.result is not None
    assert two.result is not None
    assert (one.result["number"], two.result["number"]) == (1, 2)
    assert one.result["pid"] == two.result["pid"]
    assert work.machine == {"accelerator": None, "cores": 3}


def test_second_user_is_queued_and_told_how_many_come_before(work: Worker) -> None:
    jobs = [work.submit("race", seconds=0.6), work.submit("race"), work.submit("race")]
    until(lambda: jobs[0].state == "running")
    assert [work.ahead(job) for job in jobs] == [0, 1, 2]
    assert [job.state for job in jobs[1:]] == ["waiting", "waiting"]
    done(jobs[2])
    assert [job.state for job in jobs] == ["done"] * 3


def test_error_of_a_job_is_passed_on_and_the_next_goes_on(work: Worker) -> None:
    job = done(work.submit("predict", error="Choose another run."))
    assert (job.state, job.error) == ("failed", "Choose another run.")
    assert done(work.submit("predict")).state == "done"


def test_waiting_job_can_be_cancelled(work: Worker) -> None:
    first, second = work.submit("race", seconds=0.5), work.submit("race")
    until(lambda: first.state == "running")
    work.cancel(second)
    assert second.state == "cancelled"
    assert done(first).state == "done"


def test_running_race_stops_when_it_is_cancelled(work: Worker) -> None:
    job = work.submit("race", seconds=60)
    until(lambda: job.progress == "at work")
    work.cancel(job)
    assert done(job).state == "cancelled"
    assert done(work.submit("predict")).state == "done"


def test_short_job_is_cancelled_at_once_and_its_process_stays(work: Worker) -> None:
    before = done(work.submit("predict")).result
    job = work.submit("levels", seconds=0.5)
    until(lambda: job.state == "running")
    work.cancel(job)
    assert job.state == "cancelled"
    after = done(work.submit("predict")).result
    assert before is not None
    assert after is not None
    assert after["pid"] == before["pid"]
    assert job.state == "cancelled"


def test_race_that_does_not_stop_loses_its_process(
    work: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.2)
    job = work.submit("race", seconds=60, deaf=True)
    until(lambda: job.progress == "at work")
    work.cancel(job)
    assert done(job).state == "cancelled"
    assert done(work.submit("predict")).state == "done"


def test_job_that_hangs_is_stopped_and_said_to_be(
    work: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(worker.LONGEST_SECONDS, "race", 0.5)
    job = done(work.submit("race", seconds=60, deaf=True))
    assert job.state == "failed"
    assert "longer than 0 s" in job.error or "longer than 1 s" in job.error


def test_process_that_dies_is_said_and_started_again(work: Worker) -> None:
    job = done(work.submit("predict", die=True))
    assert job.state == "failed"
    assert "exit code 7" in job.error
    assert done(work.submit("predict")).state == "done"


def test_line_that_is_no_event_ends_the_job_alone(work: Worker) -> None:
    job = done(work.submit("predict", noise=True))
    assert job.state == "failed"
    assert done(work.submit("predict")).state == "done"


def test_jobs_of_users_who_left_are_dropped(work: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    running = work.submit("race", seconds=0.4)
    until(lambda: running.state == "running")
    left = work.submit("race")
    left.seen -= worker.UNSEEN_SECONDS + 1
    stays = work.submit("race")
    assert left.state == "cancelled"
    assert work.ahead(stays) == 1
    assert done(stays).state == "done"


def test_queue_has_an_end(work: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_WAITING", 2)
    first = work.submit("race", seconds=0.5)
    until(lambda: first.state == "running")
    work.submit("race")
    work.submit("race")
    with pytest.raises(UserError, match="2 computations are waiting already"):
        work.submit("race")


def test_closing_ends_the_process_and_cancels_what_waits(work: Worker) -> None:
    first, second = work.submit("race", seconds=60), work.submit("race")
    until(lambda: first.state == "running")
    work.close()
    assert second.state == "cancelled"
    until(lambda: first.finished)
