"""Made-up traffic: how many requests come when, and how long they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from planner.simulation.arrival import Arrival

Rate = Callable[[float], float]


def day_curve(*, low_rps: float, high_rps: float, period_s: float) -> Rate:
    """A rate that rises from ``low_rps`` to ``high_rps`` and falls back, once a period, as days do."""

    def rate(time: float) -> float:
        return low_rps + (high_rps - low_rps) * (1 - math.cos(2 * math.pi * time / period_s)) / 2

    return rate


def with_burst(rate: Rate, *, begin: float, length_s: float, factor: float) -> Rate:
    """A rate that is ``factor`` times as high for a while."""

    def burst(time: float) -> float:
        return rate(time) * (factor if begin <= time < begin + length_s else 1.0)

    return burst


class Traffic:
    """Poisson arrivals at a rate that changes, with log-normal lengths.

    Arrivals are thinned: P. A. W. Lewis and G. S. Shedler, "Simulation of Nonhomogeneous Poisson Processes by
    Thinning", Naval Research Logistics Quarterly 26(3), 1979.
    """

    def __init__(
        self,
        rate: Rate,
        *,
        most_rps: float,
        isl: float,
        osl: float,
        generator: np.random.Generator,
        spread: float = 0.4,
    ) -> None:
        """Describe the traffic.

        Args:
            rate: Arrivals per second at a time.
            most_rps: A rate that is never exceeded.
            isl: Mean input sequence length, tokens.
            osl: Mean output sequence length, tokens.
            generator: The source of randomness.
            spread: Standard deviation of the logarithm of the lengths.
        """
        self._rate = rate
        self._most_rps = most_rps
        self._isl, self._osl = isl, osl
        self._generator = generator
        self._spread = spread

    def arrivals(self, begin: float) -> Iterator[Arrival]:
        """The requests from ``begin`` on, for ever."""
        time = begin
        while True:
            time += self._generator.exponential(1 / self._most_rps)
            if self._generator.random() * self._most_rps < self._rate(time - begin):
                yield Arrival(time, self._length(self._isl), self._length(self._osl))

    def _length(self, mean: float) -> int:
        shift = math.log(mean) - self._spread**2 / 2
        return max(1, round(self._generator.lognormal(shift, self._spread)))
