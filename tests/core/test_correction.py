import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.correction import HIGHEST, LOWEST, CorrectionFactor, SteadyPool
from planner.core.observation import Workers


def learn(ratios):
    factor = CorrectionFactor()
    for ratio in ratios:
        factor = factor.learn(ratio * 20.0, 20.0)
    return factor


def test_a_steady_ratio_is_learnt():
    assert learn([1.5] * 20).value == pytest.approx(1.5, rel=0.01)


def test_three_quarters_of_a_change_are_learnt_in_five_intervals():
    factor = learn([1.0] * 10)
    for _ in range(5):
        factor = factor.learn(30.0, 20.0)
    assert math.log(factor.value) / math.log(1.5) > 0.75


def test_one_outlier_moves_a_settled_factor_by_a_quarter_at_most():
    settled = learn([1.0] * 10)
    assert settled.learn(20_000.0, 20.0).value == pytest.approx(HIGHEST**0.25)


@given(st.lists(st.floats(1e-6, 1e6), max_size=30))
def test_the_factor_stays_bounded(ratios):
    assert LOWEST <= learn(ratios).value <= HIGHEST


def test_a_pool_is_steady_only_when_it_has_been_the_same_for_an_interval():
    pool = SteadyPool().see(Workers(2))
    assert not pool.steady, "what came before is unknown"
    pool = pool.see(Workers(2))
    assert pool.steady
    pool = pool.see(Workers(2, pending=1))
    assert not pool.steady, "a worker is starting"
    pool = pool.see(Workers(3))
    assert not pool.steady, "one became ready during the interval"
    pool = pool.see(Workers(3))
    assert pool.steady
    pool = pool.see(None)
    assert not pool.steady, "the workers are unknown"
    pool = pool.see(Workers(3))
    assert not pool.steady, "they were unknown before"
