"""How many gates are kept, and by which runs, against what chance gives."""

import numpy as np
import pytest

from finegates_engine.analysis.gate_statistics import (
    agreement_with,
    frequency_table,
    keep_counts,
    kept_shares,
    nestedness,
)
from finegates_engine.errors import UserError


def masks(*texts):
    """Masks with the vectors 0/a, 1/a, ...: x is kept."""
    return {f"{i}/a": np.array([c == "x" for c in text]) for i, text in enumerate(texts)}


def random_masks(seed, size=4000, keep=0.5):
    kept = np.random.default_rng(seed).permutation(size) < keep * size
    return {"0/a": kept}


def test_shares_count_open_soft_and_closed():
    values = {"1/a": np.array([0, 0.5, 1, 1], np.float32), "0/a": np.ones(4, np.float32)}
    rows = kept_shares(values).to_dict("records")
    assert [row["layer"] for row in rows] == [0, 1]
    last = rows[1]
    assert (last["open"], last["soft"], last["closed"], last["kept"]) == (2, 1, 1, 0.75)


def test_keep_counts_by_hand():
    counts = keep_counts([masks("xx.."), masks("x.x.")])
    assert counts["0/a"].tolist() == [2, 1, 1, 0]


def test_frequency_by_hand():
    table = frequency_table([masks("xx.."), masks("x.x.")])
    assert table["gates"].tolist() == [1, 2, 1]
    assert table["chance"].tolist() == [1, 2, 1]


def test_chance_is_what_random_gates_give():
    table = frequency_table([random_masks(seed, keep=0.3) for seed in range(3)])
    assert table["chance"].sum() == pytest.approx(4000)
    np.testing.assert_allclose(table["gates"], table["chance"], atol=120)


def test_same_run_agrees_wholly_and_random_ones_as_chance():
    own = random_masks(0)
    table = agreement_with(own, {"same": own, "random": random_masks(1)}).set_index("run")
    assert table.loc["same", "jaccard"] == 1
    assert table.loc["same", "above"] == 1
    assert table.loc["random", "above"] == pytest.approx(0, abs=0.05)


def test_runs_with_other_vectors_are_left_out():
    assert agreement_with(masks("x."), {"other": masks("x.", "xx")}).empty


def test_nested_levels_keep_all_closed_gates_closed():
    table = nestedness([(0.25, masks("xxx.")), (0.5, masks("xx..")), (0.75, masks(".x.."))])
    assert table["stay"].tolist() == [1, 1]
    assert table["chance"].tolist() == [0.5, 0.75]
    assert nestedness([(0.25, masks("xxx.")), (0.5, masks("..xx"))])["stay"].tolist() == [0]


def test_level_that_closes_nothing_has_no_share():
    assert np.isnan(nestedness([(0.0, masks("xx")), (0.5, masks("x."))])["stay"][0])


def test_runs_with_other_gates_cannot_be_counted():
    with pytest.raises(UserError, match="same gate vectors"):
        keep_counts([masks("x."), masks("x..")])
    with pytest.raises(UserError, match="at least one run"):
        keep_counts([])
