"""How far forecasts have been off lately."""

from __future__ import annotations

import math

# Weight of the newest error: the memory is some ten intervals.
_WEIGHT = 0.1


class ErrorTracker:
    """The root mean square of recent errors, exponentially weighted.

    A model's own idea of its variance stands on noises that a user set in the dark; its errors stand on the series.
    """

    def __init__(self) -> None:
        self._mean_square = 0.0
        self._weight = 0.0

    def learn(self, error: float, steps: int = 1) -> None:
        """Take in the error of a forecast.

        Args:
            error: Actual less forecast value, in the unit of the series.
            steps: Intervals the forecast looked ahead; errors of a random walk grow with their root.
        """
        self._mean_square += _WEIGHT * (error * error / steps - self._mean_square)
        self._weight += _WEIGHT * (1 - self._weight)

    def std(self, horizon_steps: int) -> float:
        """Standard deviation of the error so many intervals ahead; 0 before there was any error."""
        if self._weight == 0:
            return 0.0
        # Dividing by the weight so far keeps the first few errors from looking small.
        return math.sqrt(self._mean_square / self._weight * horizon_steps)
