"""Waiting in queues, in formulas."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
# From here on the limit is within a percent.
_MANY = 300


def erlang_c(servers: int, load: float) -> float:
    """Probability that an arrival of an M/M/c queue has to wait.

    Source: A. K. Erlang 1917, by the recursion of the Erlang B formula, which is stable for any size; for many servers
    S. Halfin and W. Whitt, "Heavy-Traffic Limits for Queues with Many Exponential Servers", Operations Research 29(3),
    1981, theorem 1.

    Args:
        servers: Their number, 1 or more.
        load: Arrival rate times mean service time, Erlang; below ``servers``.
    """
    if servers > _MANY:
        slack = (servers - load) / math.sqrt(load)
        return 1 / (1 + slack * _NORMAL.cdf(slack) / max(_NORMAL.pdf(slack), 1e-300))
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


class WaitTail:
    """Distribution of the wait in a G/G/c queue: a wait at all with Erlang's probability, then exponential.

    Source: A. O. Allen, "Probability, Statistics, and Queueing Theory", 2nd ed. 1990, section 5.3 (Allen-Cunneen
    approximation of the mean wait); exponential tails after J. F. C. Kingman's heavy traffic limit.

    Attributes:
        probability: That an arrival waits.
        mean_s: Mean wait of those that wait, seconds.
    """

    __slots__ = ("mean_s", "probability")

    def __init__(self, servers: int, rate_rps: float, service_s: float, variability: float) -> None:
        """Describe a queue that is not overloaded.

        Args:
            servers: Their number.
            rate_rps: Arrivals per second.
            service_s: Mean service time, seconds.
            variability: Squared coefficients of variation of arrivals and service, added and halved; 1 for M/M/c.
        """
        load = rate_rps * service_s
        rounded = round(load, 4)
        self.probability = _erlang_c(servers, rounded) if rounded > 0 else 0.0
        self.mean_s = variability * service_s / (servers - load)

    def beyond(self, time_s: float) -> float:
        """Probability that the wait is longer."""
        return self.probability * math.exp(-time_s / self.mean_s) if time_s > 0 else self.probability


_erlang_c = lru_cache(maxsize=4096)(erlang_c)


def normal_beyond(value: float, mean: float, variance: float) -> float:
    """Probability that a normal variable exceeds a value."""
    if variance <= 0:
        return 1.0 if mean > value else 0.0
    return 0.5 * math.erfc((value - mean) / math.sqrt(2 * variance))
