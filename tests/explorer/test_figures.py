"""All figures: a note for no data, one colour a method, labels apart; and how far gates agree."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from explorer_stores import SHAPE
from figure_examples import X, Y, notes

from explorer.figures.agreement import frequency_figure, jaccard_figure, nestedness_figure
from explorer.figures.end_labels import spread
from explorer.figures.gate_map import gate_map_figure, gate_movie_figure
from explorer.figures.gate_matrix import kept_share_figure, matrix_figure
from explorer.figures.trade_off import trade_off_figure
from explorer.look.theme import METHODS, STRONG, method_style, note_figure, template
from finegates_engine.analysis.gate_statistics import frequency_table, nestedness
from finegates_engine.analysis.tradeoff import quantity


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
