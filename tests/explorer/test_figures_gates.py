"""Figures of gates: a cell for each, closed ones left out, soft ones hatched, shares written."""

import numpy as np
import pytest
from explorer_stores import SHAPE, run_of
from figure_examples import notes

from explorer.figures.gate_map import gate_map_figure, gate_movie_figure
from explorer.figures.gate_matrix import kept_share_figure, matrix_figure
from finegates_engine.analysis.gate_statistics import kept_shares
from finegates_engine.analysis.gate_vectors import vector_kinds


@pytest.fixture(scope="module")
def gates():
    result = run_of(soft=True)
    values = {n[12:]: v for n, v in result.adapter.items() if n.startswith("gate_values.")}
    return values, vector_kinds(result.config.gates, SHAPE)


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
