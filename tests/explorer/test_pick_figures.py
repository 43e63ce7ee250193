"""Figures of "Pick a level" and "Compare"."""

import pandas as pd
import pytest

from explorer.figures.changes import changes_figure, errors_figure
from explorer.figures.levels_within import Mark, levels_figure
from explorer.look.theme import method_style


def mark(removed: float, drop: float, **changes) -> Mark:
    plain = {
        "method": "finegates",
        "run_id": f"run-{removed}-{drop}",
        "removed": removed,
        "drop": drop,
        "low": drop - 1,
        "high": drop + 1,
        "holds": True,
        "choice": "",
        "text": "all of it",
    }
    return Mark(**(plain | changes))


def marks_of(figure):
    return [trace for trace in figure.data if trace.customdata is not None]


def test_a_mark_a_level_in_its_methods_colour():
    figure = levels_figure(
        [mark(0.3, 1.0), mark(0.5, 2.0, method="random")], limit=1.5, unit="points"
    )
    drawn = marks_of(figure)
    assert [len(trace.x) for trace in drawn] == [1, 1]
    assert drawn[0].marker.color == method_style("finegates").colour
    assert drawn[1].marker.color == method_style("random").colour
    assert "points" in figure.layout.yaxis.title.text
    assert "share" in figure.layout.xaxis.title.text


def test_levels_that_break_a_limit_are_open_marks():
    figure = levels_figure([mark(0.3, 1.0), mark(0.5, 2.0, holds=False)], limit=1.5, unit="percent")
    assert list(marks_of(figure)[0].marker.symbol) == ["circle", "circle-open"]
    assert any("limit: 1.5 %" in a.text for a in figure.layout.annotations)


def test_levels_of_one_share_stand_side_by_side():
    figure = levels_figure([mark(0.5, drop) for drop in (1.0, 2.0, 3.0)], limit=None, unit="points")
    places = sorted(marks_of(figure)[0].x)
    assert places[1] == pytest.approx(0.5)
    assert 0 < places[1] - places[0] < 0.02
    assert len(set(places)) == 3


def test_wide_interval_does_not_flatten_the_rest():
    figure = levels_figure(
        [mark(0.3, 1.0), mark(0.5, 2.0, low=-500, high=500)], limit=1.5, unit="points"
    )
    low, high = figure.layout.yaxis.range
    assert -6 < low < 0 < 3 < high < 8


def test_choices_are_named():
    chosen = [mark(0.5, 1.0, choice="recommended"), mark(0.5, 1.1, choice="runner-up")]
    figure = levels_figure(chosen, limit=2.0, unit="points")
    assert {"recommended", "runner-up"} <= {a.text for a in figure.layout.annotations}


def rows(**columns) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    plain = {"row_id": range(count), "text_hash": [f"h{n}" for n in range(count)]}
    return pd.DataFrame(plain | columns)


def test_a_mark_a_row_by_kind_of_change():
    table = rows(
        larger_sure=[0.9, 0.2, 0.9, 0.1],
        smaller_sure=[0.1, 0.8, 0.9, 0.1],
        change=["lost", "won", "both right", "both wrong"],
    )
    figure = changes_figure(table, {"h0": "a text"}, larger="Dense", smaller="Small")
    drawn = marks_of(figure)
    assert sum(len(trace.x) for trace in drawn) == 4
    assert drawn[-1].name == "only larger right (1)"
    assert list(drawn[-1].text) == ["a text"]
    assert figure.layout.xaxis.title.text == "Dense: probability of the true class"


def test_a_mark_a_row_by_distance():
    table = rows(larger_error=[0.5, 1.0], smaller_error=[1.0, 0.2], worse=[0.5, -0.8])
    figure = errors_figure(table, {}, larger="Dense", smaller="Small")
    assert [trace.name for trace in marks_of(figure)] == [
        "smaller nearer (1)",
        "smaller further off (1)",
    ]
    assert "(score)" in figure.layout.yaxis.title.text


def test_empty_data_gives_a_note():
    none = rows(larger_sure=[])
    for figure in (
        levels_figure([], limit=1.0, unit="points"),
        changes_figure(none, {}, larger="a", smaller="b"),
        errors_figure(none, {}, larger="a", smaller="b"),
    ):
        assert not figure.data
        assert figure.layout.annotations[0].text
