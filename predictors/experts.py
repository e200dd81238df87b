"""The light models of the mixture: levels, medians, trends, a regression on the other levels."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

import numpy as np

from predictors.series import Model

# The largest exponent of e that is a float.
_LARGEST_EXPONENT = 700.0
# Values whose changes tell what is usual; a change so many times the usual one counts for less in a regression.
_USUAL_SHARE = 0.02
_UNUSUAL = 3.0


class Level(Model):
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


class Median(Model):
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
        expected = self._ahead(1)
        if value is None:
            self._level, self._trend = expected, self._fading * self._trend
            return
        seen = math.log1p(value)
        if expected is None:
            self._level = seen
            return
        error = seen - expected
        self._level = expected + self._alpha * error
        self._trend = self._fading * self._trend + self._alpha * self._beta * error

    def forget(self) -> None:
        """Begin anew with the next value."""
        self._level, self._trend = None, 0.0

    def _ahead(self, steps: int) -> float | None:
        if self._level is None:
            return None
        return self._level + self._trend * sum(self._fading**step for step in range(1, steps + 1))

    def expect(self, horizon_steps: int) -> float | None:
        """The level, moved on by the trend."""
        ahead = self._ahead(horizon_steps)
        return None if ahead is None else math.expm1(min(ahead, _LARGEST_EXPONENT))


class Regression(Model):
    """What became of the last value, regressed on where it stood against its levels: an autoregression.

        y(t+h) - y(t) = sum_i c_i(h) (level_i(t) - y(t)) + c_0(h) (y(t) - y(t-1))

    The coefficients of every horizon follow by recursive least squares with forgetting, drawn towards 0, the last
    value; of unusual errors less is learnt. (L. Ljung, "System Identification", 2nd ed. 1999, sections 11.2 and 15.2;
    P. J. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35(1), 1964.)
    """

    def __init__(self, alphas: tuple[float, ...], *, with_change: bool, horizons: int, memory: float) -> None:
        """Start as the last value.

        Args:
            alphas: Of the levels.
            with_change: Whether the last change counts too.
            horizons: Horizons with coefficients of their own; farther ones have those of the last.
            memory: What an interval counts after another.
        """
        self._levels = [Level(alpha) for alpha in alphas]
        self._with_change = with_change
        self._memory = memory
        size = len(alphas) + with_change
        self._coefficients = np.zeros((horizons, size))
        # Inverse of what was seen, beginning with as much as a few values would say.
        self._inverse = np.tile(np.eye(size) / _UNUSUAL, (horizons, 1, 1))
        self._past: deque[tuple[np.ndarray, float]] = deque(maxlen=horizons)
        self._last: float | None = None
        self._change = 0.0
        self._usual, self._seen = 0.0, 0

    def take(self, value: float | None, time: float | None) -> None:
        """Learn how far the value is from what was the last one, 1, 2, ... intervals ago."""
        if self._last is not None:
            self._past.append((self._distances(), self._last))
        if value is None:
            return
        for level in self._levels:
            level.take(value, time)
        if self._last is not None:
            self._change = value - self._last
            self._seen += 1
            self._usual += max(_USUAL_SHARE, 1 / self._seen) * (abs(self._change) - self._usual)
            if self._usual > 0:
                self._learn(value)
        self._last = value

    def forget(self) -> None:
        """Begin anew with the next value, but for what was learnt of how values go on."""
        for level in self._levels:
            level.forget()
        self._past.clear()
        self._last, self._change = None, 0.0

    def _distances(self) -> np.ndarray:
        last = self._last or 0.0
        found = [(level.expect(1) or 0.0) - last for level in self._levels]
        return np.array([*found, self._change] if self._with_change else found)

    def _learn(self, value: float) -> None:
        count = len(self._past)
        past = [self._past[-1 - back] for back in range(count)]
        distances = np.array([one for one, _ in past]) / self._usual
        moved = (value - np.array([last for _, last in past])) / self._usual
        inverse, coefficients = self._inverse[:count], self._coefficients[:count]
        errors = moved - (coefficients * distances).sum(1)
        largest = np.maximum(np.abs(errors), np.abs(distances).max(1))
        weights = 1 / np.maximum(1.0, largest / _UNUSUAL)
        spread = np.einsum("hij,hj->hi", inverse, distances)
        scale = weights / (self._memory + weights * (spread * distances).sum(1))
        coefficients += (scale * errors)[:, None] * spread
        # Symmetric to the last bit: what is not would grow without end, as older values fade.
        updated = inverse - scale[:, None, None] * (spread[:, :, None] * spread[:, None, :])
        # What is not excited would be forgotten without end.
        kept = np.where(np.trace(updated, axis1=1, axis2=2) < 1e3, self._memory, 1.0)
        inverse[:] = updated / kept[:, None, None]

    def expect(self, horizon_steps: int) -> float | None:
        """The last value, moved as values did from where it stands."""
        if self._last is None:
            return None
        step = min(horizon_steps, len(self._coefficients)) - 1
        return self._last + float(self._coefficients[step] @ self._distances())
