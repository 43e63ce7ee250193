"""Figures: titles with units, one mark a row, a note for no data, one colour a method."""

import dataclasses

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from explorer_stores import SHAPE, full_results, run_of

from explorer.figures.agreement import frequency_figure, jaccard_figure, nestedness_figure
from explorer.figures.end_labels import spread
from explorer.figures.gate_map import gate_map_figure, gate_movie_figure
from explorer.figures.gate_matrix import kept_share_figure, matrix_figure
from explorer.figures.trade_off import trade_off_figure
from explorer.look.theme import METHODS, STRONG, method_style, note_figure, template
from explorer.words import levels
from finegates_engine.analysis.gate_statistics import frequency_table, kept_shares, nestedness
from finegates_engine.analysis.gate_vectors import vector_kinds
from finegates_engine.analysis.intervals import Interval
from finegates_engine.analysis.tradeoff import curve_levels, quantity
from finegates_engine.analysis.variants import curve_rows
from finegates_engine.runs.store import RunStore

X, Y = "folded_encoder_fraction", "metrics.validation.accuracy"


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


@pytest.fixture(scope="module")
def gates():
    result = run_of(soft=True)
    values = {n[12:]: v for n, v in result.adapter.items() if n.startswith("gate_values.")}
    return values, vector_kinds(result.config.gates, SHAPE)


def _interval(mean):
    return Interval(mean - 0.02, mean, mean + 0.03, 3, "rows and seeds")


def notes(figure):
    return [a.text for a in figure.layout.annotations]


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


@pytest.mark.parametrize(
    "figure",
    [
        trade_off_figure([], quantity(X), quantity(Y)),
        gate_map_figure({}, [], SHAPE),
        gate_movie_figure({}, [], [], SHAPE),
        kept_share_figure(pd.DataFrame(), []),
        matrix_figure(None, None, (4, 4)),
        jaccard_figure(pd.DataFrame()),
        frequency_figure(pd.DataFrame()),
        nestedness_figure(pd.DataFrame({"stay": [], "low": [], "high": [], "chance": []})),
    ],
)
def test_nothing_to_draw_gives_a_figure_with_a_note(figure):
    assert len(notes(figure)) == 1
    assert not figure.data


def test_gate_map_has_a_cell_for_each_gate_and_none_for_closed_ones(gates):
    values, kinds = gates
    hard = {name: np.ceil(vector) for name, vector in values.items()}
    figure = gate_map_figure(hard, kinds, SHAPE)
    cells = sum(int(np.isfinite(t.z).sum()) for t in figure.data if t.type == "heatmap")
    assert cells == sum(int((vector > 0).sum()) for vector in hard.values())


def test_soft_gates_are_hatched_and_open_ones_are_full(gates):
    values, kinds = gates
    figure = gate_map_figure(values, kinds, SHAPE)
    drawn = np.concatenate([np.asarray(t.z).ravel() for t in figure.data if t.type == "heatmap"])
    soft = sum(int(((v > 0) & (v < 1)).sum()) for v in values.values())
    opened = sum(int((v == 1).sum()) for v in values.values())
    assert np.isclose(drawn, 0.25).sum() == 2 * soft
    assert (drawn == 1).sum() == 4 * opened


def test_hover_of_a_cell_names_its_layer_head_and_dimension(gates):
    values, kinds = gates
    heat = gate_map_figure(values, kinds, SHAPE).data[0]
    where, cells = np.asarray(heat.customdata), np.asarray(heat.z)
    kept = np.isfinite(cells)
    for layer, _, dimension in where[kept]:
        assert values[f"{layer - 1}/{kinds[0].name}"][dimension] > 0
    assert set(where[kept][:, 1]) <= {1, 2, 3, 4}


def test_sorted_map_fills_each_block_from_its_start(gates):
    values, kinds = gates
    hard = {name: np.ceil(vector) for name, vector in values.items()}
    heat = gate_map_figure(hard, kinds, SHAPE, by_value=True).data[0]
    first_head = np.asarray(heat.z)[:4, 0]
    assert (np.diff(np.isfinite(first_head).astype(int)) <= 0).all()


def test_movie_has_a_frame_a_moment_and_few_traces():
    result = run_of(history=True)
    kinds = vector_kinds(result.config.gates, SHAPE)
    history = result.gate_history
    figure = gate_movie_figure(history.values, list(history.steps), kinds, SHAPE)
    assert [frame.name for frame in figure.frames] == ["25", "50", "75", "100"]
    assert len(figure.layout.sliders[0].steps) == 4
    assert figure.layout.sliders[0].currentvalue.xanchor == "right"  # the buttons are at the left
    assert len(figure.frames[0].data) == len(kinds) == 3
    open_at_first = np.asarray(figure.frames[0].data[0].z)
    assert np.nanmin(open_at_first) == 1


def test_large_encoder_is_drawn_with_few_traces():
    result = run_of()
    big = vector_kinds(result.config.gates, SHAPE)
    assert len(gate_map_figure(_values(result), big, SHAPE).data) == len(big) + 1


def _values(result):
    return {n[12:]: v for n, v in result.adapter.items() if n.startswith("gate_values.")}


def test_kept_shares_are_written_into_their_cells(gates):
    values, kinds = gates
    figure = kept_share_figure(kept_shares(values), kinds)
    assert len(notes(figure)) == SHAPE.layers * len(kinds)
    assert figure.layout.xaxis.title.text == "Gates kept (share of the vector)"


def test_matrix_says_how_many_rows_and_columns_stay():
    rows = np.array([1, 0, 1, 0.5], np.float32)
    figure = matrix_figure(rows, None, (4, 6))
    assert figure.layout.yaxis.title.text == "Rows, outputs (3 of 4 kept)"
    assert figure.layout.xaxis.title.text == "Columns, inputs (6 of 6 kept)"


def test_agreement_shows_what_was_measured_beside_chance():
    table = pd.DataFrame({"label": ["Seed 1"], "jaccard": [0.8], "chance": [0.5]})
    by_name = {t.name: t for t in jaccard_figure(table).data}
    assert by_name["Measured"].x[0] == 0.8
    assert by_name["Chance"].x[0] == 0.5
    assert by_name["Measured"].marker.symbol != by_name["Chance"].marker.symbol


def test_frequency_and_nestedness_are_shares():
    masks = [{"a": np.array([True, False, True])}, {"a": np.array([True, True, False])}]
    figure = frequency_figure(frequency_table(masks))
    assert sum(figure.data[0].y) == pytest.approx(1)
    steps = nestedness([(0.3, masks[0]), (0.4, masks[1])])
    assert list(nestedness_figure(steps).data[1].y) == [0.0]


def test_labels_that_would_overlap_are_moved_apart():
    places = spread([1.0, 1.1, 5.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], 0.5)
    assert places[1] - places[0] == pytest.approx(1.0)
    assert places[2] == 5.0
    assert spread([1.0, 1.1], [1.0, 1.0], [0.0, 9.0], 0.5) == [1.0, 1.1]


def test_finegates_alone_has_the_strong_colour_and_controls_are_grey():
    assert method_style("finegates").colour == STRONG
    others = [style for name, style in METHODS.items() if name != "finegates"]
    assert all(style.colour != STRONG for style in others)
    assert method_style("something new") == method_style("something new")


def test_text_of_both_templates_can_be_read():
    for dark in (False, True):
        ink = template(dark).layout.font.color
        assert contrast(ink, template(dark).layout.paper_bgcolor) > 7
    assert isinstance(note_figure("why"), go.Figure)


def contrast(a, b):
    """WCAG contrast ratio of two colours, #RRGGBB."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_labels_stay_within_the_figure_and_apart():
    places = spread([0.0, 0.1, 9.9, 10.0], [1.0] * 4, [0.0] * 4, 0.5, bounds=(0.0, 10.0))
    assert min(places) >= 0.5
    assert max(places) <= 9.5
    assert np.diff(sorted(places)).min() >= 1 - 1e-6


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
