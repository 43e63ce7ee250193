"""What a store's runs say: levels, where a point is lost, pages and the picture."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from explorer_stores import write_full
from typer.testing import CliRunner

from finegates_engine.analysis.intervals import Interval, bootstrap_interval
from finegates_engine.analysis.level_draws import LevelScores
from finegates_engine.cli import entry as cli
from finegates_engine.errors import UserError
from finegates_engine.report.folder import report_files, write_report
from finegates_engine.report.levels import Curve, Level, fall_of_one_point, results_of
from finegates_engine.report.paper import PAPER, paper_rows
from finegates_engine.runs.store import RunStore


def curve(*levels):
    """A curve of (share removed, score)."""
    none = LevelScores(np.zeros(1), np.zeros(1), "")
    made = [Level(x, Interval(y, y, y, 1, "rows"), 10.0, none) for x, y in levels]
    return Curve("A", "finegates", "path", "", "B", False, tuple(made))


def test_one_point_is_lost_on_the_line_between_two_levels():
    fall = fall_of_one_point(curve((0, 0.9), (0.2, 0.895), (0.4, 0.875)), "accuracy")
    assert fall.share == pytest.approx(0.25)
    assert fall.last == 0.4


def test_a_curve_that_loses_less_than_a_point_says_how_far_it_was_measured():
    fall = fall_of_one_point(curve((0, 0.9), (0.7, 0.895)), "accuracy")
    assert (fall.share, fall.last) == (None, 0.7)


def test_a_curve_without_a_level_at_nothing_removed_has_no_fall():
    assert fall_of_one_point(curve((0.1, 0.9), (0.7, 0.5)), "accuracy") is None
    assert fall_of_one_point(curve((0, 0.9)), "accuracy") is None


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
