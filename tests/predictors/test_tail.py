"""What lies beyond the bands of forecasts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors import InlineFitter, PredictorOptions, make_predictor
from predictors.base import Forecast
from predictors.sample import REMEMBERED
from predictors.tail import Excess, Highest


def auto(values):
    predictor = make_predictor("auto", PredictorOptions(interval_s=60), InlineFitter())
    for value in values:
        predictor.observe(float(value))
    return predictor


def noise(level, count, seed=1):
    return np.random.default_rng(seed).normal(level, 0.02 * level, count).tolist()


class TestQuantiles:
    def test_beyond_the_upper_edge_there_is_an_exponential_tail(self):
        forecast = Forecast(100.0, std=10.0, tail=50.0)
        edge = forecast.quantile(0.9)
        assert edge == pytest.approx(112.8, abs=0.1)
        assert forecast.quantile(0.99) == pytest.approx(edge + 50 * math.log(10))

    def test_it_ends_where_values_do(self):
        assert Forecast(100.0, std=10.0, tail=50.0, most=150.0).quantile(0.999) == 150.0

    def test_so_does_a_normal_upper_half_though_not_below_its_edge(self):
        assert Forecast(100.0, std=100.0, most=250.0).quantile(0.999) == 250.0
        assert Forecast(100.0, std=10.0, tail=0.0, most=0.0).quantile(0.99) == Forecast(100.0, std=10.0).quantile(0.9)

    def test_a_normal_upper_half_is_the_least(self):
        assert Forecast(100.0, std=10.0, tail=0.0).quantile(0.99) == Forecast(100.0, std=10.0).quantile(0.99)


class TestJumps:
    """A load of 100 that jumps to 300 for two intervals, now and then."""

    def series(self, jumps):
        return [value for _ in range(jumps) for value in [*noise(100, 13), *noise(300, 2)]] + noise(100, 10)

    def test_jumps_that_came_again_are_expected(self):
        upper = auto(self.series(4)).forecast(3).quantile(0.985)
        assert 250 < upper < 340, "as far as they went, and no farther"

    def test_a_single_jump_is_not(self):
        assert auto([*noise(100, 40), *noise(300, 2), *noise(100, 10)]).forecast(3).quantile(0.985) < 180

    def test_after_a_jump_to_a_new_level_no_further_one_is_expected(self):
        assert auto([*noise(100, 40), *noise(300, 4)]).forecast(3).quantile(0.985) < 360

    def test_a_load_of_two_levels_is_not_expected_above_the_upper_one(self):
        levels = [value for _ in range(4) for value in [*noise(100, 12), *noise(300, 12)]]
        upper = auto([*levels, *noise(100, 2)]).forecast(3)
        assert 290 < upper.quantile(0.99) < 330

    def test_nobody_knows_how_far_a_load_goes_that_was_hardly_watched(self):
        assert auto(noise(100, 5)).forecast(3).most is None

    def test_a_load_without_jumps_has_the_tail_of_its_noise(self):
        assert auto(noise(100, 60)).forecast(3).quantile(0.998) < 115


class TestRange:
    def test_a_load_that_grows_is_expected_to_go_on(self):
        values = [100 + 10 * index for index in range(30)]
        assert auto(values).forecast(3).quantile(0.95) >= values[-1] + 20

    def test_a_short_past_does_not_bound_the_future(self):
        short, long = (auto(noise(100, count)).forecast(1) for count in (3, 60))
        assert short.quantile(0.95) > 1.03 * long.quantile(0.95)

    def test_a_wave_is_not_expected_to_go_far_beyond_its_crest(self):
        wave = [1000 + 900 * math.sin(2 * math.pi * index / 20) for index in range(65)]
        assert auto(wave).forecast(3).quantile(0.99) < 1.2 * 1900


def test_the_largest_jump_is_left_out_of_the_excess():
    excess = Excess(reach=2)
    for value in [0.0] * 20 + [5.0, 6.0] + [0.0] * 20:
        excess.learn(value)
    assert excess.mean == pytest.approx(Excess(2).mean)
    for value in [4.0] + [0.0] * 10:
        excess.learn(value)
    assert excess.mean > 1


@given(
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 5.0]), min_size=1, max_size=2 * REMEMBERED), st.integers(1, 4)
)
def test_the_excess_is_the_weighted_mean_of_the_last_but_for_the_largest_jump(values, reach):
    excess = Excess(reach)
    for value in values:
        excess.learn(value)
    last = np.array(values[-REMEMBERED:])
    weights = 0.97 ** np.arange(len(last))[::-1] * (last > 0)
    first = end = int(last.argmax())
    while first > 0 and last[first - 1] > 0 and end - first + 1 < reach:
        first -= 1
    while end + 1 < len(last) and last[end + 1] > 0 and end - first + 1 < reach:
        end += 1
    weights[first : end + 1] = 0
    expected = (weights @ last + Excess(reach).mean) / (weights.sum() + 1)
    assert excess.mean == pytest.approx(expected, rel=1e-9)


def test_growth_leaves_out_a_jump():
    highest = Highest(reach=2)
    for value in (10, 10, 50, 51, 52):
        highest.add(value)
    assert highest.value == 52
    assert highest.growth(2) == 2
    assert highest.growth(1) == 1


def test_the_largest_of_few_values_is_soon_exceeded():
    highest = Highest(reach=2)
    assert highest.chance == 1
    for value in range(49):
        highest.add(value)
    assert highest.chance == pytest.approx(0.2)
