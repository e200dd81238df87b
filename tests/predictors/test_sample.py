"""Weighted quantiles of the last numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.sample import REMEMBERED, Sample

# Counts are often equal.
numbers = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6)), min_size=1, max_size=2 * REMEMBERED)


def quantiles(values):
    """As they are defined: the next number counts as the newest, equal numbers are in order of age."""
    weights = 0.97 ** np.arange(len(values))[::-1]
    order = np.argsort(values, kind="stable")
    ordered, weights = np.array(values)[order], weights[order]
    rank = 0.1 * (weights.sum() + 1)
    before = weights.cumsum() - weights + 1
    from_above = weights[::-1].cumsum() - weights[::-1] + 1
    return [np.interp(rank, before, ordered), np.interp(rank, from_above, ordered[::-1])]


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


def test_one_in_ten_of_the_next_numbers_is_beyond_however_few_there_were():
    generator = np.random.default_rng(3)
    beyond = 0
    for _ in range(2000):
        sample = Sample(generator.normal(size=30))
        beyond += generator.normal() > sample.high
    assert beyond / 2000 == pytest.approx(0.1, abs=0.02)
