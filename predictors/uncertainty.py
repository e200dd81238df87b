"""How far forecasts have been off lately, at every horizon, and what that says of the next ones."""

from __future__ import annotations

import math
from collections import deque
from statistics import NormalDist

from predictors.base import Forecast

# Horizons whose errors are followed; farther ones are judged by the last of them.
HORIZONS = 4
_TAIL = 0.1
_Z = NormalDist().inv_cdf(1 - _TAIL)
# Errors that are remembered, and what each older one still counts.
_REMEMBERED = 60
_FADING = 0.97
_LEVEL_WEIGHT = 0.02
_TINY = 1e-12
# Errors to expect before there was any, relative to the forecast: normal, with a standard deviation of 15 percent.
_PRIOR = tuple(0.15 * NormalDist().inv_cdf(p / 10) for p in range(1, 10))
# How fast the level of a band moves that holds too few or too many values, and how far.
_PACE = 0.01
_LOWEST_LEVEL, _HIGHEST_LEVEL = 0.8, 0.99
# A band is never narrower, relative to the forecast: no series is as certain as a few lucky intervals look.
_LEAST = 0.005


class _Horizon:
    """Errors at one horizon, relative to the forecast, and the band that holds four of five.

    The band's edges are weighted quantiles of recent errors. Their levels follow adaptive conformal inference
    (I. Gibbs and E. Candes, "Adaptive Conformal Inference Under Distribution Shift", NeurIPS 2021): whatever the
    errors' distribution, in the long run one value in ten lies beyond each edge.
    """

    def __init__(self) -> None:
        self._errors: deque[float] = deque(_PRIOR, maxlen=_REMEMBERED)
        self._up = self._down = 1 - _TAIL
        self._level = 0.0
        self._edges = self._measure()

    def _measure(self) -> tuple[float, float]:
        weight, weighted = 1.0, []
        for error in reversed(self._errors):
            weighted.append((error, weight))
            weight *= _FADING
        weighted.sort()
        total = math.fsum(weight for _, weight in weighted)
        return _quantile(weighted, (1 - self._down) * total), _quantile(weighted, self._up * total)

    def learn(self, forecast: Forecast, actual: float) -> None:
        self._level += _LEVEL_WEIGHT * (actual - self._level) if self._level else actual
        self._errors.append((actual - forecast.mean) / self._scale(max(forecast.mean, 0.1 * actual, _TINY)))
        self._up = _moved(self._up, outside=actual > forecast.quantile(1 - _TAIL))
        self._down = _moved(self._down, outside=actual < forecast.quantile(_TAIL))
        self._edges = self._measure()

    def _scale(self, mean: float) -> float:
        """What errors around a mean are in proportion to: neither the mean nor what is usual, but between them."""
        return max(_TINY, math.sqrt(mean * self._level) if self._level else mean)

    @property
    def widths(self) -> tuple[float, float]:
        """How far the band reaches below and above the forecast, in proportion to it."""
        low, high = self._edges
        return max(_LEAST, -low), max(_LEAST, high)

    def around(self, mean: float, widths: tuple[float, float]) -> Forecast:
        below, above = widths
        scale = self._scale(mean) / _Z
        return Forecast(mean=mean, std=above * scale, std_below=below * scale)


def _quantile(weighted: list[tuple[float, float]], rank: float) -> float:
    """The value at a rank of weighted values in order, linear between the middles of their weights."""
    below, last_middle, last = 0.0, 0.0, weighted[0][0]
    for value, weight in weighted:
        middle = below + weight / 2
        if rank <= middle:
            return (
                value
                if middle == last_middle
                else last + (value - last) * (rank - last_middle) / (middle - last_middle)
            )
        below, last_middle, last = below + weight, middle, value
    return last


def _moved(level: float, *, outside: bool) -> float:
    return min(_HIGHEST_LEVEL, max(_LOWEST_LEVEL, level + _PACE * ((1 if outside else 0) - _TAIL)))


class Uncertainty:
    """Makes distributions of means, from what became of the forecasts before.

    A model's own idea of its variance stands on noises that a user set in the dark; its errors stand on the series.
    """

    def __init__(self) -> None:
        self._horizons = [_Horizon() for _ in range(HORIZONS)]
        # Newest last: what was forecast for 1, 2, ... steps ahead.
        self._past: deque[list[Forecast]] = deque(maxlen=HORIZONS)

    def around(self, mean: float, horizon_steps: int) -> Forecast:
        """The distribution around a mean so many intervals ahead."""
        known = min(horizon_steps, HORIZONS)
        horizon = self._horizons[known - 1]
        # Errors of a random walk grow with the root of the horizon.
        farther = math.sqrt(horizon_steps / known)
        # A single jump is an error of every forecast made in the steps before it; counted once, as one step ahead, it
        # is an outlier, so that errors are not taken to grow faster than those of a trend that was misjudged.
        widths = tuple(
            min(width, known * nearest) * farther
            for width, nearest in zip(horizon.widths, self._horizons[0].widths, strict=True)
        )
        return horizon.around(mean, (widths[0], widths[1]))

    def learn(self, means: list[float], actual: float | None) -> None:
        """Take in the next value.

        Args:
            means: What was expected before it came, for 1, 2, ... HORIZONS steps ahead.
            actual: The value; None if it is unknown.
        """
        self._past.append([self.around(mean, step) for step, mean in enumerate(means, start=1)])
        if actual is None:
            return
        for step, horizon in enumerate(self._horizons[: len(self._past)]):
            horizon.learn(self._past[-1 - step][step], actual)
