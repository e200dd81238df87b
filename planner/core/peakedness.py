"""How many requests are prefilled at once, next to what independent ones would make of it."""

from __future__ import annotations

from dataclasses import dataclass

from planner.core.observation import Observation

_WEIGHT, _MOST_WEIGHT = 0.05, 4.0
# One pair of looks says little: a queue that builds up is nothing that came together.
_MOST_SEEN = 20.0
_FEWEST = 1.0


@dataclass(frozen=True, slots=True)
class Peakedness:
    """Variance of the requests that wait for their first token, over their mean; 1 for independent requests.

    Where prompts find workers that are free, it tells how many requests come together within the time of a prompt,
    which the windows that burstiness is learnt from are too long for (A. A. Fredericks, "Congestion in Blocking
    Systems - A Simple Approximation Technique", Bell System Technical Journal 59(6), 1980). It is taken from
    differences of neighbouring looks, so that a load that rises or falls does not count.

    Attributes:
        value: The ratio; None before it was learnt. Chance makes it less than 1 at times.
        last: Requests at the last look; None if unknown.
    """

    value: float | None = None
    last: float | None = None

    @property
    def at_least(self) -> float | None:
        """The ratio, not below that of independent requests; None before it was learnt."""
        return None if self.value is None else max(1.0, self.value)

    def learn(self, observation: Observation) -> Peakedness:
        """The ratio after one more look; an unknown one breaks the row.

        A look counts by how many requests there are, next to those that there usually are by Little's law: the ratio is
        one of means, not a mean of ratios, in which large clumps would count no more than small ones.
        """
        queued, last = observation.queued, self.last
        if queued is None or last is None or queued + last < _FEWEST:
            return Peakedness(self.value, queued)
        before, both = 1.0 if self.value is None else self.value, queued + last
        usual = 2 * (observation.request_rate_rps or 0.0) * (observation.ttft_ms or 0.0) / 1000
        weight = _WEIGHT * min(_MOST_WEIGHT, both / usual if usual else 1.0)
        seen = min(_MOST_SEEN * max(1.0, before), (queued - last) ** 2 / both)
        return Peakedness(before + weight * (seen - before), queued)
