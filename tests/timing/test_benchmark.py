"""A race is fair: every variant once a round, in random order, under the same conditions."""

import gc
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from finegates_engine.errors import UserError
from finegates_engine.timing import benchmark
from finegates_engine.timing.benchmark import Race, RaceLimits, RaceProgress, measuring, race
from finegates_engine.timing.latency import speedup

QUICK = RaceLimits(min_rounds=8, max_rounds=8, block_seconds=0.0)


def sleeper(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def test_every_variant_comes_once_a_round_in_random_order(monkeypatch) -> None:
    monkeypatch.setattr(benchmark, "SHORT_SECONDS", 0.0)
    seen: list[str] = []
    calls = {name: (lambda name=name: seen.append(name)) for name in "abc"}
    found = race(calls, baseline="a", limits=QUICK, seed=1)
    timed = seen[3 * 3 :]
    assert len(timed) == 3 * 8
    rounds = [tuple(timed[i : i + 3]) for i in range(0, len(timed), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 2
    assert {len(values) for values in found.seconds.values()} == {8}


def test_short_calls_are_timed_several_at_a_time() -> None:
    limits = RaceLimits(min_rounds=8, max_rounds=8, block_seconds=0.002)
    found = race(
        {"short": sleeper(0.0002), "long": sleeper(0.004)}, baseline="short", limits=limits
    )
    assert 3 <= found.calls["short"] <= 10
    assert found.calls["long"] == 1
    assert 0.0002 <= np.median(found.seconds["short"]) < 0.001
    assert 0.004 <= np.median(found.seconds["long"]) < 0.008


def test_a_known_ratio_is_found() -> None:
    found = race(
        {"slow": sleeper(0.006), "fast": sleeper(0.003)},
        baseline="slow",
        limits=RaceLimits(min_rounds=10, max_rounds=10),
    )
    gain = speedup(found.seconds["slow"], found.seconds["fast"])
    assert gain.verdict == "faster"
    assert gain.value == pytest.approx(2, rel=0.1)


def test_conditions_hold_inside_and_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    seen = []

    def look() -> None:
        seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled(), gc.isenabled()))

    race({"look": look}, baseline="look", threads=before + 1, limits=QUICK)
    assert set(seen) == {(before + 1, True, False)}
    assert torch.get_num_threads() == before
    assert gc.isenabled()
    assert not torch.is_inference_mode_enabled()


def test_conditions_are_as_before_after_an_error_too() -> None:
    before = torch.get_num_threads()

    def fail() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        race({"fail": fail}, baseline="fail", threads=before + 1, limits=QUICK)
    assert torch.get_num_threads() == before
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with measuring(1):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_race_ends_when_intervals_are_narrow() -> None:
    limits = RaceLimits(interval_width=0.5, max_rounds=200)
    found = race({"a": sleeper(0.003), "b": sleeper(0.003)}, baseline="a", limits=limits)
    assert found.ended == "narrow"
    assert found.rounds < 200


def test_budget_ends_a_race_but_not_before_its_least_rounds() -> None:
    limits = RaceLimits(budget_seconds=0.0, interval_width=0.0)
    found = race({"a": sleeper(0.001), "b": sleeper(0.001)}, baseline="a", limits=limits)
    assert (found.ended, found.rounds) == ("budget", 15)
    limits = RaceLimits(budget_seconds=0.6, interval_width=0.0)
    begun = time.monotonic()
    found = race({"a": sleeper(0.003), "b": sleeper(0.003)}, baseline="a", limits=limits)
    assert found.ended == "budget"
    assert found.rounds > 15
    assert time.monotonic() - begun < 3


def test_stop_drops_the_round_that_is_not_complete() -> None:
    made: list[None] = []
    calls = {name: (lambda: made.append(None)) for name in "abc"}
    asked = iter(range(10**6))
    found = race(calls, baseline="a", limits=QUICK, stop=lambda: next(asked) >= 9 + 3 * 2 + 1)
    assert found.ended == "stopped"
    assert found.rounds == 2
    assert {len(values) for values in found.seconds.values()} == {2}


def test_stop_before_the_first_call_times_nothing() -> None:
    found = race({"a": sleeper(10)}, baseline="a", stop=lambda: True)
    assert found == Race({"a": []}, {}, "stopped")


def test_progress_counts_rounds_and_ends_with_nothing_left() -> None:
    told: list[RaceProgress] = []
    limits = RaceLimits(min_rounds=8, max_rounds=9, interval_width=0.0)
    race({"a": sleeper(0.002)}, baseline="a", limits=limits, on_progress=told.append)
    assert [progress.rounds for progress in told] == list(range(1, 10))
    left = [progress.seconds_left for progress in told]
    assert left[0] > left[4] > left[-1] == 0.0


def test_cuda_calls_end_with_a_synchronisation(monkeypatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append(f"sync {device}"))
    benchmark._whole(lambda: order.append("call"), "cuda:0")()
    assert order == ["call", "sync cuda:0"]


@pytest.mark.parametrize(
    "wrong",
    [{"min_rounds": 3}, {"min_rounds": 50, "max_rounds": 20}, {"budget_seconds": float("nan")}],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match="must be"):
        RaceLimits(**wrong)


def test_baseline_must_be_one_of_the_variants() -> None:
    with pytest.raises(ValueError, match="none of the variants"):
        race({"a": sleeper(0)}, baseline="b")


@pytest.mark.slow
def test_a_model_against_its_copy_shows_no_difference_of_three_percent() -> None:
    layers = [torch.nn.Linear(384, 384) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(64, 384)
    calls = {str(i): (lambda layer=layer: layer(x)) for i, layer in enumerate(layers)}
    found = race(calls, baseline="0", limits=RaceLimits(interval_width=0.01))
    gain = speedup(found.seconds["0"], found.seconds["1"])
    assert 0.97 < gain.value < 1.03
