"""Runs shipped without their weights: every page shows what is there, and says what is not."""

import pytest
from page_reader import commands, texts

from finegates_engine.runs.store import RunStore
from finegates_engine.shipping.copy import ship

PAGES = ("trade_off", "pick_a_level", "gates", "live", "training", "compare", "method")


@pytest.fixture(scope="module")
def light(full, tmp_path_factory):
    """The full store, no run of it with its weights."""
    out = RunStore(tmp_path_factory.mktemp("light") / "store")
    ship(RunStore(full), out, whole=lambda record: False)
    return out.root


@pytest.mark.parametrize("page", PAGES)
def test_page_opens_over_light_runs(page, light, open_app):
    app = open_app(light, page)
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("view", ["map", "matrix", "agreement"])
def test_gates_of_a_light_run_are_shown(view, light, open_app):
    app = open_app(light, "gates", view=view)
    assert not app.exception
    assert "without its weights" not in texts(app)
    assert app.subheader


def test_level_of_light_runs_is_recommended_with_the_command_that_makes_it(light, open_app):
    app = open_app(light, "pick_a_level", drop="20")
    assert app.subheader[0].value.startswith("71% of the encoder can go")
    assert "here without its weights" in texts(app)
    assert "finegates sweep --task sst2" in commands(app)
    assert "finegates prune sst2-finegates-" in commands(app)
    assert "--store remade" in commands(app)
    assert "Make the bundle" not in [button.label for button in app.button]


def test_live_page_says_what_a_light_run_lacks(light, full, open_app):
    app = open_app(light, "live")
    assert "keeps a model to compute with" in texts(app)
    assert "here without its weights" in texts(app)
    assert "finegates sweep --task sst2" in commands(app)


def test_selected_light_run_is_named_where_others_have_weights(light, full, tmp_path, open_app):
    both = RunStore(tmp_path / "both")
    names = [n for n in RunStore(full).ids() if n.startswith("sst2-finegates-t0.50-s0")]
    ship(RunStore(full), both, whole=lambda record: record.run_id == names[0])
    other = next(n for n in both.ids() if n.startswith("sst2-finegates-t0.30-s0"))
    app = open_app(both.root, "live", run=other)
    assert not app.exception
    assert f"Run {other} is here without its weights" in texts(app)
    assert "is shown below" in texts(app)
