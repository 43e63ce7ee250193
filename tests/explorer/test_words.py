"""Sentences and choices computed from what is shown."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from explorer_stores import full_results, run_of

from explorer.look.glossary import explain
from explorer.look.numbers import points_text, range_text, value_text
from explorer.widgets.parts import plain
from explorer.words import findings, gate_words, levels
from finegates_engine.analysis.intervals import Interval
from finegates_engine.analysis.tradeoff import curve_levels, quantity
from finegates_engine.analysis.variants import curve_rows
from finegates_engine.ladder import RUNGS
from finegates_engine.metrics import METRICS
from finegates_engine.results import GateHistory
from finegates_engine.runs.store import RunStore

Y = "metrics.validation.accuracy"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("words"))
    for result in full_results():
        store.save(result)
    every = curve_levels(curve_rows(store.frame()))
    return every[every["task"] == "sst2"]


def cost_of(points):
    """Level and reference that differ by so many points."""
    plain_level = {"method": "finegates", "strategy": "independent", "variant": "", "seeds": 3}
    level = pd.Series(plain_level | {Y: 0.85 - points / 100, "folded_encoder_fraction": 0.5})
    return level, pd.Series(plain_level | {Y: 0.85, "folded_encoder_fraction": 0.0})


@pytest.mark.parametrize(
    ("points", "low", "high", "title"),
    [
        (1.2, 0.2, 2.2, "Half of the encoder goes for 1.2 points of accuracy"),
        (-0.4, -1.0, 0.2, "Half of the encoder goes without a loss of accuracy"),
        (-2.0, -3.0, -1.0, "Half of the encoder goes and accuracy is 2.0 points better"),
    ],
)
def test_finding_says_the_cost_and_no_more_than_is_known(points, low, high, title):
    level, reference = cost_of(points)
    difference = Interval(-high / 100, -points / 100, -low / 100, 3, "rows and seeds")
    said = findings.finding(level, reference, difference, "folded_encoder_fraction", Y)
    assert said[0] == title
    assert "(3 seeds)" in said[1]
    assert ("contains 0" in said[1]) == (low < 0 < high)


def test_headline_is_about_half_removed_by_finegates(shown):
    level = shown.loc[findings.headline_level(shown, "folded_encoder_fraction", Y)]
    assert level["method"] == "finegates"
    assert level["variant"] == ""
    assert 0.45 < level["folded_encoder_fraction"] < 0.55
    against = shown.loc[findings.reference_level(shown, level)]
    assert (against["curve"], against["folded_encoder_fraction"]) == (level["curve"], 0)


def test_without_finegates_the_control_is_not_the_headline(shown):
    controls = shown[shown["method"].isin(["random", "full"])]
    assert findings.headline_level(controls, "folded_encoder_fraction", Y) is None
    assert findings.finding(None, None, None, "target", Y)[0] == "Accuracy against target"


def test_first_curves_are_each_methods_own_and_the_path(shown):
    chosen = shown[shown["curve"].isin(levels.default_curves(shown))]
    labels = {levels.curve_label(row) for _, row in chosen.groupby("curve").first().iterrows()}
    assert labels == {"FineGates", "FineGates, path", "Full finetuning", "Random gates"}


def test_of_many_methods_the_rivals_that_finegates_is_held_against_are_shown(shown):
    one = shown[shown["method"] == "random"].head(1)
    names = ["probe", "movement", "bitfit", "taylor", "magnitude", "random", "lora", "full"]
    names = ["finegates", *names]
    many = [one.assign(curve=i, method=name, run_ids=[(name,)]) for i, name in enumerate(names)]
    frame = pd.concat(many, ignore_index=True)
    chosen = frame[frame["curve"].isin(levels.default_curves(frame))]["method"]
    assert {"finegates", "taylor", "random", "magnitude", "lora", "full"} < set(chosen)
    assert "probe" not in set(chosen)
    alone = frame[frame["method"] == "probe"]
    assert levels.default_curves(alone) == alone["curve"].tolist()


def test_start_of_a_path_is_not_a_curve_of_its_own(shown):
    path = shown[shown["strategy"] == "path"]
    start = path.head(1).assign(curve=99, strategy="independent")
    assert levels.default_curves(pd.concat([path, start])) == path["curve"].unique().tolist()


def test_codes_of_curves_are_different(shown):
    first = [row for _, row in shown.groupby("curve").first().iterrows()]
    codes = [levels.curve_code(row) for row in first]
    assert len(set(codes)) == len(codes)


def test_table_has_a_row_a_level_and_names_what_is_out_of_reach(shown):
    table = levels.level_table(shown, Y, {})
    assert len(table[table["Run"] != ""]) == len(shown)
    gaps = table[table["Run"] == ""]
    assert set(gaps["Curve"]) == {"FineGates, attention only"}
    assert gaps["Note"].str.startswith("out of reach").all()


def test_others_are_seeds_targets_and_tasks(tmp_path):
    store = RunStore(tmp_path)
    for result in full_results():
        store.save(result)
    rows = curve_rows(store.frame())
    plain_rows = rows[(rows["variant"] == "") & (rows["method"] == "finegates")]
    own = plain_rows[(plain_rows["task"] == "sst2") & (plain_rows["target"] == 0.5)]
    run = own[(own["seed"] == 0) & (own["strategy"] == "independent")]["run_id"].iloc[0]
    found = gate_words.others(rows, run)
    assert list(found.seeds.values()) == ["Seed 1", "Seed 2"]
    assert list(found.targets.values()) == ["Target 30%", "Target 70%"]
    assert list(found.tasks.values()) == ["Task STS-B"]
    assert run not in found.all


def test_everything_that_can_be_plotted_has_an_explanation():
    for term in (*RUNGS, *METRICS):
        assert len(explain(term)) > 20


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("folded_encoder_fraction", 0.5, "50.0%"),
        ("macs_per_token", 5.46e6, "5.5M"),
        ("seconds_total", 143.8, "2 min"),
        ("latency_ms", 10.26, "10.3 ms"),
        ("latency_ms", 99.97, "100 ms"),
        ("latency_ms", 1363.2, "1,363 ms"),
        (Y, 0.8376, "0.838"),
        (Y, float("nan"), "-"),
    ],
)
def test_values_have_units_and_sensible_digits(column, value, text):
    assert value_text(value, quantity(column)) == text


def test_points_and_ranges_have_a_real_minus():
    assert points_text(-1.25) == "\u22121.2 points"
    assert range_text(-0.4, 2.3) == "\u22120.4 to 2.3"
    assert range_text(-0.01, 0.0) == "0.0 to 0.0"


def test_markup_in_text_is_shown_as_it_is():
    shown = plain("<b>*x*</b> [a](http://b) $y$ :smile: `z`")
    assert all(f"\\{mark}" in shown for mark in "<*[($:`")


def test_movie_says_how_many_gates_close():
    frames = {"0/a": np.array([[255, 255], [255, 128], [0, 255]], dtype=np.uint8)}
    history = GateHistory(steps=np.array([0, 5, 9]), values=frames)
    title, subtitle = gate_words.movie_finding(history)
    assert title == "From 0% to 50% of the gates closed in 9 steps"
    assert subtitle == "3 moments of the training. At the end no gate is soft."
    soft = GateHistory(steps=np.array([0, 5]), values={"0/a": frames["0/a"][:2]})
    title, subtitle = gate_words.movie_finding(soft)
    assert title == "0% of the gates are closed, as at the start of the training"
    assert "1 of 2 gates are soft: they are kept" in subtitle


def test_of_several_backbones_each_is_named_in_hover_and_table(tmp_path):
    store = RunStore(tmp_path)
    for method, backbone in (("finegates", "org/one"), ("random", "org/two")):
        result = run_of(method=method)
        model = dataclasses.replace(result.config.model, backbone=backbone)
        store.save(
            dataclasses.replace(result, config=dataclasses.replace(result.config, model=model))
        )
    rows = curve_rows(store.frame())
    table = curve_levels(rows)
    curves = levels.build_curves(table, rows, "folded_encoder_fraction", Y, {})
    hovers = [curve.levels["hover"].iloc[0] for curve in curves]
    assert ["two" in hover for hover in hovers] == [True, False]
    assert levels.level_table(table, Y, {})["Curve"].str.contains("two").sum() == 1
    alone = levels.build_curves(table[table["method"] == "random"], rows, "gate_sparsity", Y, {})
    assert "two" not in alone[0].levels["hover"].iloc[0]
