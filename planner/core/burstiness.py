"""How unevenly work arrives within moments."""

from __future__ import annotations

from dataclasses import dataclass

from planner.core.observation import Observation
from planner.core.windows import Window

_WEIGHT = 0.05
# Chance makes independent requests look even at times: what is learnt has to go below 1 for its mean to be 1.
_LOWEST, _HIGHEST = 0.1, 1000.0
_MOST_IN_QUEUES = 20.0
# One pair of windows says little, however far apart they are: a step of the load is no burst.
_MOST_SEEN = 5.0
# Longer windows speak of how the load changes, not of how it comes.
_LONGEST_WINDOW_S = 30.0
_LEAST_ARRIVALS = 10.0


@dataclass(frozen=True, slots=True)
class Burstiness:
    """Variance of the input tokens that arrive in short windows, over that of independent requests; 1 for Poisson.

    Callers that send many or long requests together make it large. It is taken from differences of neighbouring
    windows, so that a load that rises or falls does not count as bursty.

    Attributes:
        value: The ratio.
        last: The last window; None before the first.
    """

    value: float = 1.0
    last: Window | None = None

    @property
    def in_queues(self) -> float:
        """The ratio as far as queues feel it: a window is long against the time that requests may wait."""
        return min(_MOST_IN_QUEUES, self.at_least)

    @property
    def at_least(self) -> float:
        """The ratio, not below that of independent requests: nobody knows how even arrivals stay."""
        return max(1.0, self.value)

    def learn(self, observation: Observation, second_moment: float) -> Burstiness:
        """The ratio after one more window; an unknown one breaks the row.

        Args:
            observation: The window.
            second_moment: Mean square of input lengths over the square of their mean.
        """
        requests, isl = observation.requests_started, observation.isl
        if requests is None or isl is None or observation.interval > _LONGEST_WINDOW_S:
            return Burstiness(self.value)
        window, last = Window(requests * isl, requests, observation.interval), self.last
        if last is None or abs(last.length_s / window.length_s - 1) > 0.1:
            return Burstiness(self.value, window)
        arrivals, tokens = window.requests + last.requests, window.tokens + last.tokens
        if arrivals < _LEAST_ARRIVALS or not tokens:
            return Burstiness(self.value, window)
        independent = second_moment * tokens**2 / arrivals
        seen = min(_MOST_SEEN * self.at_least, (window.tokens - last.tokens) ** 2 / independent)
        value = self.value + _WEIGHT * (seen - self.value)
        return Burstiness(min(_HIGHEST, max(_LOWEST, value)), window)
