"""Shape-preserving cubic interpolation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Pchip:
    """A piecewise cubic through points that never overshoots them.

    Source: F. N. Fritsch and J. Butland, "A Method for Constructing Local Monotone Piecewise Cubic Interpolants",
    SIAM J. Sci. Stat. Comput. 5(2), 1984; the slopes at the ends are the three-point ones of C. Moler, "Numerical
    Computing with MATLAB", 2004, section 3.6. Two points give a line, one point a constant.
    """

    def __init__(self, x: Vector, y: Vector) -> None:
        """Fit the points.

        Args:
            x: Abscissae, shape (n,), strictly increasing, n >= 1.
            y: Ordinates, shape (n,).
        """
        self._x, self._y = x, y
        self._slopes = _slopes(x, y)

    def __call__(self, at: float) -> float:
        """The value at ``at``; outside the points, that of the nearest one."""
        x, y = self._x, self._y
        if at <= x[0]:
            return float(y[0])
        if at >= x[-1]:
            return float(y[-1])
        index = int(np.searchsorted(x, at, side="right")) - 1
        width = x[index + 1] - x[index]
        t = (at - x[index]) / width
        left, right = self._slopes[index] * width, self._slopes[index + 1] * width
        rise = y[index + 1] - y[index]
        return float(y[index] + t * (left + t * (3 * rise - 2 * left - right + t * (left + right - 2 * rise))))


def _slopes(x: Vector, y: Vector) -> Vector:
    if len(x) == 1:
        return np.zeros(1)
    width, secant = np.diff(x), np.diff(y) / np.diff(x)
    if len(x) == 2:
        return np.repeat(secant, 2)
    slopes = np.zeros_like(y)
    same_sign = secant[:-1] * secant[1:] > 0
    first, second = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    inner = np.zeros(len(x) - 2)
    harmonic = first[same_sign] / secant[:-1][same_sign] + second[same_sign] / secant[1:][same_sign]
    inner[same_sign] = (first + second)[same_sign] / harmonic
    slopes[1:-1] = inner
    slopes[0] = _end_slope(width[0], width[1], secant[0], secant[1])
    slopes[-1] = _end_slope(width[-1], width[-2], secant[-1], secant[-2])
    return slopes


def _end_slope(width: float, next_width: float, secant: float, next_secant: float) -> float:
    slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width)
    if slope * secant <= 0:
        return 0.0
    if secant * next_secant <= 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope


def averaged(x: Vector, y: Vector) -> tuple[Vector, Vector]:
    """The points sorted by ``x``, shape (m,), with one mean ordinate for each ``x``."""
    unique, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return unique, np.bincount(inverse, weights=y) / counts
