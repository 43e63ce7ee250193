"""Where a curve has lost one point, and the interval of that place."""

import numpy as np
import pytest
from report_curves import curve, level, simple_curve

from finegates_engine.analysis.intervals import seed_error, student_t_quantile
from finegates_engine.report.fall import fall_of_one_point, seed_noise
from finegates_engine.report.figure import results_svg
from finegates_engine.report.levels import TaskResults
from finegates_engine.report.pages import _fall_words


def test_one_point_is_lost_on_the_line_between_two_levels():
    fall = fall_of_one_point(simple_curve((0, 0.9), (0.2, 0.895), (0.4, 0.875)), "accuracy")
    assert (fall.share, fall.low, fall.high) == pytest.approx((0.25, 0.25, 0.25))
    assert fall.last == 0.4
    assert _fall_words(fall) == "25.0% removed (25.0%)"


def test_a_curve_that_loses_less_than_a_point_says_how_far_it_was_measured():
    fall = fall_of_one_point(simple_curve((0, 0.9), (0.7, 0.895)), "accuracy")
    assert (fall.share, fall.low, fall.high, fall.last) == (None, None, None, 0.7)
    words = "not up to 70.0%, the most that was measured (more than 70.0%)"
    assert _fall_words(fall) == words


def test_a_curve_without_a_level_at_nothing_removed_has_no_fall():
    assert fall_of_one_point(simple_curve((0.1, 0.9), (0.7, 0.5)), "accuracy") is None
    assert fall_of_one_point(simple_curve((0, 0.9)), "accuracy") is None


def test_the_first_of_several_falls_counts():
    fall = fall_of_one_point(
        simple_curve((0, 0.9), (0.2, 0.88), (0.4, 0.9), (0.6, 0.5)), "accuracy"
    )
    assert fall.share == pytest.approx(0.1)


def test_rows_that_are_drawn_move_the_place():
    """Half of the draws lose the point at 25%, half never: the interval says so."""
    drawn = [[0.88] * 50 + [0.9] * 50]
    fall = fall_of_one_point(
        curve(level(0, [0.9], [[0.9] * 100], [0]), level(0.5, [0.89], drawn, [0])), "accuracy"
    )
    assert (fall.share, fall.low, fall.high) == pytest.approx((0.5, 0.25, None))
    assert _fall_words(fall) == "50.0% removed (25.0% to more than 50.0%)"


def test_seeds_that_keep_their_distance_at_all_levels_do_not_blur_the_place():
    """What is lost is the same with each seed, so that their scores' spread is no matter."""
    scores = {0: [0.9, 0.7, 0.8], 0.2: [0.895, 0.695, 0.795], 0.4: [0.875, 0.675, 0.775]}
    made = [level(x, y, [[s] * 50 for s in y], [0, 1, 2]) for x, y in scores.items()]
    fall = fall_of_one_point(curve(*made), "accuracy")
    assert (fall.low, fall.share, fall.high) == pytest.approx((0.25, 0.25, 0.25))


def test_seeds_that_lose_different_amounts_widen_the_interval():
    scores = {0: [0.9, 0.9, 0.9], 0.2: [0.9, 0.895, 0.89], 0.4: [0.89, 0.88, 0.86]}
    made = [level(x, y, [[s] * 500 for s in y], [0, 1, 2]) for x, y in scores.items()]
    fall = fall_of_one_point(curve(*made), "accuracy")
    assert fall.low < 0.15 < fall.share < 0.35
    assert fall.high is None or fall.high > 0.35


def test_levels_without_two_seeds_in_common_vary_rows_alone():
    first, second = level(0, [0.9, 0.5], [[0.9] * 50, [0.5] * 50], [0, 1]), [0.69, 0.69]
    fall = fall_of_one_point(
        curve(first, level(0.4, second, [[0.69] * 50] * 2, [2, 3])), "accuracy"
    )
    assert (fall.low, fall.share, fall.high) == pytest.approx((0.4, 0.4, 0.4))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_noise_of_seeds_is_students_t_of_their_mean(seeds):
    scores = np.random.default_rng(1).normal(size=(seeds, 4))
    noise = seed_noise(scores, 200_000)
    for place in range(4):
        error, freedom = seed_error([scores[:, place]])
        assert freedom == pytest.approx(seeds - 1)
        for probability in (0.8, 0.95):
            expected = error * student_t_quantile(probability, freedom)
            assert np.quantile(noise[:, place], probability) == pytest.approx(expected, rel=0.03)
    together = scores[:, 0] - scores[:, 1]
    error, freedom = seed_error([together])
    found = np.quantile(noise[:, 0] - noise[:, 1], 0.95)
    assert found == pytest.approx(error * student_t_quantile(0.95, freedom), rel=0.03)


def test_the_figure_says_whose_point_is_lost_where_and_how_surely():
    def title(*levels):
        made = simple_curve(*levels)
        return results_svg([TaskResults("sst2", "accuracy", "validation", 9, "all", (made,))])

    assert "SST-2: path loses one point at 25% (25% to 25%)" in title((0, 0.9), (0.5, 0.88))
    assert "SST-2: path loses no point up to 70%" in title((0, 0.9), (0.7, 0.895))
