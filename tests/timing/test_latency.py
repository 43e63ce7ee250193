"""A verdict is right as often as it says, on a machine that is noisy and drifts."""

import math

import numpy as np
import pytest

from finegates_engine.timing.latency import (
    LEAST_ROUNDS,
    Speedup,
    efficiency,
    latency,
    speedup,
)


def noisy(generator: np.random.Generator, rounds: int, gain: float = 1.0) -> list[np.ndarray]:
    """(baseline, other), `gain` times as fast: shared drift and jumps, own noise, a heavy tail."""
    drift = np.cumsum(generator.normal(0, 0.03, rounds))
    jumps = math.log(1.8) * (np.cumsum(generator.random(rounds) < 0.08) % 2)

    def own() -> np.ndarray:
        hit = generator.random(rounds) < 0.1
        return generator.normal(0, 0.03, rounds) + hit * generator.exponential(0.5, rounds)

    return [np.exp(drift + jumps + own()) * 0.02 * factor for factor in (gain, 1.0)]


def verdicts(gain: float, *, rounds: int = 20, trials: int = 400) -> dict[str, float]:
    generator = np.random.default_rng(3)
    found = [
        speedup(*noisy(generator, rounds, gain), draws=500, seed=trial).verdict
        for trial in range(trials)
    ]
    return {name: found.count(name) / trials for name in set(found)}


def test_equal_variants_show_no_difference_in_about_95_percent() -> None:
    shares = verdicts(1.0)
    assert 0.91 <= shares["no measurable difference"] <= 0.98
    assert abs(shares.get("faster", 0) - shares.get("slower", 0)) < 0.04


@pytest.mark.parametrize(("gain", "verdict"), [(1.1, "faster"), (1 / 1.1, "slower")])
def test_ten_percent_are_found_in_noise_and_drift(gain: float, verdict: str) -> None:
    assert verdicts(gain, trials=100)[verdict] >= 0.95


def test_true_gain_lies_in_the_interval_about_95_times_in_100() -> None:
    generator = np.random.default_rng(8)
    found = [speedup(*noisy(generator, 20, 1.5), draws=500, seed=trial) for trial in range(300)]
    assert 0.90 <= np.mean([gain.low <= 1.5 <= gain.high for gain in found]) <= 0.98


def test_ratio_of_medians_would_be_several_times_less_certain() -> None:
    generator = np.random.default_rng(5)
    pairs = [noisy(generator, 60) for _ in range(200)]
    ours = [speedup(slow, fast, draws=10).value for slow, fast in pairs]
    medians = [np.median(slow) / np.median(fast) for slow, fast in pairs]
    assert np.std(np.log(medians)) > 2 * np.std(np.log(ours))


def test_exchanging_the_variants_gives_the_inverse() -> None:
    slow, fast = noisy(np.random.default_rng(1), 20, 1.3)
    gain, loss = speedup(slow, fast), speedup(fast, slow)
    assert gain.value == pytest.approx(1 / loss.value)
    assert gain.low == pytest.approx(1 / loss.high)


def test_rounds_twice_as_slow_for_both_change_nothing() -> None:
    slow, fast = noisy(np.random.default_rng(1), 20, 1.3)
    factor = np.where(np.arange(20) % 3, 1, 2)
    assert speedup(slow * factor, fast * factor).value == pytest.approx(speedup(slow, fast).value)


def test_the_same_seed_gives_the_same_interval() -> None:
    slow, fast = noisy(np.random.default_rng(1), 20)
    assert speedup(slow, fast, seed=4) == speedup(slow, fast, seed=4)
    assert len({speedup(slow, fast, seed=seed, draws=50) for seed in range(9)}) > 1


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.01, 1.2, "faster"),
        (0.8, 0.99, "slower"),
        (0.9, 1.1, "no measurable difference"),
        (1.0, 1.1, "no measurable difference"),
        (0.9, 1.0, "no measurable difference"),
    ],
)
def test_a_difference_needs_an_interval_without_1(low: float, high: float, verdict: str) -> None:
    assert Speedup(value=1.0, low=low, high=high).verdict == verdict


def test_median_and_p95_are_those_of_the_values() -> None:
    found = latency([0.001 * value for value in range(1, 102)])
    assert found.median == pytest.approx(0.051)
    assert found.p95 == pytest.approx(0.096)


def test_efficiency_is_1_where_time_falls_as_arithmetic_does() -> None:
    assert efficiency(1.5, 1.5) == 1.0
    assert efficiency(1.2, 1.5) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="above 0"):
        efficiency(1.2, 0.0)


@pytest.mark.parametrize(
    ("slow", "fast", "words"),
    [
        ([1.0] * (LEAST_ROUNDS - 1), [1.0] * (LEAST_ROUNDS - 1), "at least 8 rounds, got 7"),
        ([1.0] * 9, [1.0] * 10, "paired, got 9 and 10"),
        ([1.0] * 9 + [0.0], [1.0] * 10, "above 0"),
        ([1.0] * 9 + [math.nan], [1.0] * 10, "above 0"),
        ([1.0] * 9 + [math.inf], [1.0] * 10, "above 0"),
        ([], [], "above 0"),
    ],
)
def test_what_is_no_timing_is_refused(slow: list[float], fast: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        speedup(slow, fast)
