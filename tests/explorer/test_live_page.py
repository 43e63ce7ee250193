"""The live page: a text, two predictions, a race, and what lies behind them."""

import sys
import time
from pathlib import Path

import pytest
from explorer_stores import run_of
from page_reader import button, commands, texts
from test_figures_live import effects, levels, predictions, race_of

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_runs import tiny_run

from explorer.processes import worker
from explorer.processes.worker import Job, Worker
from finegates_engine.errors import UserError
from finegates_engine.live.results import (
    ABLATION,
    EFFECTS,
    LEVELS,
    PREDICTIONS,
    TEXT_RACE,
    Ablation,
)
from finegates_engine.parity import read_certificate
from finegates_engine.runs.store import RunStore

TITLE = "Is it really faster, and does it say the same?"
ABLATED = Ablation(
    run_id="r",
    labels=("negative", "positive"),
    parts=("0.head.0",),
    size=4,
    of=100,
    before=((-1.0, 2.0),),
    after=((1.0, 0.5),),
    random=(((-1.0, 1.9),), ((-0.9, 2.0),)),
)


def same_label(count):
    return PREDICTIONS.dump_python(predictions(((0.1, 0.9),) * count, ((0.2, 0.8),) * count))


class Answers(Worker):
    """Answers at once with what is known of a kind of job; leaves the others waiting."""

    def __init__(self):
        super().__init__()
        self.jobs = []
        self.known = {
            "predict": same_label(1),
            "race": TEXT_RACE.dump_python(race_of(1.5)),
            "levels": LEVELS.dump_python(levels(0.9, 0.8, 0.4)),
            "effects": EFFECTS.dump_python(effects()),
            "ablate": ABLATION.dump_python(ABLATED),
        }

    def submit(self, kind, **arguments):
        job = Job(f"job {len(self.jobs)}", kind, arguments)
        self.jobs.append(job)
        answer, count = self.known.get(kind), len(arguments["rows"])
        if kind == "predict" and isinstance(answer, dict):
            answer = same_label(count)
        if kind == "levels":
            cut = [{**level, "outputs": level["outputs"][:count]} for level in answer["levels"]]
            answer = {**answer, "levels": cut}
        if isinstance(answer, dict):
            job.state, job.result = "done", answer
        elif isinstance(answer, str):
            job.state, job.error = "failed", answer
        elif isinstance(answer, int):
            self._waiting.append(job)
        return job

    def ahead(self, job):
        return self.known[job.kind] if job.state == "waiting" else 0


@pytest.fixture
def answers(monkeypatch):
    made = Answers()
    monkeypatch.setattr(worker, "shared", lambda: made)
    return made


@pytest.mark.parametrize("store", ["full", "empty", "one", "damaged"])
def test_page_opens_over_every_store(store, answers, open_app, request):
    app = open_app(request.getfixturevalue(store), "live")
    assert not app.exception
    assert app.title[0].value == TITLE
    assert ("Both say positive" in texts(app)) == (store != "empty")


def test_first_screen_says_both_answers(full, answers, open_app):
    app = open_app(full, "live", task="sst2")
    button(app, "Race dense against pruned").click().run()
    assert app.subheader[0].value == "Both say positive"
    assert "Pruned is 1.50x faster (1.50 to 1.50)" in texts(app)
    assert "No certificate yet" in texts(app)
    assert "Efficiency 75%" in texts(app)
    assert [job.kind for job in answers.jobs] == ["predict", "race"]


def test_results_of_another_text_are_not_shown(full, answers, open_app):
    app = open_app(full, "live", task="sst2")
    button(app, "Race dense against pruned").click().run()
    app.text_area[0].set_value("another one").run()
    assert "Pruned is" not in texts(app)
    assert [job.kind for job in answers.jobs] == ["predict", "race", "predict"]
    assert answers.jobs[-1].arguments["rows"] == (("another one",),)


def test_dense_is_the_run_of_the_curve_with_nothing_removed(full, answers, open_app):
    run = next(n for n in RunStore(full).ids() if n.startswith("sst2-finegates-path-t0.70"))
    app = open_app(full, "live", run=run, more="levels")
    assert not app.exception
    arguments = answers.jobs[0].arguments
    assert arguments["run"] == run
    assert arguments["dense"].startswith("sst2-finegates-t0.00-s0-")
    along = next(job for job in answers.jobs if job.kind == "levels").arguments["runs"]
    assert [name.split("-t")[1][:4] for name in along] == ["0.00", "0.30", "0.50", "0.70"]


def test_lone_run_is_compared_with_its_own_gates_open(one, answers, open_app):
    open_app(one, "live")
    assert answers.jobs[0].arguments["dense"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("   \n", "There is no text yet"),
        ("x" * 100_001, "has 100,001 characters, at most 100,000"),
        ("x\n" * 65, "has 65 lines, at most 64"),
    ],
)
def test_text_that_cannot_be_used_is_said_and_the_app_goes_on(
    text, message, full, answers, open_app
):
    app = open_app(full, "live", task="sst2")
    app.text_area[0].set_value(text).run()
    assert message in texts(app)
    assert not app.exception
    app.text_area[0].set_value("fine").run()
    assert "Both say positive" in texts(app)


@pytest.mark.parametrize(
    "text", ["\U0001f600", "مرحبا بالعالم", "<script>alert(1)</script>", "**x** $y$ :red[z]"]
)
def test_any_text_is_passed_on_as_it_is(text, full, answers, open_app):
    app = open_app(full, "live", task="sst2", more="levels", row="1")
    app.text_area[0].set_value(f"{text}\n{text} again").run()
    assert not app.exception
    assert answers.jobs[-1].arguments["rows"] == ((text,), (f"{text} again",))


def test_pair_task_with_one_text_says_which_is_missing(full, answers, open_app):
    app = open_app(full, "live", task="stsb")
    assert [area.label.split(",")[0] for area in app.text_area] == ["sentence1", "sentence2"]
    app.text_area[1].set_value("").run()
    assert "sentence2 is empty" in texts(app)
    assert not app.exception


def test_text_is_kept_while_its_user_is_on_another_page(full, answers, open_app):
    app = open_app(full, "live", task="sst2")
    app.text_area[0].set_value("my own words").run()
    app.switch_page("app_pages/gates.py").run()
    app.switch_page("app_pages/live.py").run()
    assert app.text_area[0].value == "my own words"


def test_waiting_page_says_its_place_and_can_cancel(full, answers, open_app):
    answers.known["predict"] = 2
    app = open_app(full, "live", task="sst2")
    assert "2 computations before this one" in str(app.get("progress")[0].proto)
    button(app, "Cancel").click().run()
    assert "Stopped." in texts(app)
    answers.known["predict"] = same_label(1)
    button(app, "Start again").click().run()
    assert "Both say positive" in texts(app)


def test_failed_computation_is_said_and_can_be_tried_again(full, answers, open_app):
    answers.known["predict"] = "Run 'x' is <b>gone</b>."
    app = open_app(full, "live", task="sst2")
    assert "Run 'x' is <b>gone</b>." in app.error[0].value.replace("\\", "")
    assert "<b>" not in app.error[0].value
    button(app, "Try again").click().run()
    assert len(answers.jobs) == 2


def test_full_queue_is_said(full, answers, open_app, monkeypatch):
    def refused(kind, **_):
        raise UserError("20 computations are waiting already.")

    monkeypatch.setattr(answers, "submit", refused)
    app = open_app(full, "live", task="sst2")
    assert "20 computations are waiting" in app.error[0].value
    assert not app.exception


def test_breaking_point_is_found(full, answers, open_app):
    app = open_app(full, "live", task="sst2", more="levels")
    assert "The label flips between 10% and 20% removed" in texts(app)


def test_part_can_be_closed_from_a_list_and_by_a_click(full, answers, open_app):
    app = open_app(full, "live", task="sst2", more="close")
    assert "Head 1 of layer 1 matters most" in texts(app)
    app.multiselect(key="pick:close").set_value(["0.head.0"]).run()
    assert "Closing it moves a logit by 2.00" in texts(app)
    assert answers.jobs[-1].arguments["parts"] == ["0.head.0"]
    app = open_app(full, "live", task="sst2", more="close", close="0~9.head.9")
    assert answers.jobs[-1].arguments["parts"] == ["0"]


def test_why_not_faster_is_measured_when_it_is_asked_for(full, answers, open_app):
    answers.known["explain"] = "No timing without a certificate."
    app = open_app(full, "live", task="sst2", more="why")
    assert "explain" not in [job.kind for job in answers.jobs]
    button(app, "Take the call apart").click().run()
    assert "No timing without a certificate." in texts(app)


def test_settings_of_the_address_go_into_the_race(full, answers, open_app):
    app = open_app(full, "live", task="sst2", batch="8", tokens="64")
    assert "8 rows of 64 tokens, 1 thread, CPU" in texts(app)
    button(app, "Race dense against pruned").click().run()
    shape = {"device": "cpu", "threads": 1, "batch": 8, "tokens": 64}
    assert answers.jobs[-1].arguments["shape"] == shape
    app = open_app(full, "live", task="sst2", device="cuda", threads="999", batch="-1")
    assert len(app.warning) == 3


@pytest.mark.slow
def test_real_worker_predicts_certifies_and_races_a_tiny_run(tmp_path, open_app, monkeypatch):
    store, run = tiny_run(tmp_path)
    made = Worker()
    monkeypatch.setattr(worker, "shared", lambda: made)
    try:
        app = open_app(store.root, "live")
        app.text_area[0].set_value("the film was great").run()
        app = _until(app, lambda: "class 0" in texts(app) or "class 1" in texts(app))
        assert "this run with all gates open" in texts(app)
        button(app, "Race dense against pruned").click().run()
        app = _until(app, lambda: "Efficiency" in texts(app), 90)
        certificate = read_certificate(store.load(run.run_id))
        assert certificate is not None
        assert certificate.passed
        assert "Certified: logits differ" in texts(_until(app, lambda: "Certified" in texts(app)))
        assert made.machine["cores"] >= 1
    finally:
        made.close()


def test_run_whose_rows_are_gone_is_predicted_but_not_timed(tmp_path, open_app, monkeypatch):
    import shutil

    from tiny_runs import places

    store, run = tiny_run(tmp_path)
    made = Worker()
    monkeypatch.setattr(worker, "shared", lambda: made)
    task = places()[1]
    shutil.move(task, tmp_path / "elsewhere")
    try:
        app = open_app(store.root, "live")
        app = _until(app, lambda: "class 0" in texts(app) or "class 1" in texts(app))
        button(app, "Race dense against pruned").click().run()
        app = _until(app, lambda: app.error)
        assert "No timing without a certificate" in texts(app)
        assert f"finegates prune {run.run_id}" in texts(app)
    finally:
        shutil.move(tmp_path / "elsewhere", task)
        made.close()


def _until(app, true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, texts(app)
        time.sleep(0.3)
        app.run()
        assert not app.exception
    return app


def test_store_without_models_says_which_command_makes_one(tmp_path, answers, open_app):
    store = RunStore(tmp_path / "full only")
    store.save(run_of(method="full", target=0.0))
    app = open_app(store.root, "live")
    assert "keeps a model to compute with" in texts(app)
    assert "finegates sweep --task sst2" in commands(app)
