"""How requests find a worker: whether each goes to one that is free, or to any."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from planner.core.queueing import WaitTail

# One interval moves what was learnt by at most so much: a surge looks like bad luck with workers.
_WEIGHT, _LARGEST_STEP = 0.2, 0.05
# What is left of what was learnt after an interval that tells nothing.
_FADING = 0.98
# So little is chance.
_DOUBTFUL = 0.06
# Shares of late requests nearer to each other than this tell nothing.
_LEAST_DIFFERENCE = 0.01


class Waits:
    """Waiting for a worker where some requests go to a worker that is free, if there is one, and others to any.

    A router that knows every queue makes one queue of them all; one that deals out blindly makes a queue before each
    worker, in which requests wait though others are free. Real ones are between.
    """

    def __init__(self, workers: int, rate_rps: float, service_s: float, variability: float, blindness: float) -> None:
        """Describe workers that are not overloaded.

        Args:
            workers: Their number.
            rate_rps: Arrivals per second.
            service_s: Mean service time, seconds.
            variability: Squared coefficients of variation of arrivals and service, added and halved.
            blindness: Share of requests that go to any worker; 0 to 1.
        """
        self._blindness = blindness
        self._together = WaitTail(workers, rate_rps, service_s, variability)
        self._apart = WaitTail(1, rate_rps / workers, service_s, variability) if blindness else self._together

    @property
    def mean_s(self) -> float:
        """Mean wait of all requests, seconds."""
        together, apart = (wait.probability * wait.mean_s for wait in (self._together, self._apart))
        return together + self._blindness * (apart - together)

    def beyond(self, time_s: float) -> float:
        """Probability that the wait is longer."""
        together = self._together.beyond(time_s)
        return together + self._blindness * (self._apart.beyond(time_s) - together)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """How blindly requests are dealt out, learnt from how many are late.

    Attributes:
        blindness: Share of requests that go to any worker, free or not; 0 to 1.
    """

    blindness: float = 0.0

    @property
    def certain(self) -> float:
        """The share, once several intervals have shown that there is one."""
        return self.blindness if self.blindness > _DOUBTFUL else 0.0

    def learn(self, late: float, together: float, apart: float) -> Dispatch:
        """What is known after one more interval.

        Args:
            late: Share of requests that missed the TTFT target.
            together: Share expected to if all wait in one queue.
            apart: Share expected to if each worker has a queue of its own, chosen blindly.
        """
        if apart - together < _LEAST_DIFFERENCE:
            return Dispatch(self.blindness * _FADING)
        if late > apart:
            # Nor is this how requests are dealt out: too few workers, or a backlog.
            return self
        seen = min(1.0, max(0.0, (late - together) / (apart - together)))
        step = min(_LARGEST_STEP, max(-_LARGEST_STEP, _WEIGHT * (seen - self.blindness)))
        return Dispatch(self.blindness + step)


def share_beyond(quantiles: Mapping[float, float], value: float) -> float:
    """Share of a distribution beyond a value, linear between its quantiles and exponential beyond the last two.

    Args:
        quantiles: Values by probability, at least one.
        value: The value.
    """
    known = [(0.0, 0.0), *sorted(quantiles.items())]
    for (below_p, below), (p, at) in itertools.pairwise(known):
        if at >= value:
            return 1 - (below_p + (p - below_p) * (value - below) / (at - below) if at > below else p)
    (below_p, below), (p, at) = known[-2:]
    if at <= below:
        return 0.0
    return float((1 - p) * ((1 - p) / (1 - below_p)) ** ((value - at) / (at - below)))
