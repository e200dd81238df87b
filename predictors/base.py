"""The seam of every forecast: a time series in, a distribution out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

_NORMAL = NormalDist()
# Beyond this quantile there is the tail: an exponential distribution.
_TAIL_FROM = 0.9


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one future value is expected to be: two halves of normal distributions, cut off at zero, and a tail.

    Attributes:
        mean: Expected value, in the unit of the series; 0 or more, finite.
        std: Standard deviation of the upper half; 0 or more, finite.
        std_below: Standard deviation of the lower half; that of the upper one if left out.
        tail: By how much the value exceeds its 0.9 quantile on average when it does; as the upper half if left out.
        most: The most that it comes to, unless its 0.9 quantile is more; no limit if left out.
    """

    mean: float
    std: float = 0.0
    std_below: float | None = None
    tail: float | None = None
    most: float | None = None

    def quantile(self, p: float) -> float:
        """The value that is not exceeded with probability ``p``.

        Raises:
            ValueError: ``p`` is not between 0 and 1.
        """
        if not 0 < p < 1:
            raise ValueError(f"p is {p}; it is a probability between 0 and 1, both excluded")
        std = self.std if p >= 0.5 or self.std_below is None else self.std_below
        value = self.mean + std * _NORMAL.inv_cdf(p)
        if p > _TAIL_FROM and self.tail is not None:
            value = max(value, self.quantile(_TAIL_FROM) + self.tail * math.log((1 - _TAIL_FROM) / (1 - p)))
        if p > _TAIL_FROM and self.most is not None:
            value = min(value, max(self.most, self.quantile(_TAIL_FROM)))
        return max(0.0, value)


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
