"""Every page over every store: something to read, nothing that breaks."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from explorer_stores import run_of
from page_reader import address, texts

from finegates_engine.runs.store import RunStore

PAGES = {
    "trade_off": "How much can I remove?",
    "gates": "What was kept?",
    "pick_a_level": "Which level should I deploy?",
    "compare": "What does the smaller model get wrong that the larger one got right?",
}
VIEWS = ("map", "matrix", "agreement", "movie")
ROOT = Path(__file__).parents[2]
APP = ROOT / "explorer" / "app.py"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("store", ["full", "empty", "one", "damaged"])
def test_page_opens_over_every_store(page, store, open_app, request):
    app = open_app(request.getfixturevalue(store), page)
    assert not app.exception
    assert app.title[0].value == PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_empty_store_gives_the_command_that_makes_a_run(page, empty, open_app):
    app = open_app(empty, page)
    assert app.code[0].value == f"finegates demo --store '{empty}'"


@pytest.mark.parametrize("page", PAGES)
def test_damaged_run_is_named_and_the_others_work(page, damaged, open_app):
    app = open_app(damaged, page)
    broken = sorted(folder.name for folder in (damaged / "sst2").iterdir())[0]
    assert "1 damaged run is skipped" in [e.label for e in app.expander]
    assert broken in texts(app)


def test_run_with_a_changed_file_is_an_error_in_words(damaged, open_app):
    store = RunStore(damaged)
    broken = next(name for name in store.ids() if "-s1-" in name)
    app = open_app(damaged, "gates", run=broken)
    assert not app.exception
    assert "adapter.safetensors" in app.error[0].value.replace("\\", "")


def test_trade_off_answers_in_its_first_sentence(full, open_app):
    app = open_app(full)
    assert app.subheader[0].value.startswith("Half of the encoder goes for ")
    assert "3 seeds" in texts(app)


def test_curves_are_there_before_their_intervals(tmp_path, open_app):
    store = RunStore(tmp_path / "fresh")
    for target in (0.0, 0.5):
        store.save(run_of(target=target))
    app = open_app(store.root, budget_s=-1)
    assert app.subheader[0].value.startswith("Half of the encoder goes for ")
    assert "2 intervals still to compute" in texts(app)
    app = open_app(store.root)
    assert "still to compute" not in app.run().caption[0].value


def test_one_seed_is_said_to_be_one(one, open_app):
    app = open_app(one)
    assert "no run with nothing removed to compare with" in texts(app)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_the_gates_opens(view, full, open_app):
    app = open_app(full, "gates", view=view)
    assert not app.exception
    assert not app.error
    assert app.subheader


def test_run_without_a_movie_gives_the_command_that_keeps_one(one, open_app):
    app = open_app(one, "gates", view="movie")
    assert not app.exception
    assert "kept no history of its gates" in texts(app)
    assert "--history-frames 24 " in app.code[0].value
    assert app.code[0].value.endswith("--store remade")


def test_task_without_gates_gives_the_command_that_trains_some(tmp_path, open_app):
    store = RunStore(tmp_path / "full only")
    store.save(run_of(method="full", target=0.0))
    app = open_app(store.root, "gates")
    assert not app.exception
    assert app.code[0].value.startswith("finegates sweep --task sst2 --targets 0.0,")
    assert app.code[0].value.endswith(f"--store '{store.root}'")


@pytest.mark.parametrize("variant", ["all", "clip"])
def test_gates_of_every_variant_open(variant, full, open_app):
    store = RunStore(full)
    frame = store.frame()
    column = "gates.axes" if variant == "all" else "gates.relaxation"
    run = frame.loc[frame[column] == variant, "run_id"].iloc[0]
    for view in VIEWS:
        app = open_app(full, "gates", view=view, run=run)
        assert not app.exception
        assert not app.error
        assert address(app, "run") == run


@pytest.mark.parametrize(
    "run", ["sst2-finegates-t0.50-s0-000000000000", "../../etc/passwd", "<script>", "x" * 5000]
)
@pytest.mark.parametrize("page", PAGES)
def test_run_that_is_not_there_is_said_and_left_out(page, run, full, open_app):
    app = open_app(full, page, run=run)
    assert not app.exception
    said = [one.value for one in app.warning]
    assert len(said) == 1
    assert "The address asks for the run" in said[0]
    assert "run" not in app.query_params


def test_unknown_choices_in_the_address_are_left_out(full, open_app):
    app = open_app(full, task="nope", x="nope", y="nope", curves="nope", method="nope")
    assert not app.exception
    assert len(app.warning) == 5
    assert app.subheader[0].value.startswith("Half")


def test_selected_run_deleted_meanwhile_is_said(full, open_app, tmp_path):
    copy = Path(shutil.copytree(full, tmp_path / "copy"))
    store = RunStore(copy)
    run = store.ids()[0]
    app = open_app(copy, run=run)
    assert address(app, "run") == run
    store.delete(run)
    from explorer.loading import loaders

    loaders._version.clear()
    app = app.run()
    assert not app.exception
    assert run in texts(app)


def test_new_run_appears_without_a_restart(one, open_app):
    app = open_app(one)
    before = len(app.dataframe[0].value)
    RunStore(one).save(run_of(target=0.3))
    from explorer.loading import loaders

    loaders._version.clear()
    assert len(app.run().dataframe[0].value) == before + 1


def test_choices_go_into_the_address(full, open_app):
    app = open_app(full)
    app.selectbox(key="pick:task").select("stsb").run()
    assert address(app, "task") == "stsb"
    app.selectbox(key="pick:y").select("seconds_total").run()
    assert address(app, "y") == "seconds_total"
    assert app.subheader[0].value.startswith("Training time")


def test_no_curve_chosen_says_what_to_do(full, open_app):
    app = open_app(full)
    app.multiselect(key="pick:method").set_value([]).run()
    assert not app.exception
    assert "Choose some under Curves" in app.info[0].value


def test_opening_imports_no_torch(full):
    code = (
        "import os, sys; from streamlit.testing.v1 import AppTest\n"
        f"os.environ['FINEGATES_STORE'] = {str(full)!r}\n"
        f"app = AppTest.from_file({str(APP)!r}, default_timeout=60).run()\n"
        "assert not app.exception, app.exception\n"
        "print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip().endswith("[]"), done.stderr


def test_latency_is_offered_where_runs_were_timed(full, open_app, monkeypatch):
    from explorer.loading import latencies
    from finegates_engine.timing.stored import Setting

    assert "latency_ms" not in open_app(full).selectbox(key="pick:y").options
    runs = RunStore(full).frame()
    place = latencies.Passport("f" * 16, "Tiny CPU", Setting(batch=1, tokens=64))
    times = {name: 10.0 - number / 10 for number, name in enumerate(runs["run_id"])}
    monkeypatch.setattr(latencies, "stored_times", lambda store, timed: {place: times})
    from explorer.views import trade_off_view

    real = trade_off_view.axes
    timed = lambda store, rows: real(store, rows.assign(has_timings=True))  # noqa: E731
    monkeypatch.setattr(trade_off_view, "axes", timed)
    app = open_app(full, y="latency_ms")
    assert not app.exception
    assert app.subheader[0].value.startswith("Latency")
    assert app.selectbox(key="pick:timed").options == [
        "batch 1 x 64 tokens, 1 thread, fp32, torch on Tiny CPU"
    ]
