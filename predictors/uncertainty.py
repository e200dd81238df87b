"""How far forecasts have been off lately, at every horizon, and what that says of the next ones."""

from __future__ import annotations

import math
from collections import deque
from statistics import NormalDist

from predictors.base import Forecast

# Horizons whose errors are followed; farther ones are judged by the last of them.
HORIZONS = 4
# Weight of the newest error: the memory is some ten intervals.
_WEIGHT = 0.1
# What to expect before there was any error, relative to the value; it fades like any error.
_PRIOR = 0.15
_TAIL = 0.1
_Z = NormalDist().inv_cdf(1 - _TAIL)
# How fast a band widens that was too narrow. It narrows by a ninth of that, so that one value in ten lies outside.
_PACE = 0.08
_NARROWEST, _WIDEST = 0.3, 4.0


class _Horizon:
    """Errors at one horizon: their root mean square, relative to the forecast, and how the band must be stretched.

    The stretch follows adaptive conformal inference (I. Gibbs and E. Candes, "Adaptive Conformal Inference Under
    Distribution Shift", NeurIPS 2021): whatever the errors' distribution, in the long run the share of values beyond
    the band is the one asked for.
    """

    def __init__(self) -> None:
        self._mean_square = _PRIOR**2 * _WEIGHT
        self._weight = _WEIGHT
        self._up = self._down = 1.0

    @property
    def relative(self) -> float:
        # Dividing by the weight so far keeps the first few errors from looking small.
        return math.sqrt(self._mean_square / self._weight)

    def learn(self, forecast: Forecast, actual: float) -> None:
        error = (actual - forecast.mean) / max(forecast.mean, actual, 1e-12)
        self._mean_square += _WEIGHT * (error * error - self._mean_square)
        self._weight += _WEIGHT * (1 - self._weight)
        self._up = _stretched(self._up, outside=actual > forecast.quantile(1 - _TAIL))
        self._down = _stretched(self._down, outside=actual < forecast.quantile(_TAIL))

    def around(self, mean: float, factor: float) -> Forecast:
        scale = self.relative * mean * factor
        return Forecast(mean=mean, std=scale * self._up, std_below=scale * self._down)


def _stretched(stretch: float, *, outside: bool) -> float:
    pace = _PACE * (1 - _TAIL) if outside else -_PACE * _TAIL
    return min(_WIDEST, max(_NARROWEST, stretch * math.exp(pace)))


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
        # Errors of a random walk grow with the root of the horizon.
        return self._horizons[known - 1].around(mean, math.sqrt(horizon_steps / known))

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
