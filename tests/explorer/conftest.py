"""Stores to look at: full, empty, one run, one damaged run, made-up numbers in the real format."""

from collections.abc import Callable
from pathlib import Path

import pytest
from explorer_stores import run_of, write_full
from streamlit.testing.v1 import AppTest

from explorer.loading import loaders
from explorer.views import trade_off_view
from finegates_engine.runs.store import RunStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks, four methods, a path, variants, three seeds, one gate history."""
    return write_full(tmp_path_factory.mktemp("full"))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A store that is not there yet."""
    return tmp_path / "no store"


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A store of one run."""
    RunStore(tmp_path / "one").save(run_of())
    return tmp_path / "one"


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A store of three runs: one with a broken run.json, one whose adapter was changed."""
    store = RunStore(tmp_path / "damaged")
    results = [run_of(seed=seed) for seed in range(3)]
    for result in results:
        store.save(result)
    (store.root / "sst2" / results[0].run_id / "run.json").write_text("{")
    adapter = store.root / "sst2" / results[1].run_id / "adapter.safetensors"
    adapter.write_bytes(bytes(adapter.stat().st_size))
    return store.root


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Open the app over a store, at a page, with query parameters."""

    def opened(
        store: Path, page: str = "trade_off", *, budget_s: float = 60, **query: str
    ) -> AppTest:
        monkeypatch.setenv(loaders.VARIABLE, str(store))
        monkeypatch.setattr(trade_off_view, "FIRST_BUDGET_S", budget_s)
        app = AppTest.from_file(ROOT / "explorer" / "app.py", default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.switch_page(f"app_pages/{page}.py")
        return app.run()

    return opened
