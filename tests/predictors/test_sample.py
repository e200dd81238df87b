"""Weighted quantiles of the last numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.sample import REMEMBERED, Sample

# Counts are often equal.
numbers = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6)), min_size=1, max_size=2 * REMEMBERED)


def quantiles(values):
    """As they are defined: linear between the middles of the weights, equal numbers in order of age."""
    weights = 0.97 ** np.arange(len(values))[::-1]
    order = np.argsort(values, kind="stable")
    reached = weights[order].cumsum()
    return np.interp(reached[-1] * np.array([0.1, 0.9]), reached - weights[order] / 2, np.array(values)[order])


@given(numbers)
def test_quantiles_are_those_of_the_last_numbers(values):
    sample = Sample(values[:9])
    for value in values[9:]:
        sample.add(value)
    last = values[-REMEMBERED:]
    assert [sample.low, sample.high] == pytest.approx(quantiles(last), rel=1e-9, abs=1e-9)
    assert sample.usual == pytest.approx(1.4826 * np.median(np.abs(last)))


def test_nothing_is_known_of_no_numbers():
    sample = Sample()
    assert (sample.low, sample.high, sample.usual) == (0, 0, 0)
