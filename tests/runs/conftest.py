"""A store, empty or with one run."""

import pytest
from run_examples import make_result

from finegates_engine.runs.store import RunStore


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


@pytest.fixture
def saved(store):
    """A store with one intact run; its id and folder."""
    result = make_result()
    assert store.save(result)
    return store, result.run_id, store.root / "agreement" / result.run_id
