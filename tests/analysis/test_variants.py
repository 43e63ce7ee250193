"""Which runs are one curve: seeds and targets together, settings apart, paths with their start."""

from dataclasses import replace

import pandas as pd
import pytest
from run_examples import make_config, make_result

from finegates_engine.analysis.tradeoff import curve_levels
from finegates_engine.analysis.variants import curve_rows
from finegates_engine.config import GateConfig, RunConfig, TaskConfig, TrainConfig
from finegates_engine.runs.store import RunStore


@pytest.fixture
def rows_of(tmp_path):
    """Curve rows of a store with these configs."""

    def made(*configs):
        store = RunStore(tmp_path / "store")
        for config in configs:
            assert store.save(make_result(config))
        return curve_rows(store.frame())

    return made


def on_path(target, *path, seed=0, **train):
    return RunConfig(
        task=TaskConfig(name="agreement"),
        gates=GateConfig(target=target),
        train=TrainConfig(**train),
        path=path,
        seed=seed,
    )


def test_targets_and_seeds_share_a_curve(rows_of):
    rows = rows_of(*(make_config(target=t, seed=s) for t in (0.1, 0.5) for s in (0, 1)))
    assert rows["curve"].nunique() == 1
    assert rows["variant"].unique().tolist() == [""]


def test_other_settings_are_another_variant_with_a_name(rows_of):
    rows = rows_of(make_config(), make_config(axes="all"), make_config(tie=False, axes="all"))
    names = rows.groupby("curve")["variant"].first().tolist()
    assert sorted(names) == ["", "all axes", "all axes, not tied"]


def test_the_papers_gates_without_a_low_rank_update_are_named_so(rows_of):
    paper = make_config(tie=False, axes="all")
    none, large = (replace(paper, model=replace(paper.model, low_rank=rank)) for rank in (0, 32))
    rows = rows_of(make_config(), none, large)
    names = rows.groupby("curve")["variant"].first().tolist()
    assert sorted(names) == [
        "",
        "all axes, not tied, no low-rank update",
        "all axes, not tied, rank 32",
    ]


def test_all_rows_are_no_variant_beside_the_first_ones(rows_of):
    some = RunConfig(task=TaskConfig(name="agreement", max_train_samples=4000))
    rows = rows_of(make_config(), some)
    assert sorted(rows.groupby("curve")["variant"].first()) == ["", "4,000 rows"]


def test_more_than_three_differences_are_counted(rows_of):
    many = {"axes": "all", "tie": False, "allocation": "vector", "relaxation": "clip"}
    rows = rows_of(make_config(), make_config(**many, start="equal", noise_std=0.25))
    name = rows["variant"].max()
    assert name == "all axes, not tied, a target a vector, 3 more"


def test_methods_and_tasks_have_curves_of_their_own(rows_of):
    other = RunConfig(task=TaskConfig(name="agreement"), method="random")
    rows = rows_of(make_config(), other, make_config(task="sst2"))
    assert rows["curve"].nunique() == 3
    assert rows["variant"].unique().tolist() == [""]


def test_path_begins_with_the_independent_run_it_began_with(rows_of):
    rows = rows_of(on_path(0.0), on_path(0.3, 0.0), on_path(0.5, 0.0, 0.3))
    path = rows[rows["strategy"] == "path"]
    assert path["target"].tolist() == [0.0, 0.3, 0.5]
    assert path["curve"].nunique() == 1
    assert rows[rows["strategy"] == "independent"]["target"].tolist() == [0.0]


def test_phases_of_a_first_level_that_removes_nothing_are_no_name_of_a_path(rows_of):
    def early(target, *path):
        config = on_path(target, *path)
        return replace(config, gates=replace(config.gates, open_start=0.2))

    late = on_path(0.3)
    rows = rows_of(early(0.0), early(0.3, 0.0), early(0.3, 0.1), late)
    names = rows.groupby(["strategy", "path"])["variant"].first().to_dict()
    assert names["path", "0"] == ""
    assert names["path", "0.1"] == "open start 0.2"
    single = rows[(rows["strategy"] == "independent") & (rows["target"] == 0.3)]
    assert single["variant"].tolist() == [""]


def test_two_paths_from_one_start_are_two_curves(rows_of):
    rows = rows_of(on_path(0.0), on_path(0.2, 0.0), on_path(0.4, 0.0, 0.2), on_path(0.6, 0.0, 0.2))
    paths = rows[rows["strategy"] == "path"].groupby("curve")["target"].agg(list)
    assert sorted(paths) == [[0.0, 0.2, 0.4], [0.0, 0.2, 0.6]]


def test_settings_of_paths_do_not_part_independent_runs(rows_of):
    rows = rows_of(on_path(0.0), on_path(0.3, path_epochs=0.7))
    assert rows["curve"].nunique() == 1


def test_same_seed_twice_counts_once(rows_of):
    rows = rows_of(make_config(seed=0), make_config(seed=1)).drop(columns=["curve", "variant"])
    copy = rows[:1].assign(run_id="agreement-finegates-t0.40-s0-ffffffffffff")
    assert len(curve_rows(pd.concat([rows, copy]))) == 2


def test_options_of_a_method_part_its_curves(rows_of):
    rows = rows_of(make_config(seed=0), make_config(seed=1)).drop(columns=["curve", "variant"])
    rows["method_options"] = ["", "rate=0.5,rows=3"]
    assert curve_rows(rows)["variant"].tolist() == ["", "rate=0.5, rows=3"]


def test_paths_of_other_rates_are_other_curves(rows_of):
    rows = rows_of(on_path(0.3, 0.0), on_path(0.3, 0.0, path_rate=1.0))
    assert sorted(rows["variant"]) == ["", "rates x1"]


def test_runs_on_other_data_are_not_averaged(rows_of):
    rows = rows_of(make_config(seed=0), make_config(seed=1))
    other = pd.concat([rows[:1], rows[1:].assign(data_hash="e" * 12)])
    assert curve_rows(other.drop(columns=["curve", "variant"]))["curve"].nunique() == 2


def test_no_runs_give_no_rows(tmp_path):
    empty = curve_rows(RunStore(tmp_path).frame())
    assert len(empty) == 0
    assert {"curve", "variant", "strategy", "trained_parameters"} <= set(empty.columns)


def test_no_runs_give_no_levels(tmp_path):
    levels = curve_levels(curve_rows(RunStore(tmp_path).frame()))
    assert len(levels) == 0
    assert {"curve", "target", "folded_encoder_fraction", "seeds", "run_ids"} <= set(levels.columns)


def test_trained_parameters_are_the_sum_over_kinds(rows_of):
    assert rows_of(make_config())["trained_parameters"].tolist() == [28]


def test_frame_is_not_changed(tmp_path):
    store = RunStore(tmp_path)
    store.save(make_result())
    frame = store.frame()
    before = frame.copy()
    curve_rows(frame)
    pd.testing.assert_frame_equal(frame, before)
