"""The figures of the training and the method page."""

import numpy as np
import pandas as pd
import pytest
from explorer_stores import run_of

from explorer.figures.teaching import (
    BIN,
    beliefs_figure,
    density_figure,
    layer_figure,
    probability_figure,
    removal_figure,
)
from explorer.figures.training import Panel, Phase, training_figure
from explorer.look.theme import STRONG
from explorer.teaching import gate_maths, tiny_ffn
from explorer.words import training_words
from finegates_engine.runs.store import RunStore

PANELS = [
    Panel("gates_closed", "Gates closed (share of all)", share=True),
    Panel("score", "Accuracy (validation)"),
    Panel("loss", "Loss (nats)"),
    Panel("penalty", "Penalty (share)", share=True),
]


def notes(figure):
    return [note.text for note in figure.layout.annotations]


@pytest.fixture
def history():
    steps = np.arange(1, 21)
    return pd.DataFrame(
        {
            "step": steps,
            "epoch": steps / 10,
            "loss": 1 / steps,
            "gates_closed": np.clip((steps - 4) / 10, 0, 0.5),
            "target": np.clip((steps - 3) / 10, 0, 0.5),
            "penalty": [np.nan] * 4 + [0.01] * 16,
            "score": [np.nan] * 9 + [0.7] + [np.nan] * 9 + [0.8],
        }
    )


@pytest.fixture
def record(tmp_path):
    store = RunStore(tmp_path)
    store.save(run_of())
    return store.load(store.ids()[0]).record


def test_training_has_a_panel_a_quantity_over_the_same_epochs(history):
    figure = training_figure(history, PANELS, [Phase("open", 0, 0.4), Phase("learn", 0.4, 2)])
    titles = [figure.layout[f"yaxis{n}"].title.text for n in ("", 2, 3, 4)]
    assert titles == [panel.title for panel in PANELS]
    assert figure.layout.xaxis4.title.text.startswith("Epochs")
    assert notes(figure)[:2] == ["open", "learn"]
    assert len(figure.layout.shapes) == len(PANELS)


def test_every_logged_step_has_a_mark(history):
    figure = training_figure(history, PANELS)
    counts = {len(t.x) for t in figure.data if t.yaxis == "y3"}
    assert counts == {20}
    assert [len(t.x) for t in figure.data if t.yaxis == "y4"] == [16]
    assert [len(t.x) for t in figure.data if t.yaxis == "y2"] == [2]


def test_quantity_that_a_run_has_not_is_left_out(history):
    figure = training_figure(history[["step", "loss"]], PANELS)
    assert figure.layout.yaxis.title.text == "Loss (nats)"
    assert figure.layout.xaxis.title.text == "Steps"
    assert "yaxis2" not in figure.layout.to_plotly_json()


@pytest.mark.parametrize("empty", [pd.DataFrame(), pd.DataFrame({"step": [1]})])
def test_no_history_is_a_note(empty):
    figure = training_figure(empty, PANELS)
    assert not figure.data
    assert "no history" in notes(figure)[0]


def test_finding_says_when_the_gates_had_closed(history, record):
    title, subtitle = training_words.finding(history, record)
    assert title.startswith("50% of the gates had closed after 45% of the training; accuracy ")
    assert subtitle.startswith("The loss fell from 0.75 to 0.051")


def test_finding_of_a_run_without_gates_is_its_score(history, record):
    title, _ = training_words.finding(history[["step", "loss"]], record)
    assert title.startswith("Accuracy 0.")
    assert training_words.finding(history[:0], record)[0].startswith("Accuracy 0.")


def test_phases_are_those_of_the_schedule(record):
    from finegates_engine.gates.schedule import moment

    found = training_words.phases(record.config)
    assert [phase.name for phase in found] == ["open", "learn", "fixed"]
    epochs = record.config.train.epochs
    for phase in found:
        middle = (phase.start + phase.end) / 2 / epochs
        assert moment(record.config, middle).phase == phase.name
    assert (found[0].start, found[-1].end) == (0, epochs)


def test_gates_closed_at_random_have_no_phases():
    assert training_words.phases(run_of(method="random").config) == []


@pytest.mark.parametrize(("mu", "std"), [(-0.5, 0.1), (0.0, 0.6), (1.0, 0.02), (-1.0, 0.02)])
def test_density_and_bars_are_all_of_the_steps(mu, std):
    figure = density_figure(mu, std)
    curve, closed, opened = figure.data
    area = np.trapezoid(curve.y, curve.x) / BIN
    assert area + closed.y[0] + opened.y[0] == pytest.approx(1, abs=0.01)
    assert figure.layout.yaxis.range[1] > max(closed.y[0], opened.y[0])
    assert closed.marker.pattern.shape
    assert not opened.marker.pattern.shape


def test_gap_to_what_is_wanted_is_the_penalty():
    figure = probability_figure(-0.3, 0.2, 0.4)
    gap = next(t for t in figure.data if t.name == "Penalty")
    assert abs(gap.y[0] - gap.y[1]) == pytest.approx(gate_maths.penalty(-0.3, 0.2, 0.4))
    assert gap.line.color == STRONG


def test_closed_rows_and_columns_are_absent():
    figure = removal_figure([0, 1, 2, 3], [5, 6], 10)
    assert np.isfinite(np.asarray(figure.data[0].z)).sum() == 48
    assert "48 of 100 weights left" in notes(figure)
    assert figure.layout.yaxis.title.text == "Rows, outputs (6 of 10 kept)"


@pytest.mark.parametrize(("stage", "cells", "numbers"), [("dense", 30, 30), ("gated", 18, 30)])
def test_layer_shows_each_weight_once(stage, cells, numbers):
    figure = layer_figure(tiny_ffn.gates_of([1, 3]), stage)
    assert sum(np.isfinite(np.asarray(t.z)).sum() for t in figure.data) == cells
    assert len(notes(figure)) == numbers + 2
    assert "\u22120" not in notes(figure)


def test_folded_layer_keeps_the_names_of_its_dimensions():
    figure = layer_figure(tiny_ffn.gates_of([1, 3], [0]), "folded")
    assert list(figure.data[0].y) == list(figure.data[1].x) == ["1", "3", "5"]
    assert "0.2" in notes(figure)


def test_beliefs_are_the_three_shares_of_the_design():
    shares = beliefs_figure(0.4, 0.5).data[0].x
    assert shares == pytest.approx([0.4, 0.1026, 0.0], abs=1e-3)
    assert beliefs_figure(0.4, 0.1).data[0].x == pytest.approx([0.4, 0.4, 0.0], abs=1e-9)


def test_numbers_stand_on_their_cells():
    figure = layer_figure(tiny_ffn.gates_of([1, 3]), "folded")
    for trace, axis in zip(figure.data, ("x", "x2"), strict=True):
        cells = np.asarray(trace.z)
        for note in figure.layout.annotations:
            if note.xref == axis or (axis == "x" and note.xref == "x1"):
                shown = float(note.text.replace("\u2212", "-"))
                assert cells[note.y, note.x] == shown
