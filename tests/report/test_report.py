"""What a store's runs say: levels, pages and the picture."""

import dataclasses
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from explorer_stores import write_full
from report_curves import simple_curve
from run_examples import make_config, make_result
from typer.testing import CliRunner

from finegates_engine.analysis.intervals import Interval, bootstrap_interval
from finegates_engine.analysis.level_draws import LevelScores
from finegates_engine.cli import entry as cli
from finegates_engine.config import GateConfig, RunConfig, TaskConfig
from finegates_engine.errors import UserError
from finegates_engine.report.figure import results_svg
from finegates_engine.report.folder import report_files, write_report
from finegates_engine.report.levels import (
    Level,
    TaskResults,
    paired,
    results_of,
)
from finegates_engine.report.paper import PAPER, paper_rows
from finegates_engine.runs.store import RunStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return RunStore(write_full(tmp_path_factory.mktemp("report") / "full"))


def test_interval_of_a_level_is_that_of_its_runs(store):
    frame = store.frame()
    task = results_of(store)[0]
    level = next(lv for c in task.curves for lv in c.levels if lv.interval.seeds == 1)
    (run,) = [
        run
        for run in map(store.load, frame[frame["task"] == task.task]["run_id"])
        if run.record.score == level.interval.mean
        and run.record.ladder.folded_encoder_fraction == level.removed
    ][:1]
    table = run.predictions
    expected = bootstrap_interval(task.metric, [table[table["split"] == task.split]])
    assert (level.interval.low, level.interval.high) == pytest.approx((expected.low, expected.high))


def test_same_runs_give_the_same_bytes_and_a_picture_that_can_be_read(store):
    files = report_files(store, name="full")
    assert files == report_files(RunStore(store.root), name="full")
    root = ET.fromstring(files["results.svg"])
    panels = [node for node in root if node.tag.endswith("}g")]
    assert len(panels) == len(results_of(store))


def test_every_curve_of_a_task_has_a_part_in_its_page(store):
    files = report_files(store, name="full")
    for task in results_of(store):
        page = files[f"{task.task}.md"]
        for one in task.curves:
            assert one.label.split(",")[0] in page
        assert "Made by `finegates report --store full`" in page


def test_the_papers_figures_stand_in_columns_of_their_backbones(store):
    page = report_files(store, name="full")["sst2.md"]
    heads = next(line for line in page.splitlines() if line.startswith("| Method | Source"))
    assert heads.endswith("| RoBERTa-base | RoBERTa-large |")
    assert "| LoRA | arXiv 2412.12951 | 0.3M |  | 94.3 |  |" in page
    assert "the columns are not to be compared" in page


def make_runs(tmp_path, *configs):
    store = RunStore(tmp_path / "made")
    for config in configs:
        assert store.save(make_result(config))
    return store


def test_each_curve_of_finegates_is_held_against_those_after_it(tmp_path):
    shares = (0.2, 0.4)
    path = [
        RunConfig(task=TaskConfig(name="sst2"), gates=GateConfig(target=0.4), path=(0.0, 0.2)),
        RunConfig(task=TaskConfig(name="sst2"), gates=GateConfig(target=0.2), path=(0.0,)),
    ]
    configs = [
        RunConfig(task=TaskConfig(name="sst2"), gates=GateConfig(target=share), method=method)
        for share in shares
        for method in ("finegates", "taylor")
    ]
    untied = [make_config(task="sst2", target=share, tie=False) for share in shares]
    store = make_runs(tmp_path, *path, *configs, *untied)
    page = report_files(store, name="made")["sst2.md"]
    differences = page.split("## Differences")[1].split("## Beside")[0]
    names = [line.split("|")[1].strip() for line in differences.splitlines() if "less" in line]
    assert list(dict.fromkeys(names)) == [
        "FineGates, path less FineGates",
        "FineGates, path less First-order Taylor",
        "FineGates less FineGates, not tied",
        "FineGates less First-order Taylor",
    ]


def test_curves_are_held_against_each_other_on_the_seeds_that_both_have():
    def level(*scores):
        by_seed = {i: LevelScores(np.array([y]), np.full(9, y), "") for i, y in enumerate(scores)}
        return Level(0.4, Interval(0, 0, 0, len(scores), "rows"), 1.0, by_seed)

    a = dataclasses.replace(simple_curve(), levels=(level(0.9, 0.5, 0.1),))
    b = dataclasses.replace(simple_curve(), levels=(level(0.8),))
    ((removed, interval),) = paired(a, b)
    assert (removed, interval.mean) == (0.4, pytest.approx(0.1))


def test_index_says_how_far_full_finetuning_is(tmp_path):
    start = RunConfig(task=TaskConfig(name="sst2"), gates=GateConfig(target=0.0))
    full = dataclasses.replace(start, method="full")
    with_full = report_files(make_runs(tmp_path / "a", start, full), name="made")["README.md"]
    assert "| 0.000 (0.000 to 0.000) |" in with_full  # both have the same predictions
    without = report_files(make_runs(tmp_path / "b", start), name="made")["README.md"]
    assert "| 0.000 (0.000 to 0.000) |" not in without


def test_names_stand_apart_inside_the_panel_however_close_their_curves_end():
    curves = [
        dataclasses.replace(simple_curve((0, 0.9), (0.7, 0.5)), label=f"c{i}") for i in range(9)
    ]
    made = results_svg([TaskResults("sst2", "accuracy", "validation", 9, "all", tuple(curves))])
    nodes = [node for node in ET.fromstring(made).iter() if (node.text or "").startswith("c")]
    heights = sorted(float(node.attrib["y"]) for node in nodes)
    assert len(heights) == 9
    assert min(np.diff(heights)) >= 12
    assert max(heights) <= 280 - 40


def test_papers_rows_are_of_every_task_and_none_of_others():
    assert len({(row.source, row.backbone, row.method) for row in PAPER}) == len(PAPER)
    assert paper_rows("agreement") == []
    assert {row.scores["cola"] for row in paper_rows("cola") if row.method == "LoRA"} == {
        63.4,
        68.2,
    }


def test_writing_again_changes_nothing_and_removes_pages_of_tasks_that_are_gone(store, tmp_path):
    paths = write_report(store, tmp_path)
    (tmp_path / "gone.md").write_text("Made by `finegates report --store full`")
    (tmp_path / "mine.md").write_text("my notes")
    before = {path: path.read_bytes() for path in paths}
    assert write_report(store, tmp_path) == paths
    assert {path: path.read_bytes() for path in paths} == before
    assert {p.name for p in tmp_path.glob("*.md")} == {"mine.md"} | {
        p.name for p in paths if p.suffix == ".md"
    }


def test_a_store_without_runs_is_named(tmp_path):
    with pytest.raises(UserError, match="has no runs to report"):
        report_files(RunStore(tmp_path), name="x")
    done = CliRunner().invoke(cli.app, ["report", "--store", str(tmp_path)])
    assert done.exit_code == 2
