import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core import queueing
from planner.core.queueing import WaitTail, erlang_c, normal_beyond


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
