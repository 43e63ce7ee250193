"""Gates of unlike steps: a large one is passed over, or small ones open again for it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from finegates_engine.gates import closing
from finegates_engine.gates.closing import closed_at_target
from finegates_engine.gates.gate import StochasticGates


def close(
    steps: list[float], target: float, monkeypatch: pytest.MonkeyPatch, *, shut: int | None = None
) -> list[bool]:
    """Which gates close; steps: what each removes, in the order of their mu, lowest first.

    shut: a gate that is closed from the start.
    """
    gates = StochasticGates({"all": len(steps)})
    with torch.no_grad():
        gates.logit.copy_(torch.linspace(-1, 1, len(steps)))
    if shut is not None:
        gates.closed[shut] = True
    config = SimpleNamespace(allocation="budget", target_unit="encoder_weights", head_step=0)
    weights = torch.tensor(steps, dtype=torch.float64)
    monkeypatch.setattr(closing, "removed_share", lambda _, __, mask: float(weights[mask].sum()))
    return closed_at_target(gates, cast(Any, SimpleNamespace(config=config)), target).tolist()


def test_gates_of_one_step_close_from_the_lowest_mu(monkeypatch) -> None:
    assert close([0.25] * 4, 0.5, monkeypatch) == [True, True, False, False]


def test_a_step_too_large_is_passed_over(monkeypatch) -> None:
    assert close([0.1, 0.5, 0.1, 0.3], 0.2, monkeypatch) == [True, False, True, False]


def test_small_gates_open_again_for_a_large_one_that_is_needed(monkeypatch) -> None:
    closed = close([0.05, 0.05, 0.25, 0.7], 0.3, monkeypatch)
    assert closed == [True, False, True, False]  # of the two small ones, that with the higher mu


def test_the_nearest_share_stands_where_none_meets_the_target(monkeypatch) -> None:
    assert close([0.2, 0.8], 0.3, monkeypatch) == [True, False]
    assert close([0.2, 0.8], 0.9, monkeypatch) in ([True, True], [False, True])


def test_the_first_gate_is_passed_over_like_any_other(monkeypatch) -> None:
    assert close([0.3, 0.1], 0.1, monkeypatch) == [False, True]


def test_all_gates_close_where_the_target_needs_all(monkeypatch) -> None:
    assert close([0.4, 0.4], 0.8, monkeypatch) == [True, True]


def test_no_more_gates_open_again_than_the_target_needs(monkeypatch) -> None:
    small = 10 * [0.004]
    closed = close([*small, 0.25, 0.7], 0.27, monkeypatch)
    assert closed == [*(6 * [True]), *(4 * [False]), True, False]  # 0.274: within half a point


def test_a_gate_that_was_closed_never_opens_again(monkeypatch) -> None:
    closed = close([0.05, 0.05, 0.25, 0.7], 0.3, monkeypatch, shut=1)
    assert closed == [False, True, True, False]


def test_quantiles_are_the_middles_of_ranks() -> None:
    found = closing._quantiles(torch.tensor([3.0, -1.0, 2.0, 2.5]))
    assert found.tolist() == [0.875, 0.125, 0.375, 0.625]


def test_a_gate_that_was_closed_stays_so_even_if_opening_it_met_the_target(monkeypatch) -> None:
    assert close([0.05, 0.25, 0.7], 0.255, monkeypatch, shut=0) == [True, True, False]
