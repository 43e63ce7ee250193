"""Which cells a sweep has, and which plans are refused."""

from typing import Any

import pytest

from finegates_engine.config import RunConfig
from finegates_engine.errors import UserError
from finegates_engine.sweep.runner import plan_sweep


def test_independent_cells_share_nothing() -> None:
    cells = plan_sweep(RunConfig(), (0.4, 0.0, 0.4), (1, 0))
    assert [(c.config.gates.target, c.config.seed) for c in cells] == [
        (0.0, 1), (0.4, 1), (0.0, 0), (0.4, 0),
    ]  # fmt: skip
    assert all(c.config.path == () and c.after is None for c in cells)


def test_levels_of_a_path_know_those_below_them() -> None:
    cells = plan_sweep(RunConfig(), (0.5, 0.0, 0.3), (0,), strategy="path")
    assert [c.config.path for c in cells] == [(), (0.0,), (0.0, 0.3)]
    assert [c.after for c in cells] == [None, cells[0].config, cells[1].config]


def test_the_first_level_of_a_path_is_an_independent_run() -> None:
    path = plan_sweep(RunConfig(), (0.2, 0.3), (0,), strategy="path")
    assert path[0].config == plan_sweep(RunConfig(), (0.2,), (0,))[0].config


@pytest.mark.parametrize(
    ("targets", "seeds", "options", "message"),
    [
        ((0.2, 1.0), (0,), {}, "target must be in [0, 1), got 1."),
        ((-0.1,), (0,), {}, "target must be in [0, 1), got -0.1."),
        ((float("nan"),), (0,), {}, "target must be in [0, 1), got nan."),
        ((), (0,), {}, "A sweep needs at least one target. Pass for instance --targets 0,0.2,0.4."),
        ((0.1,), (), {}, "A sweep needs at least one seed. Pass for instance --seeds 0,1,2."),
        ((0.1,), (-1,), {}, "seed must be in [0, 2147483648), got -1."),
        (
            (0.1,),
            (0,),
            {"strategy": "random"},
            "Unknown strategy 'random'. Choose from: independent, path.",
        ),
    ],
)
def test_bad_plans_are_refused(targets: Any, seeds: Any, options: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        plan_sweep(RunConfig(), targets, seeds, **options)
    assert str(error.value) == message


def test_a_method_that_removes_nothing_has_one_target() -> None:
    full = RunConfig(method="full")
    assert len(plan_sweep(full, (0,), (0, 1))) == 2
    with pytest.raises(UserError, match=r"Method 'full' removes nothing.* Pass --targets 0."):
        plan_sweep(full, (0, 0.2), (0,))
