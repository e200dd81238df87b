import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core import queueing
from planner.core.queueing import WaitTail, averaged, erlang_c, gamma_beyond, normal_beyond, overlap


@pytest.mark.parametrize(
    ("servers", "load", "expected"), [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (5, 4.0, 0.5541), (10, 8.0, 0.4092)]
)
def test_erlang_c_is_that_of_the_tables(servers, load, expected):
    assert erlang_c(servers, load) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("load", [280.0, 290.0, 298.0])
def test_the_limit_for_many_servers_meets_the_formula(load, monkeypatch):
    exact = erlang_c(300, load)
    monkeypatch.setattr(queueing, "_MANY", 100)
    assert erlang_c(300, load) == pytest.approx(exact, rel=0.15)


def test_the_tail_is_exact_for_m_m_1():
    wait = WaitTail(1, rate_rps=5.0, service_s=0.1, variability=1.0)
    assert wait.probability == pytest.approx(0.5)
    assert wait.beyond(0.2) == pytest.approx(0.5 * math.exp(-5 * 0.2))


@given(st.integers(1, 2000), st.floats(0.01, 0.99), st.floats(0, 10), st.floats(0, 10))
def test_longer_waits_are_rarer(servers, utilisation, one_s, other_s):
    wait = WaitTail(servers, rate_rps=servers * utilisation, service_s=1.0, variability=1.0)
    assert 0 <= wait.beyond(max(one_s, other_s)) <= wait.beyond(min(one_s, other_s)) <= 1


def test_nobody_waits_for_many_servers_with_next_to_nothing_to_do():
    assert WaitTail(1000, rate_rps=1e-6, service_s=0.01, variability=1.0).beyond(0.0) == 0.0


def test_a_variable_that_does_not_vary():
    assert normal_beyond(1.0, 2.0, 0.0) == 1.0
    assert normal_beyond(2.0, 1.0, 0.0) == 0.0
    assert normal_beyond(0.0, 0.0, 1.0) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [0.5, 1.0, 4.0, 30.0])
def test_the_gamma_tail_is_that_of_draws(shape):
    drawn = np.random.default_rng(2).gamma(shape, 3.0, 200_000)
    mean, deviation = 3.0 * shape, 3.0 * math.sqrt(shape)
    for value in (0.5 * mean, mean, mean + 2 * deviation):
        expected = (drawn > value).mean()
        assert gamma_beyond(value, mean, deviation**2) == pytest.approx(expected, abs=0.02)
    assert gamma_beyond(0.0, mean, 1.0) == 1.0
    assert gamma_beyond(1.0, 0.0, 0.0) == 0.0


def test_customers_overlap_wholly_if_all_take_as_long_and_by_half_if_exponential():
    assert overlap([(0.3, 2.0), (0.7, 2.0)]) == pytest.approx(1.0)
    exponential = [(0.001, -math.log(1 - (place + 0.5) / 1000)) for place in range(1000)]
    assert overlap(exponential) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("times", [0.01, 0.5, 2.0, 20.0])
def test_averages_vary_less_the_longer_they_are_of(times):
    """Of values whose correlation dies away exponentially: the mean of that correlation over all pairs of instants."""
    instants = np.linspace(0, times, 1001)
    expected = np.exp(-np.abs(instants[:, None] - instants[None, :])).mean()
    assert averaged(times) == pytest.approx(expected, rel=0.01)
    assert averaged(0.0) == 1.0


def test_arrivals_in_bursts_find_servers_busy_more_often():
    """Against a simulated queue of eight servers, four of which are busy on average; gaps with a cv of 3."""
    generator = np.random.default_rng(5)
    free, time, waited, arrivals = [0.0] * 8, 0.0, 0, 60_000
    for gap, service in zip(generator.gamma(1 / 9, 9 / 4, arrivals), generator.exponential(1, arrivals), strict=True):
        time += gap
        begin = max(time, heapq.heappop(free))
        waited += begin > time
        heapq.heappush(free, begin + service)
    peaks = 1 + (9 - 1) * 0.5
    wait = WaitTail(8, rate_rps=4.0, service_s=1.0, variability=5.0, peaks=peaks)
    assert wait.probability == pytest.approx(waited / arrivals, abs=0.1)
    assert WaitTail(8, rate_rps=4.0, service_s=1.0, variability=5.0).probability < 0.25 * wait.probability
