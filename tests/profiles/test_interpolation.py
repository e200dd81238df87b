"""The numerical tools against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from scipy.optimize import nnls as reference_nnls

from profiles.nnls import nnls
from profiles.pchip import Pchip, averaged

heights = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


@given(
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=12, unique=True),
    st.lists(heights, min_size=12, max_size=12),
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
def test_pchip_is_scipy_s(xs, ys, shares):
    x, y = np.sort(np.array(xs, dtype=float)), np.array(ys[: len(xs)])
    ours, reference = Pchip(x, y), PchipInterpolator(x, y)
    for share in shares:
        at = x[0] + share * (x[-1] - x[0])
        assert ours(at) == pytest.approx(float(reference(at)), rel=1e-9, abs=1e-6)


@given(st.lists(st.floats(0.1, 1e3), min_size=3, max_size=10), st.floats(0, 1))
def test_pchip_never_overshoots(rises, share):
    y = np.cumsum(np.array(rises))
    x = np.arange(len(y), dtype=float)
    at = share * (len(y) - 1)
    below = int(at)
    assert y[below] - 1e-9 <= Pchip(x, y)(at) <= y[min(below + 1, len(y) - 1)] + 1e-9


def test_outside_its_points_pchip_keeps_the_nearest_value():
    curve = Pchip(np.array([1.0, 2.0]), np.array([5.0, 7.0]))
    assert (curve(-9.0), curve(1.5), curve(99.0)) == (5.0, 6.0, 7.0)
    assert Pchip(np.array([1.0]), np.array([5.0]))(3.0) == 5.0


@pytest.mark.parametrize("seed", range(60))
def test_nnls_is_as_good_as_scipy_s(seed):
    generator = np.random.default_rng(seed)
    rows, columns = int(generator.integers(3, 40)), int(generator.integers(1, 13))
    design = generator.normal(size=(rows, columns)) * 10.0 ** generator.integers(-4, 5, size=columns)
    if seed % 3 == 0 and columns > 2:
        design[:, 1] = design[:, 0] * 2
        design[:, 2] = 0.0
    target = generator.normal(size=rows)
    ours = nnls(design, target)
    assert (ours >= 0).all()
    best = reference_nnls(design / np.maximum(np.linalg.norm(design, axis=0), 1e-12), target)[1]
    assert np.linalg.norm(design @ ours - target) <= best * (1 + 1e-7) + 1e-9


def test_points_at_the_same_place_are_averaged():
    x, y = averaged(np.array([3.0, 1.0, 3.0]), np.array([4.0, 1.0, 6.0]))
    assert (x.tolist(), y.tolist()) == ([1.0, 3.0], [1.0, 5.0])
