"""What a load may turn out to be around its forecast, in classes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from planner.core.decision import Z90, Band

_NORMAL = NormalDist()
# Classes get the narrower the heavier the load is.
_EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.86, 0.9, 0.93, 0.95, 0.97, 0.985, 0.994, 0.998, 1.0)
# Those from here on are the tail.
_TAIL_FROM = 0.9
# Share of the expected load that comes at least.
_LEAST = 0.05


class Outcome(NamedTuple):
    """A class of outcomes.

    Attributes:
        weight: Its probability.
        normal: Mean of a standard normal distribution in it.
        tail: Mean of a standard exponential tail in it; None if it is not of the tail.
    """

    weight: float
    normal: float
    tail: float | None

    def of(self, band: Band) -> float:
        """The mean of what a sum may turn out to be in this class, and hardly ever nothing."""
        sigma = (band.p90 - band.mean if self.normal > 0 else band.mean - band.p10) / Z90
        value = band.mean + self.normal * sigma
        if self.tail is not None and band.tail is not None:
            value = max(value, band.p90 + self.tail * band.tail)
        if band.most is not None:
            value = min(value, max(band.most, band.p90))
        return max(_LEAST * band.mean, value)


def _outcomes(edges: Sequence[float]) -> tuple[Outcome, ...]:
    heights = [0.0 if edge in (0.0, 1.0) else _NORMAL.pdf(_NORMAL.inv_cdf(edge)) for edge in edges]
    # Integral of the exponential distribution's quantiles, from the edge on.
    beyond = [(1 - edge) / (1 - _TAIL_FROM) for edge in edges]
    tails = [(1 - _TAIL_FROM) * share * (1 - math.log(share)) if share > 0 else 0.0 for share in beyond]
    found = []
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        tail = (tails[index] - tails[index + 1]) / (high - low) if low >= _TAIL_FROM else None
        found.append(Outcome(high - low, (heights[index] - heights[index + 1]) / (high - low), tail))
    return tuple(found)


OUTCOMES = _outcomes(_EDGES)
