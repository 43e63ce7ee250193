"""The ceiling, the prediction and the gaps are those of the parts, by arithmetic."""

import pytest
from explanations import DENSE_MS, PRUNED_MS, explanation, half

from finegates_engine.explain.explanation import EXPLANATION, PARTS, SCALED, combine


def test_ceiling_is_amdahls() -> None:
    found = explanation()
    assert found.removable_share == pytest.approx(0.9)
    assert found.ceiling == pytest.approx(10.0)


def test_prediction_halves_what_halves_and_leaves_the_rest() -> None:
    found = explanation(take=0.5, python=2.0)
    assert found.predicted == pytest.approx(10 / (9 / 2 + 1))
    assert found.part("qkv").gap_ms == pytest.approx(0.0)
    assert found.part("take").gap_ms == pytest.approx(0.5)
    assert found.part("python").gap_ms == pytest.approx(1.0)


def test_without_anything_that_stays_there_is_no_ceiling() -> None:
    before = {name: (1.0 if name in SCALED else 0.0, 0.0) for name in PARTS}
    assert sum(ms for ms, _ in before.values()) == len(SCALED)
    found = explanation()
    parts = combine(before, before, dict.fromkeys(SCALED, half()))
    import dataclasses

    whole = float(len(SCALED))
    assert dataclasses.replace(found, parts=parts, dense_ms=whole).ceiling is None


def test_errors_of_both_models_are_in_the_gaps_error() -> None:
    before = {name: (ms, 0.8) for name, ms in DENSE_MS.items()}
    after = {name: (ms, 0.3) for name, ms in PRUNED_MS.items()}
    parts = {p.part: p for p in combine(before, after, dict.fromkeys(SCALED, half()))}
    assert parts["qkv"].error_ms == pytest.approx(0.5)  # hypot(0.8 / 2, 0.3)


def test_an_explanation_survives_json() -> None:
    found = explanation(take=0.5)
    assert EXPLANATION.validate_json(EXPLANATION.dump_json(found)) == found


def test_parts_are_the_whole_and_in_their_order() -> None:
    found = explanation()
    assert [part.part for part in found.parts] == list(PARTS)
    assert sum(part.pruned_ms for part in found.parts) == pytest.approx(found.pruned_ms)
    with pytest.raises(KeyError):
        found.part("norms")
