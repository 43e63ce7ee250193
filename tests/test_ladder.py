"""The ladder's rungs against numbers worked out by hand."""

import time
from dataclasses import fields

import numpy as np
import pytest
from shapes import MINILM

from finegates_engine.errors import UserError
from finegates_engine.ladder import (
    RUNGS,
    EncoderShape,
    Ladder,
    LayerMasks,
    count_ladder,
    target_axis_title,
)

TINY = EncoderShape(
    layers=1, hidden=4, heads=2, key_value_heads=2, head_size=2, ffn=10, model_parameters=288
)


def count(shape, masks, **changes):
    options = {"target": 0.4, "target_unit": "gates", "gates_closed": 0, "gates_total": 10}
    return count_ladder(shape, masks, **(options | changes))


def test_forty_percent_of_the_gates_on_both_axes_are_sixty_four_of_the_weights():
    shape = EncoderShape(
        layers=2, hidden=10, heads=5, key_value_heads=5, head_size=2, ffn=10, model_parameters=9999
    )
    kept = np.arange(10) >= 4
    masks: list[LayerMasks] = [dict.fromkeys(shape.matrices(), (kept, kept))] * 2
    ladder = count(shape, masks, gates_closed=96, gates_total=240)
    assert ladder.gate_sparsity == pytest.approx(0.4)
    assert ladder.removed_weight_fraction == pytest.approx(0.64)
    assert ladder.folded_encoder_fraction == pytest.approx(0.4)


def test_every_rung_of_a_small_example_by_hand():
    masks: list[LayerMasks] = [{"ffn_in": (np.arange(10) >= 5, None)}]
    ladder = count(TINY, masks, gates_closed=5, gates_total=10)
    assert ladder.gated_weights == 4 * 10  # ffn_in alone
    assert ladder.gated_weights_kept == 4 * 5
    assert ladder.removed_weight_fraction == 0.5
    assert ladder.encoder_weights == 4 * 4 * 4 + 2 * 40  # 144
    assert ladder.folded_weights == 144 - 2 * 4 * 5  # ffn_out loses its columns too
    assert ladder.folded_encoder_fraction == pytest.approx(40 / 144)
    assert ladder.removed_model_fraction == pytest.approx(40 / 288)
    assert ladder.dense_macs_per_token == 144 + 64 * (4 + 4)
    assert ladder.macs_per_token == 104 + 64 * (4 + 4)
    assert ladder.macs_tokens == 64


def test_side_without_gates_counts_whole_and_matrix_without_gates_not_at_all():
    masks: list[LayerMasks] = [
        {"query": (np.array([True, False, True, True]), None), "key": (None, None)}
    ]
    ladder = count(TINY, masks)
    assert (ladder.gated_weights, ladder.gated_weights_kept) == (16, 12)


def test_model_without_gates_has_no_gate_rungs_and_nothing_removed():
    ladder = count(TINY, [{}], target=None, target_unit=None, gates_total=0)
    assert ladder.gate_sparsity is None
    assert ladder.removed_weight_fraction is None
    assert ladder.folded_encoder_fraction == ladder.removed_model_fraction == 0.0


def test_rungs_of_the_compiled_form_are_missing_until_it_is_there():
    ladder = count(TINY, [{}])
    assert ladder.stored_weight_fraction is ladder.file_bytes is ladder.latency_ms is None


def test_everything_closed_leaves_no_encoder_weight():
    masks: list[LayerMasks] = [
        {role: (np.zeros(r, bool), np.zeros(c, bool)) for role, (r, c) in TINY.matrices().items()}
    ]
    ladder = count(TINY, masks, gates_closed=10)
    assert ladder.folded_weights == ladder.macs_per_token == 0
    assert ladder.removed_weight_fraction == ladder.folded_encoder_fraction == 1.0


def test_every_rung_of_the_table_is_a_field_and_says_its_unit():
    assert set(RUNGS) <= {field.name for field in fields(Ladder)}
    assert next(iter(RUNGS)) == "target"
    assert len(RUNGS) == 9
    units = {"share": "share", "MACs": "MACs", "bytes": "bytes", "ms": "ms"}
    for spec in RUNGS.values():
        assert units[spec.unit] in spec.axis_title
        assert "sparsity" not in spec.axis_title.lower()


def test_axis_of_the_target_says_its_unit():
    assert target_axis_title("gates") == "Target (share of gates)"
    assert target_axis_title("encoder_weights") == "Target (share of encoder weights)"
    with pytest.raises(UserError, match=r"Unknown target unit 'rows'. Choose from: encoder_weig"):
        target_axis_title("rows")


def test_more_gates_closed_than_there_are_is_refused():
    with pytest.raises(UserError, match=r"gates_closed must be in \[0, 10\], got 11"):
        count(TINY, [{}], gates_closed=11)


def test_ladder_of_minilm_takes_less_than_five_milliseconds():
    generator = np.random.default_rng(0)
    masks: list[LayerMasks] = [
        {
            k: (generator.random(r) < 0.6, generator.random(c) < 0.6)
            for k, (r, c) in MINILM.matrices().items()
        }
        for _ in range(6)
    ]
    times = []
    for _ in range(7):
        start = time.perf_counter()
        count(MINILM, masks)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005
