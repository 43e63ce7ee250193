"""A run that a page shows is deleted, alone or with its task: the page says so and goes on."""

import shutil

import pytest
from explorer_stores import run_of

from explorer.loading import loaders
from explorer.processes import worker
from finegates_engine.runs.store import RunStore

VIEWS = {
    "trade_off": {},
    "pick_a_level": {},
    "gates": {},
    "gates one matrix": {"view": "matrix"},
    "gates agreement": {"view": "agreement"},
    "gates movie": {"view": "movie"},
    "live": {},
    "training": {"part": "curves"},
    "compare": {},
    "method": {},
}
WITHOUT_RUNS = ("method",)


class Silent(worker.Worker):
    """A worker that is asked and never answers."""

    def submit(self, kind, **arguments):
        return worker.Job("job", kind, arguments)


@pytest.fixture
def store(tmp_path) -> RunStore:
    """Two tasks, a path of three levels and two seeds."""
    store = RunStore(tmp_path / "store")
    for seed in (0, 1):
        for target in (0.0, 0.3, 0.5):
            store.save(run_of(target=target, seed=seed, history=True))
    for target in (0.0, 0.5):
        store.save(run_of(task="stsb", target=target))
    return store


@pytest.fixture
def opened(store, open_app, monkeypatch):
    """Open a view with a run selected; the app and the run."""
    monkeypatch.setattr(worker, "shared", Silent)

    def opened(view: str):
        run = next(name for name in store.ids() if "t0.50-s0" in name)
        app = open_app(store.root, view.split()[0], run=run, **VIEWS[view])
        assert not app.exception
        assert not app.error
        return app, run

    return opened


def forget() -> None:
    """Nothing of a run is cached any more, as after many others were looked at."""
    for cache in ("run", "predictions", "history", "gate_values", "gate_history"):
        getattr(loaders, f"_{cache}").clear()


def words(app) -> str:
    """All that the page says."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.warning, app.error)
    said = "\n".join(str(element.value) for kind in kinds for element in kind)
    return said.replace("\\", "")


@pytest.mark.parametrize("view", VIEWS)
def test_run_deleted_between_two_reruns_is_said(view, store, opened):
    app, run = opened(view)
    store.delete(run)
    forget()
    loaders._version.clear()
    app.run()
    assert not app.exception
    assert not app.error
    assert "damaged" not in words(app)
    if view not in WITHOUT_RUNS:
        assert f"the run '{run}', which is not there (any more)" in words(app)


@pytest.mark.parametrize("view", VIEWS)
def test_run_deleted_while_a_page_is_drawn_is_named(view, store, opened, monkeypatch):
    """The page has listed the runs before, and opens their files afterwards."""
    app, run = opened(view)
    before = loaders.Store(str(store.root), loaders.current().version)
    monkeypatch.setattr(loaders, "current", lambda: before)
    store.delete(run)
    forget()
    app.run()
    assert not app.exception
    assert "damaged" not in words(app)
    for error in app.error:
        assert "is not in the store" in error.value
        assert run in error.value.replace("\\", "")


@pytest.mark.parametrize("view", VIEWS)
def test_task_deleted_between_two_reruns_is_said_and_another_one_shown(view, store, opened):
    app, run = opened(view)
    shutil.rmtree(store.root / "sst2")
    forget()
    loaders._version.clear()
    app.run()
    assert not app.exception
    assert not app.error
    if view not in WITHOUT_RUNS:
        assert f"the run '{run}', which is not there (any more)" in words(app)


@pytest.mark.parametrize("view", VIEWS)
def test_store_deleted_between_two_reruns_is_empty(view, store, opened):
    app, _ = opened(view)
    shutil.rmtree(store.root)
    forget()
    loaders._version.clear()
    app.run()
    assert not app.exception
    assert not app.error
    if view not in WITHOUT_RUNS:
        assert "There are no runs here yet" in words(app)


def test_other_run_of_a_comparison_deleted_is_said(store, opened):
    app, _ = opened("compare")
    other = app.selectbox(key="pick:with").value
    app.selectbox(key="pick:with").select(other).run()
    store.delete(other)
    forget()
    loaders._version.clear()
    app.run()
    assert not app.exception
    assert not app.error
