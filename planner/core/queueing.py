"""Waiting in queues, in formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

    def __init__(self, servers: int, rate_rps: float, service_s: float, variability: float, peaks: float = 1.0) -> None:
        """Describe a queue that is not overloaded.

        Args:
            servers: Their number.
            rate_rps: Arrivals per second.
            service_s: Mean service time, seconds.
            variability: Squared coefficients of variation of arrivals and service, added and halved; 1 for M/M/c.
            peaks: Peakedness of the arrivals, 1 or more; 1 for Poisson. Customers that come together find servers busy
                as if there were so many times fewer of them, under so many times less load (W. S. Hayward's
                approximation; A. A. Fredericks, "Congestion in Blocking Systems - A Simple Approximation Technique",
                Bell System Technical Journal 59(6), 1980).
        """
        load = rate_rps * service_s
        rounded = round(load, 4)
        self.probability = _waits(servers / peaks, rounded / servers) if rounded > 0 else 0.0
        self.mean_s = variability * service_s / (servers - load)

    def beyond(self, time_s: float) -> float:
        """Probability that the wait is longer."""
        return self.probability * math.exp(-time_s / self.mean_s) if time_s > 0 else self.probability


_erlang_c = lru_cache(maxsize=4096)(erlang_c)


def _waits(servers: float, utilisation: float) -> float:
    """Erlang's probability, also for parts of servers: geometrically between those of whole ones."""
    fewer = math.floor(servers)
    part = servers - fewer
    low = _erlang_c(fewer, fewer * utilisation) if fewer else 1.0
    return low ** (1 - part) * _erlang_c(fewer + 1, (fewer + 1) * utilisation) ** part if part else low


def normal_beyond(value: float, mean: float, variance: float) -> float:
    """Probability that a normal variable exceeds a value."""
    if variance <= 0:
        return 1.0 if mean > value else 0.0
    return 0.5 * math.erfc((value - mean) / math.sqrt(2 * variance))


def gamma_beyond(value: float, mean: float, variance: float) -> float:
    """Probability that a variable that is never negative, with a gamma distribution, exceeds a value.

    Source: E. B. Wilson and M. M. Hilferty, "The Distribution of Chi-Square", Proceedings of the National Academy of
    Sciences 17(12), 1931: its cube root is nearly normal.
    """
    if value <= 0 or mean <= 0 or variance <= 0:
        return 1.0 if mean > value else 0.0
    spread = variance / (9 * mean * mean)
    return normal_beyond((value / mean) ** (1 / 3), 1 - spread, spread)


def overlap(times: Sequence[tuple[float, float]]) -> float:
    """How much of its time a customer shares with one who came along: E[min(S, S')] / E[S], of two service times.

    Where everybody is served at once, the variance of those in service over their mean, the peakedness of the
    arrivals, is 1 + (b - 1) times this; b is variance over mean of the arrivals within a long time.
    Source: W. Whitt, "Heavy-Traffic Approximations for Service Systems with Blocking", AT&T Bell Laboratories Technical
    Journal 63(5), 1984.

    Args:
        times: Shares of customers with their service time, in any unit.
    """
    shorter = math.fsum(share * other * min(time, another) for share, time in times for other, another in times)
    return shorter / math.fsum(share * time for share, time in times)


def averaged(times: float) -> float:
    """Variance of the average of a value over so many times its correlation time, over the variance of the value.

    The correlation is taken to die away exponentially.
    """
    return 2 * (math.exp(-times) - 1 + times) / times**2 if times > 1e-3 else 1.0
