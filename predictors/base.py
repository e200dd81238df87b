"""The seam of every forecast: a time series in, a distribution out."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one future value is expected to be: a normal distribution cut off at zero.

    Attributes:
        mean: Expected value, in the unit of the series; 0 or more, finite.
        std: Standard deviation of the error of the forecast; 0 or more, finite.
    """

    mean: float
    std: float = 0.0

    def quantile(self, p: float) -> float:
        """The value that is not exceeded with probability ``p``.

        Raises:
            ValueError: ``p`` is not between 0 and 1.
        """
        if not 0 < p < 1:
            raise ValueError(f"p is {p}; it is a probability between 0 and 1, both excluded")
        if self.std == 0:
            return self.mean
        return max(0.0, NormalDist(self.mean, self.std).inv_cdf(p))


class Predictor(Protocol):
    """A model of one time series, sampled once an interval."""

    def observe(self, value: float | None, time: float | None = None) -> None:
        """Take in the next value.

        Args:
            value: 0 or more; None if this interval's value is unknown, so that time goes on without it.
            time: End of the interval, seconds since the epoch; None if the series has no calendar.

        Raises:
            ValueError: ``value`` is negative, infinite or NaN.
        """
        ...

    def forecast(self, horizon_steps: int = 1) -> Forecast | None:
        """The value ``horizon_steps`` intervals after the last one observed; None before there was any.

        Raises:
            ValueError: ``horizon_steps`` is below 1.
        """
        ...
