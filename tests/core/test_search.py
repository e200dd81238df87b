"""Searches end where something changes."""

from __future__ import annotations

import pytest

from planner.core.search import first_that, where_reached


@pytest.mark.parametrize(("least", "first"), [(1, 37), (36, 37), (37, 37), (90, 90)])
def test_the_first_number_that_meets_a_condition(least, first):
    assert first_that(lambda number: number >= 37, least) == first


def test_a_condition_that_no_number_meets_leaves_the_least():
    assert first_that(lambda _: False, 3) == 3


@pytest.mark.parametrize(("value", "where"), [(9.0, 3.0), (0.01, 0.2), (100.0, 5.0)])
def test_where_a_function_reaches_a_value(value, where):
    assert where_reached(lambda x: x * x, value, 0.2, 5.0) == pytest.approx(where, rel=1e-3)
