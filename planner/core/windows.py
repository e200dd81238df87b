"""The short windows of an interval, and how far their load stands out above its mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from planner.core.observation import Observation

# Windows say something once they make up so much of an interval.
_LEAST_COVERED = 2 / 3
# What is left of an interval after its windows is one more if it is between so many times as long as they are.
_SHORTEST_REST, _LONGEST_REST = 0.3, 2.0


class Window(NamedTuple):
    """What arrived in a short time: input tokens, requests, and its length in seconds."""

    tokens: float
    requests: float
    length_s: float


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of the current interval so far.

    Attributes:
        windows: Oldest first.
    """

    windows: tuple[Window, ...] = ()

    def add(self, observation: Observation) -> Windows:
        """One window more; an unknown one is left out."""
        requests, isl = observation.requests_started, observation.isl
        if requests is None or (requests and not isl):
            return self
        return Windows((*self.windows, Window(requests * (isl or 0.0), requests, observation.interval)))

    def peak(self, interval: Observation, second_moment: float) -> float | None:
        """The load that requests met over the interval's mean load, 1 or more; None if too few windows are known.

        A request in a busy window meets more load than the interval had on average: over all requests, the mean square
        of the windows' loads over the square of their mean, less what chance makes of independent requests, and its
        standard error: few requests are never spread evenly.

        Args:
            interval: The interval that ends now, and whose windows were added.
            second_moment: Mean square of input lengths over the square of their mean.
        """
        requests, isl = interval.requests_started, interval.isl
        if requests == 0:
            return 1.0
        if not (requests and isl and self.windows):
            return None
        windows = self._with_rest(Window(requests * isl, requests, interval.interval))
        length_s = sum(window.length_s for window in windows)
        tokens, arrivals = sum(window.tokens for window in windows), sum(window.requests for window in windows)
        if len(windows) < 2 or length_s < _LEAST_COVERED * interval.interval or not tokens:
            return None
        met = sum(window.tokens**2 / window.length_s for window in windows) / tokens
        chance = isl * second_moment * sum(window.requests / window.length_s for window in windows) / arrivals
        # The variance of few windows is uncertain itself: by this standard error, if it is that of normal variables.
        doubt = chance * math.sqrt(2 / (len(windows) - 1))
        return max(1.0, (met - chance - doubt) * length_s / tokens)

    def _with_rest(self, interval: Window) -> list[Window]:
        """The windows, and what came after the last of them."""
        windows = list(self.windows)
        watched_s = sum(window.length_s for window in windows)
        rest_s, typical_s = interval.length_s - watched_s, watched_s / len(windows)
        if _SHORTEST_REST * typical_s <= rest_s <= _LONGEST_REST * typical_s:
            tokens = interval.tokens - sum(window.tokens for window in windows)
            requests = interval.requests - sum(window.requests for window in windows)
            windows.append(Window(max(0.0, tokens), max(0.0, requests), rest_s))
        return windows
