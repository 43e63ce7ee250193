"""The trade-off figure: titles with units, one mark a row, bands, rings and a baseline."""

import dataclasses

import pytest
from explorer_stores import full_results
from figure_examples import X, Y, notes

from explorer.figures.trade_off import trade_off_figure
from explorer.look.theme import method_style
from explorer.words import levels
from finegates_engine.analysis.intervals import Interval
from finegates_engine.analysis.tradeoff import curve_levels, quantity
from finegates_engine.analysis.variants import curve_rows
from finegates_engine.runs.store import RunStore


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("figures"))
    for result in full_results():
        store.save(result)
    every = curve_rows(store.frame())
    return every[every["task"] == "sst2"]


@pytest.fixture(scope="module")
def curves(rows):
    shown = curve_levels(rows)
    known = {runs: _interval(y) for runs, y in zip(shown["run_ids"], shown[Y], strict=True)}
    return levels.build_curves(shown, rows, X, Y, known)


def _interval(mean):
    return Interval(mean - 0.02, mean, mean + 0.03, 3, "rows and seeds")


def test_trade_off_axes_say_what_and_in_which_unit(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    assert figure.layout.xaxis.title.text == "Encoder weights removed (share of all)"
    assert figure.layout.yaxis.title.text == "Accuracy (share of rows, 0 to 1)"


def test_every_level_has_one_mark_with_its_run_and_its_ladder(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    for curve in curves:
        trace = next(t for t in figure.data if t.name == curve.label)
        if not curve.baseline:
            assert list(trace.x) == list(curve.levels["x"])
            assert list(trace.y) == list(curve.levels["y"])
            assert list(trace.customdata) == list(curve.levels["run_id"])
        assert all("Gates closed" in text or "Full" in text for text in trace.text)


def test_single_seeds_are_marks_too(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    dots = sum(len(t.x) for t in figure.data if t.mode == "markers" and t.customdata is not None)
    assert dots == sum(len(curve.seeds) for curve in curves)
    assert dots > 20


def test_method_keeps_its_colour_whatever_else_is_shown(curves):
    for shown in (curves, curves[-1:], curves[::-1]):
        figure = trade_off_figure(shown, quantity(X), quantity(Y))
        for curve in shown:
            trace = next(t for t in figure.data if t.name == curve.label)
            assert trace.line.color == method_style(curve.method).colour


def test_curves_of_one_method_differ_in_dash_and_marker(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    own = [c.label for c in curves if c.method == "finegates"]
    marks = [(t.line.dash, t.marker.symbol) for t in figure.data if t.name in own]
    assert len(set(marks)) == len(marks) == len(own) > 3


def test_band_joins_the_known_intervals(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    plain = next(c for c in curves if c.label == "FineGates")
    bands = [t for t in figure.data if t.fill == "toself" and len(t.x) == 2 * len(plain.levels)]
    edges = [*plain.levels["high"], *plain.levels["low"][::-1]]
    assert any(list(band.y) == edges for band in bands)


def test_no_interval_gives_no_band_and_no_error(rows):
    shown = curve_levels(rows)
    figure = trade_off_figure(levels.build_curves(shown, rows, X, Y, {}), quantity(X), quantity(Y))
    assert not any(t.fill == "toself" for t in figure.data)


def test_selected_run_has_a_ring_of_its_own(curves):
    run = curves[-1].levels["run_id"].iloc[0]
    figure = trade_off_figure(curves, quantity(X), quantity(Y), selected=run)
    ring = next(t for t in figure.data if t.name == "Selected run")
    assert list(ring.x) == [curves[-1].levels["x"].iloc[0]]


def test_rings_are_the_pareto_front_of_what_is_shown(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    ring = next(t for t in figure.data if t.name == "Pareto front")
    points = [(p["x"], p["y"]) for c in curves for p in c.levels.to_dict("records")]
    best = [p for p in points if not any(o != p and o[0] >= p[0] and o[1] >= p[1] for o in points)]
    assert sorted(zip(ring.x, ring.y, strict=True)) == sorted(best)


def test_level_out_of_reach_is_named_at_the_curves_end(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    named = [text for text in notes(figure) if "attention only" in text.replace("<br>", " ")]
    assert len(named) == 1
    assert "reached 16%" in named[0]


def test_baseline_is_a_line_as_far_as_the_curves_go(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    line = next(t for t in figure.data if t.name == "Full finetuning")
    assert line.x[0] == figure.layout.xaxis.range[0]
    assert line.x[-1] == max(curve.levels["x"].max() for curve in curves)
    assert len(set(line.y)) == 1


@pytest.mark.parametrize("x", ["target", "gate_sparsity", "macs_per_token"])
@pytest.mark.parametrize("y", ["seconds_total", "trained_parameters", Y])
def test_any_rung_against_any_cost(rows, x, y):
    shown = curve_levels(rows)
    figure = trade_off_figure(levels.build_curves(shown, rows, x, y, {}), quantity(x), quantity(y))
    assert figure.layout.xaxis.title.text == quantity(x).axis_title
    assert len(figure.data) > 3


def test_of_many_methods_only_finegates_has_a_band_and_seeds(curves, rows):
    many = [dataclasses.replace(c, method=m) for c in curves[:1] for m in ("l0", "svd", "taylor")]
    shown = [*many, *curves]
    figure = trade_off_figure(shown, quantity(X), quantity(Y))
    strong = method_style("finegates").colour
    dots = [t for t in figure.data if t.mode == "markers" and t.customdata is not None]
    assert {t.marker.color for t in dots} == {strong}
    bands = [t for t in figure.data if t.fill == "toself"]
    assert bands
    assert all(t.fillcolor.startswith("rgba(213,94,0") for t in bands)


def test_label_of_a_line_is_its_short_name(curves):
    figure = trade_off_figure(curves, quantity(X), quantity(Y))
    assert len(figure.layout.annotations) == len(curves)
    assert method_style("taylor-posthoc").short == "Taylor post hoc"
    assert method_style("activation").short == "Activation"
    assert method_style("finegates").short == "FineGates"
