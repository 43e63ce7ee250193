"""What the gates do at each moment of a training."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import gate_config

from finegates_engine.config import RunConfig
from finegates_engine.gates.schedule import NOISE_FLOOR, moment


def cell(path: tuple[float, ...] = (), **gates: Any) -> RunConfig:
    return RunConfig(gates=gate_config(**gates), path=path)


DEFAULT = cell(target=0.5, open_start=0.1, ramp=0.4, finish=0.3, anneal=True)


def test_phases_follow_each_other() -> None:
    phases = [moment(DEFAULT, done / 100).phase for done in range(100)]
    assert phases == ["open"] * 10 + ["learn"] * 60 + ["fixed"] * 30


def test_later_levels_of_a_path_have_phases_of_their_own() -> None:
    shares = {"path_open_start": 0.3, "path_ramp": 0.3, "path_finish": 0.3}
    later = cell((0.1,), target=0.5, open_start=0.1, ramp=0.4, finish=0.5, **shares)
    assert [moment(later, done / 10).phase for done in range(10)] == (
        ["open"] * 3 + ["learn"] * 4 + ["fixed"] * 3
    )
    assert moment(later, 0.6, start=0.1).target == 0.5


def test_target_rises_as_a_cubic_from_start_to_target() -> None:
    def at(done: float) -> float:
        return moment(DEFAULT, done, start=0.2).target

    assert at(0.05) == 0.2
    assert at(0.1) == pytest.approx(0.2)
    assert at(0.3) == pytest.approx(0.5 - 0.3 * 0.5**3)  # half of the ramp
    assert at(0.5) == pytest.approx(0.5)
    assert at(0.6) == at(0.99) == 0.5


def test_without_a_ramp_the_target_is_there_at_once() -> None:
    config = cell(target=0.5, ramp=0, open_start=0, finish=0)
    assert moment(config, 0.0) == moment(config, 0.999)
    assert moment(config, 0.0).target == 0.5
    assert moment(config, 0.0).phase == "learn"


def test_noise_falls_linearly_to_its_floor() -> None:
    assert moment(DEFAULT, 0.1).noise_scale == 1
    assert moment(DEFAULT, 0.4).noise_scale == pytest.approx(1 - (1 - NOISE_FLOOR) / 2)
    assert moment(DEFAULT, 0.6999).noise_scale == pytest.approx(NOISE_FLOOR, abs=1e-3)
    constant = cell(anneal=False)
    assert {moment(constant, done / 10).noise_scale for done in range(10)} == {1.0}


@given(
    st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.9), st.floats(0, 0.9)
)
def test_target_never_falls_and_stays_between_start_and_target(
    open_start: float, ramp: float, finish: float, one: float, other: float
) -> None:
    start, target = sorted((one, other))
    config = cell(target=target, open_start=open_start, ramp=ramp, finish=finish)
    targets = [moment(config, done / 50, start=start).target for done in range(50)]
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(targets))
    assert start - 1e-12 <= targets[0]
    assert targets[-1] <= target + 1e-12


@given(st.floats(0, 0.999), st.booleans())
def test_noise_scale_stays_in_its_range(done: float, anneal: bool) -> None:
    scale = moment(cell(finish=0.2, anneal=anneal), done).noise_scale
    assert NOISE_FLOOR - 1e-9 <= scale <= 1
