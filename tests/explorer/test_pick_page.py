"""Pick a level: its answer over made-up runs, its limits in the address, its bundle."""

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from explorer_stores import run_of
from page_reader import address, texts

sys.path.insert(0, str(Path(__file__).parents[1]))

from timing_examples import make_cell, make_certificate

from explorer.loading import candidates, latencies, loaders
from explorer.processes import bundles
from explorer.words import pick_words
from finegates_engine.analysis.level_draws import Measured
from finegates_engine.analysis.recommend import Candidate, Limits, recommend
from finegates_engine.environment import collect_environment
from finegates_engine.parity import to_bytes
from finegates_engine.runs.store import RunStore
from finegates_engine.timing.stored import save_cells, this_machine

PAGE = "pick_a_level"
WIDE = {"drop": "40"}


def metric(app, label):
    return next(m for m in app.metric if m.label.startswith(label))


@pytest.fixture
def timed(full, tmp_path):
    """The full store, two of its runs certified and timed on this machine."""
    store = RunStore(Path(shutil.copytree(full, tmp_path / "timed")))
    frame = store.frame()
    plain = frame[
        (frame["task"] == "sst2") & (frame["method"] == "finegates") & (frame["path"] == "")
    ]
    plain = plain[(plain["gates.axes"] == "inner") & (plain["gates.relaxation"] == "hard")]
    machine = this_machine(collect_environment())
    for target, gain in ((0.3, 1.4), (0.5, 2.0)):
        name = plain.loc[(plain["target"] == target) & (plain["seed"] == 1), "run_id"].iloc[0]
        certificate = make_certificate(name, file_bytes=int(1e6 * (40 - 20 * target)))
        store.add_file(name, "certificate.json", to_bytes(certificate))
        save_cells(store, store.load(name), machine, [make_cell(gain=gain)])
    return store.root


def test_wide_limit_removes_the_most(full, open_app):
    app = open_app(full, PAGE, **WIDE)
    assert not app.exception
    assert app.subheader[0].value.startswith("71% of the encoder can go")
    assert "No limit binds" in texts(app)
    assert metric(app, "Score drop").delta == "over 99% sure"
    assert "≈" in metric(app, "Size on disk").value
    table = app.dataframe[0].value
    assert table.loc[table["Choice"] == "recommended", "Encoder weights removed"].iloc[0] > 65


def test_command_is_that_of_the_recommended_run(full, open_app):
    app = open_app(full, PAGE, **WIDE)
    table = app.dataframe[0].value
    run = table.loc[table["Choice"] == "recommended", "Run"].iloc[0]
    assert f"finegates prune {run} --store {full} --out {run}" in [c.value for c in app.code]


def test_controls_are_not_recommended_unless_asked_for(full, open_app):
    app = open_app(full, PAGE, **WIDE)
    assert not app.dataframe[0].value["Level"].str.startswith("Random").any()
    app = open_app(full, PAGE, methods="random", **WIDE)
    assert app.dataframe[0].value["Level"].str.startswith("Random").all()


def test_nothing_within_the_limits_names_the_nearest(full, open_app):
    app = open_app(full, PAGE, drop="-50")
    assert app.subheader[0].value == "No level keeps to these limits"
    assert "Nearest: " in texts(app)
    assert "It misses score drop by" in texts(app)
    assert "Take it anyway" in [s.value for s in app.subheader]


def test_one_seed_is_said_to_be_rows_only(full, open_app):
    app = open_app(full, PAGE, task="stsb", **WIDE)
    assert "one seed, rows only" in texts(app)
    assert "rows and seeds" not in app.dataframe[0].value["Varied"].tolist()


def test_drop_can_be_counted_from_the_best_baseline_in_percent(full, open_app):
    app = open_app(full, PAGE, against="baseline.percent", **WIDE)
    assert not app.exception
    assert "Full finetuning with nothing removed" in texts(app)
    assert metric(app, "Score drop (%)")
    assert "Drop (%)" in app.dataframe[0].value


def test_limit_on_time_says_what_to_measure(full, open_app):
    app = open_app(full, PAGE, p95="20", **WIDE)
    assert not app.exception
    assert app.subheader[0].value == "No level keeps to these limits"
    commands = "\n".join(code.value for code in app.code)
    assert "finegates prune sst2-" in commands
    assert "finegates bench sst2-" in commands


def test_stored_times_and_sizes_are_used(timed, open_app):
    loaders._version.clear()
    app = open_app(timed, PAGE, faster="1.8", **WIDE)
    assert not app.exception
    assert app.subheader[0].value.startswith("Half of the encoder can go")
    assert metric(app, "Speed-up").value.startswith(("2.0", "1.9"))
    assert metric(app, "Speed-up").delta == "over 99% sure"
    assert metric(app, "Size on disk").value == "30"
    assert "from the certificate" in texts(app)
    app = open_app(timed, PAGE, p95="6", **WIDE)
    assert app.subheader[0].value.startswith("Half of the encoder can go")
    app = open_app(timed, PAGE, size="30", p95="5.05", sure="95", **WIDE)
    assert app.subheader[0].value == "No level keeps to these limits"


def test_times_of_another_machine_are_said_to_be(timed, open_app, monkeypatch):
    monkeypatch.setattr(latencies, "_here", lambda: ("Another CPU", 128))
    for name in ("timed cells", "latencies"):
        loaders.memo(name, 4096)._values.clear()
    app = open_app(timed, PAGE, p95="6", **WIDE)
    assert not app.exception
    assert "These times are of another machine" in texts(app)
    loaders.memo("timed cells", 4096)._values.clear()


def test_times_of_a_cpu_come_before_those_of_another_machines_gpu(timed, monkeypatch):
    monkeypatch.setattr(latencies, "_here", lambda: ("Another CPU", 128))
    kept = RunStore(timed)
    machine = dataclasses.replace(this_machine(collect_environment()), accelerator="A GPU")
    one, other = [name for name in kept.frame()["run_id"] if kept.load(name).certificate]
    shutil.rmtree(kept.load(other).folder / "timings")  # so that the GPU timed more runs
    for name in (one, other):
        save_cells(kept, kept.load(name), machine, [make_cell(device="cuda")])
    store = loaders.Store(str(timed), "with a GPU")
    loaders.memo("timed cells", 4096)._values.clear()
    found = candidates.timings(store, loaders.curves(store).rows)
    assert [passport.setting.device for passport in found] == ["cpu", "cuda"]
    loaders.memo("timed cells", 4096)._values.clear()


@pytest.mark.parametrize("name", ["drop", "size", "p95", "faster"])
@pytest.mark.parametrize("value", ["nan", "1e400", "-1e9", "../../etc", "<b>1</b>", "1,5"])
def test_limit_that_is_no_number_is_said_and_left_out(name, value, full, open_app):
    app = open_app(full, PAGE, **{name: value})
    assert not app.exception
    assert f"The address asks for the {name}" in app.warning[0].value
    assert name not in app.query_params


def test_limits_live_in_the_address(full, open_app):
    app = open_app(full, PAGE)
    app.number_input(key="pick:drop").set_value(2.5).run()
    assert address(app, "drop") == "2.5"
    app.number_input(key="pick:drop").set_value(None).run()
    assert address(app, "drop") == ""
    assert not app.exception
    assert "No limit binds" in texts(app)


def test_store_with_nothing_to_compare_with_says_what_to_train(one, open_app):
    app = open_app(one, PAGE)
    assert not app.exception
    assert "nothing removed, to count a drop from" in texts(app)
    assert app.code[0].value == (
        f"finegates sweep --task sst2 --targets 0.0,0.3,0.5,0.7 --seeds 0 --store {one}"
    )


def test_level_on_other_rows_is_left_out_and_said(one, open_app):
    store = RunStore(one)
    store.save(run_of(target=0.0))
    other = run_of(target=0.3)
    rows = other.predictions.assign(text_hash=[f"{n:09x}" for n in range(60)])
    store.save(dataclasses.replace(other, predictions=rows))
    loaders._version.clear()
    app = open_app(one, PAGE, **WIDE)
    assert not app.exception
    assert "FineGates, 31% is left out: it was evaluated on other rows" in texts(app)
    assert len(app.dataframe[0].value) == 1


def test_references_are_the_ones_with_nothing_removed(full):
    levels = loaders.curves(loaders.Store(str(full), "x")).levels
    found = candidates.references(levels[levels["task"] == "sst2"])
    assert (found["nothing"]["method"], found["nothing"]["seeds"]) == ("finegates", 3)
    assert found["baseline"]["method"] == "full"


def test_a_drop_is_counted_over_the_seeds_that_both_levels_have(full):
    """The full store's path has one seed, its level with nothing removed three."""
    store = loaders.Store(str(full), "x")
    curves = loaders.curves(store)
    levels, rows = (table[table["task"] == "sst2"] for table in (curves.levels, curves.rows))
    reference = candidates.references(levels)["nothing"]
    chosen = levels[(levels["method"] == "finegates") & (levels["folded_encoder_fraction"] > 0)]
    chosen = chosen[chosen["variant"] == ""]
    found = candidates.pool(store, chosen, rows, reference, "points", {}).candidates
    score = rows.drop_duplicates("run_id").set_index("run_id")["score"]
    seeds = rows.drop_duplicates("run_id").set_index("run_id")["seed"]
    assert {len(one.key.split("~")) for one in found} == {1, 3}
    for one in found:
        runs = one.key.split("~")
        base = [run for run in reference["run_ids"] if seeds[run] in set(seeds[runs])]
        assert one.score == pytest.approx(score[runs].mean())
        assert one.against == pytest.approx(score[base].mean())
        drop = one.measured["drop"]
        assert drop.value == pytest.approx(100 * (one.against - one.score))
        assert drop.kind == ("rows" if len(runs) == 1 else "rows and seeds")


@pytest.mark.parametrize(("kind", "said"), [("rows", True), ("rows and seeds", False)])
def test_a_runner_up_of_one_seed_is_said_to_be_one(kind, said):
    drop = Measured(0.2, np.full(9, 0.2), kind)
    levels = [
        Candidate(f"{share}", "run", share, 0.9, 0.902, {"drop": drop}) for share in (0.3, 0.6)
    ]
    limits = Limits(drop=1.0)
    words = pick_words.runner_up(recommend(levels, limits), {"0.3": "A", "0.6": "B"}, limits)
    assert words.startswith("Runner-up: A, which loses 0.2 points; over 99% sure")
    assert words.endswith("sure (one seed, rows only)." if said else "sure.")


def test_bundle_that_cannot_be_made_says_why(full, open_app):
    run = RunStore(full).frame()["run_id"].iloc[0]
    store = loaders.Store(str(full), "x")
    job = bundles.start(store, run, data="/no/such/place")
    assert bundles.job(store, run) is job
    job.wait(120)
    assert not job.running
    assert job.file is None
    assert job.error
    assert "Traceback" not in job.error


def test_deleted_run_makes_no_bundle(full):
    gone = "sst2-finegates-t0.50-s0-000000000000"
    job = bundles.start(loaders.Store(str(full), "x"), gone)
    job.wait(120)
    assert f"Run {gone!r} is not in the store" in job.error


def test_command_trusts_no_text_as_an_option():
    command = bundles.prune_command("/s", "sst2-x", Path("/o"), "--force")
    assert command[-2:] == ["--", "sst2-x"]
    assert "--data=--force" in command
    assert "--force" not in command
