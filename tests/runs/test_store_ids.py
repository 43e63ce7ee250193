"""Run ids: which ones a store takes, and which run a part of one finds."""

import pytest
from run_examples import make_config, make_result

from finegates_engine.errors import UserError

BAD_IDS = [
    "../x",
    "",
    ".",
    "agreement/../../x",
    "a\\b",
    "/etc/passwd",
    "mrpc-finegates-t0.40-s0-1a2b3c4d5e6f\n",
    "mrpc-finegates-t0.40-s0-1A2B3C4D5E6F",
    "../mrpc-finegates-t0.40-s0-1a2b3c4d5e6f",
    "x" * 500,
]


@pytest.mark.parametrize("run_id", BAD_IDS)
def test_run_id_that_could_not_be_one_is_refused_everywhere(store, run_id):
    actions = (store.load, store.exists, store.delete, store.scratch, store.lock)
    actions += (store.clear_scratch, lambda name: store.add_file(name, "certificate.json", b"{}"))
    for action in actions:
        with pytest.raises(UserError) as error:
            action(run_id)
        assert str(error.value).startswith(f"Run id {run_id!r} is not one")
    with pytest.raises(UserError, match="Run id"):
        store.save(make_result(run_id=run_id))


def test_run_id_of_another_task_is_refused(store):
    with pytest.raises(UserError, match="must begin with its task, 'agreement'"):
        store.save(make_result(run_id="mrpc-finegates-t0.40-s0-1a2b3c4d5e6f"))


def test_run_that_is_not_there_is_said_so(store):
    with pytest.raises(UserError, match=r"Run 'mrpc-x-t0.40-s0-1a2b3c4d5e6f' is not in the store"):
        store.load("mrpc-x-t0.40-s0-1a2b3c4d5e6f")
    with pytest.raises(UserError, match="is not in the store"):
        store.delete("mrpc-x-t0.40-s0-1a2b3c4d5e6f")


def test_part_of_an_id_finds_the_one_run_that_it_fits(store):
    results = [make_result(make_config(seed=seed)) for seed in (0, 1)]
    for result in results:
        store.save(result)
    first = results[0].run_id
    digest = first.rsplit("-", 1)[1]
    for text in (first, digest, digest[:6], digest[-6:], "agreement-finegates-t0.40-s0"):
        assert store.resolve(text) == first
    with pytest.raises(UserError, match=r"'agreement' fits 2 runs: .*Give more of the id"):
        store.resolve("agreement")
    for text in ("zzz", ""):
        with pytest.raises(UserError, match=f"No run id begins or ends with {text!r}"):
            store.resolve(text)


def test_task_whose_name_begins_like_another_is_not_confused(store):
    results = [make_result(make_config(task=task)) for task in ("my", "my-task")]
    for result in results:
        assert store.save(result)
    assert [store.load(r.run_id).config.task.name for r in results] == ["my", "my-task"]
