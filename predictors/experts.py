"""The light models of the mixture: levels, medians, trends, a regression on the other levels."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from predictors.series import Model

# The largest exponent of e that is a float.
_LARGEST_EXPONENT = 700.0
# Values whose changes tell what is usual; a change so many times the usual one counts for less in a regression.
_USUAL_SHARE = 0.02
_UNUSUAL = 3.0
# Where so little is known, nothing more is forgotten.
_MOST_INVERSE = 1e3


class _Flat(Model):
    """A model that expects the same however far ahead."""

    def path(self, steps: int) -> list[float | None]:
        """The same, so many times."""
        return [self.expect(1)] * steps


class Level(_Flat):
    """Exponential smoothing: the level moves towards every value by a share ``alpha``; 1 is the last value.

    It begins as the mean of all values, until that moves less than by ``alpha``. It is what ARIMA(0, 1, 1) expects.
    (J. F. Muth, "Optimal Properties of Exponentially Weighted Forecasts", JASA 55, 1960.)
    """

    def __init__(self, alpha: float, *, logarithmic: bool = False) -> None:
        """Start with nothing seen.

        Args:
            alpha: Share of every value in the level, above 0 and up to 1.
            logarithmic: Whether log(1 + value) is smoothed, so that bursts lift the level less.
        """
        self._alpha = alpha
        self._logarithmic = logarithmic
        self._seen = 0
        self._level = 0.0

    def take(self, value: float | None, time: float | None) -> None:
        """Move the level towards the value."""
        del time
        if value is not None:
            self._seen += 1
            seen = math.log1p(value) if self._logarithmic else value
            self._level += max(self._alpha, 1 / self._seen) * (seen - self._level)

    def forget(self) -> None:
        """Begin anew with the next value."""
        self._seen = 0

    def expect(self, horizon_steps: int) -> float | None:
        """The level, however far ahead."""
        del horizon_steps
        if not self._seen:
            return None
        return math.expm1(min(self._level, _LARGEST_EXPONENT)) if self._logarithmic else self._level


class Median(_Flat):
    """The median of the last values: a burst does not move it."""

    def __init__(self, window: int) -> None:
        """Start with nothing seen.

        Args:
            window: Values of which the median is taken.
        """
        self._window = window
        self._values: deque[float] = deque()
        self._ordered: list[float] = []

    def take(self, value: float | None, time: float | None) -> None:
        """Add the value to the window."""
        del time
        if value is None:
            return
        if len(self._values) == self._window:
            del self._ordered[bisect_left(self._ordered, self._values.popleft())]
        self._values.append(value)
        insort(self._ordered, value)

    def forget(self) -> None:
        """Begin anew with the next value."""
        self._values.clear()
        self._ordered.clear()

    def expect(self, horizon_steps: int) -> float | None:
        """The median, however far ahead."""
        del horizon_steps
        if not self._ordered:
            return None
        middle = len(self._ordered) // 2
        return self._ordered[middle] if len(self._ordered) % 2 else sum(self._ordered[middle - 1 : middle + 1]) / 2


class Trend(Model):
    """Level and trend on the logarithm, the trend fading.

    Source: E. S. Gardner and E. McKenzie, "Forecasting Trends in Time Series", Management Science 31(10), 1985.
    """

    def __init__(self, alpha: float, beta: float, fading: float) -> None:
        """Start with nothing seen.

        Args:
            alpha: Share of an error by which the level is corrected.
            beta: Share of that by which the trend is.
            fading: What is left of the trend after an interval.
        """
        self._alpha, self._beta, self._fading = alpha, beta, fading
        self._level: float | None = None
        self._trend = 0.0

    def take(self, value: float | None, time: float | None) -> None:
        """Correct level and trend; an unknown value is as expected."""
        del time
        if self._level is None:
            self._level = None if value is None else math.log1p(value)
            return
        self._level += self._fading * self._trend
        self._trend *= self._fading
        if value is not None:
            error = math.log1p(value) - self._level
            self._level += self._alpha * error
            self._trend += self._alpha * self._beta * error

    def forget(self) -> None:
        """Begin anew with the next value."""
        self._level, self._trend = None, 0.0

    def expect(self, horizon_steps: int) -> float | None:
        """The level, moved on by the trend."""
        return self.path(horizon_steps)[-1]

    def path(self, steps: int) -> list[float | None]:
        """The level, moved on by the trend, step by step."""
        if self._level is None:
            return [None] * steps
        level, trend, fading = self._level, self._trend, self._fading
        moved = [level + trend * _faded_steps(fading, step) for step in range(1, steps + 1)]
        return [math.expm1(min(one, _LARGEST_EXPONENT)) for one in moved]


@lru_cache
def _faded_steps(fading: float, steps: int) -> float:
    """How many steps of an undiminished trend so many steps of one that fades come to."""
    return sum(fading**step for step in range(1, steps + 1))


class Regressions:
    """What became of the last value, regressed on where it stood against its levels: autoregressions side by side.

        y(t+h) - y(t) = sum_i c_i(h) (level_i(t) - y(t)) + c_0(h) (y(t) - y(t-1))

    The coefficients of every horizon follow by recursive least squares with forgetting, drawn towards 0, the last
    value; of unusual errors less is learnt. (L. Ljung, "System Identification", 2nd ed. 1999, sections 11.2 and 15.2;
    P. J. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35(1), 1964.)
    """

    def __init__(self, alphas: Sequence[float], kinds: Sequence[tuple[Sequence[int], float]], horizons: int) -> None:
        """Start as the last value.

        Args:
            alphas: Of the levels.
            kinds: One for each regression: which of the regressors it has, the levels and, after them, the last
                change; and what an interval counts after another.
            horizons: Horizons with coefficients of their own; farther ones have those of the last.
        """
        self._levels = [Level(alpha) for alpha in alphas]
        # By kind, horizon and regressor.
        self._has = np.zeros((len(kinds), 1, len(alphas) + 1))
        for has, (regressors, _) in zip(self._has, kinds, strict=True):
            has[:, list(regressors)] = 1.0
        self._memory = np.array([[memory] for _, memory in kinds])
        self._coefficients = np.repeat(0.0 * self._has, horizons, axis=1)
        # Inverse of what was seen, beginning with as much as a few values would say.
        self._inverse = np.repeat(self._has[..., None] * np.eye(len(alphas) + 1) / _UNUSUAL, horizons, axis=1)
        # Newest first: how far the levels were from a value, the change before it, and the value.
        self._past: deque[list[float]] = deque(maxlen=horizons)
        self._regressors: list[float] = []
        self._last: float | None = None
        self._usual, self._seen = 0.0, 0

    def take(self, value: float | None) -> None:
        """Learn how far the value is from what was the last one, 1, 2, ... intervals ago."""
        if self._last is not None:
            self._past.appendleft([*self._regressors, self._last])
        if value is None:
            return
        change = 0.0
        if self._last is not None:
            change = value - self._last
            self._seen += 1
            self._usual += max(_USUAL_SHARE, 1 / self._seen) * (abs(change) - self._usual)
            if self._usual > 0:
                self._learn(value)
        for level in self._levels:
            level.take(value, None)
        self._last = value
        self._regressors = [*((level.expect(1) or 0.0) - value for level in self._levels), change]

    def _learn(self, value: float) -> None:
        past = np.array(self._past)
        regressors, moved = past[:, :-1] / self._usual * self._has, (value - past[:, -1]) / self._usual
        inverse, coefficients = self._inverse[:, : len(moved)], self._coefficients[:, : len(moved)]
        errors = moved - np.einsum("khi,khi->kh", coefficients, regressors)
        largest = np.maximum(np.abs(errors), np.abs(regressors).max(axis=2))
        doubt = np.maximum(1.0, largest / _UNUSUAL)
        spread = np.einsum("khij,khj->khi", inverse, regressors)
        scale = 1 / (self._memory * doubt + np.einsum("khi,khi->kh", spread, regressors))
        coefficients += (scale * errors)[..., None] * spread
        # Symmetric to the last bit: what is not would grow without end, as older values fade.
        inverse -= scale[..., None, None] * (spread[..., :, None] * spread[..., None, :])
        # What is not excited would be forgotten without end.
        excited = np.einsum("khii->kh", inverse) < _MOST_INVERSE
        inverse /= np.where(excited, self._memory, 1.0)[..., None, None]

    def paths(self, steps: int) -> list[list[float]]:
        """The last value, moved as values did from where it stands, 1, 2, ... intervals ahead, by each regression."""
        if self._last is None:
            return [[math.nan] * steps for _ in self._has]
        paths: list[list[float]] = (self._last + self._coefficients @ self._regressors).tolist()
        return [path[:steps] + path[-1:] * (steps - len(path)) for path in paths]
