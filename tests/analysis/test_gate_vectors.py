"""Gate vectors by matrix: order, sides, sizes and the table of dimensions."""

import numpy as np
import pytest

from finegates_engine.analysis.gate_vectors import (
    check_vectors,
    comparable,
    dimension_table,
    gate_states,
    side_values,
    vector_kinds,
)
from finegates_engine.config import GateConfig
from finegates_engine.errors import UserError
from finegates_engine.fold.dimensions import EncoderShape

SHAPE = EncoderShape(
    layers=2, hidden=6, heads=2, key_value_heads=2, head_size=3, ffn=8, model_parameters=500
)


def made(config):
    """All kinds of a config, and values of 1 for all gates."""
    kinds = vector_kinds(config, SHAPE)
    values = {
        f"{layer}/{kind.name}": np.ones(kind.size, np.float32)
        for layer in range(SHAPE.layers)
        for kind in kinds
    }
    return kinds, values


@pytest.mark.parametrize("axes", ["inner", "attention", "all"])
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("head_gates", [True, False])
def test_every_config_gives_sizes_that_fit_its_matrices(axes, tie, head_gates):
    kinds, values = made(GateConfig(axes=axes, tie=tie, head_gates=head_gates))
    check_vectors(values, kinds, SHAPE)
    for role, (rows, columns) in SHAPE.matrices().items():
        for side, size in zip(
            side_values(values, kinds, SHAPE, 0, role), (rows, columns), strict=True
        ):
            assert side is None or side.shape == (size,)
    assert all(kind.label and kind.matrices for kind in kinds)


def test_vectors_come_in_the_order_in_which_data_pass_them():
    names = [kind.name for kind in vector_kinds(GateConfig(axes="all"), SHAPE)]
    assert names.index("attention_input") < names.index("query_key")
    assert names.index("query_key") < names.index("value_output") < names.index("ffn")
    assert names.index("attention_output_rows") < names.index("ffn_in_columns")
    assert names.index("ffn_in_columns") < names.index("ffn") < names.index("ffn_out_rows")


def test_tied_gate_closes_both_sides_of_its_pair():
    kinds, values = made(GateConfig())
    values["1/value_output"][2] = 0
    rows, columns = side_values(values, kinds, SHAPE, 1, "value")
    assert rows[2] == 0
    assert columns is None
    rows, columns = side_values(values, kinds, SHAPE, 1, "attention_output")
    assert rows is None
    assert columns[2] == 0
    assert side_values(values, kinds, SHAPE, 0, "value")[0].all()


def test_head_gate_takes_all_of_its_head():
    kinds, values = made(GateConfig(head_gates=True))
    values["0/heads"][1] = 0
    for role in ("query", "key", "value"):
        rows, _ = side_values(values, kinds, SHAPE, 0, role)
        assert rows.tolist() == [1, 1, 1, 0, 0, 0]


def test_soft_gates_of_head_and_dimension_multiply():
    kinds, values = made(GateConfig(head_gates=True))
    values["0/heads"][0] = 0.5
    values["0/query_key"][0] = 0.5
    assert side_values(values, kinds, SHAPE, 0, "query")[0][0] == 0.25


def test_gates_of_another_config_are_refused():
    kinds, values = made(GateConfig())
    with pytest.raises(UserError, match="not those of its config"):
        check_vectors(values, vector_kinds(GateConfig(axes="all"), SHAPE), SHAPE)
    values["0/ffn"] = values["0/ffn"][:3]
    with pytest.raises(UserError, match="0/ffn"):
        check_vectors(values, kinds, SHAPE)


def test_dimension_table_has_a_row_a_gate_with_its_place():
    kinds, values = made(GateConfig())
    values["1/query_key"][4] = 0
    values["1/ffn"][7] = 0.5
    other = {name: value > 2 for name, value in values.items()}
    table = dimension_table(values, kinds, SHAPE, [other])
    assert len(table) == sum(len(value) for value in values.values())
    closed = table[table["state"] == "closed"].to_dict("records")
    assert [(r["layer"], r["vector"], r["head"], r["dimension"]) for r in closed] == [
        (2, "query_key", 2, 4)
    ]
    assert table[table["state"] == "soft"]["dimension"].tolist() == [7]
    assert table[table["vector"] == "ffn"]["head"].isna().all()
    assert table["kept_in"].max() == 1


def test_states_of_gates():
    assert gate_states(np.array([0, 0.2, 1], np.float32)).tolist() == ["closed", "soft", "open"]


def test_runs_compare_only_with_the_same_vectors():
    _, values = made(GateConfig())
    _, other = made(GateConfig(axes="all"))
    assert comparable(values, dict(values))
    assert not comparable(values, other)
