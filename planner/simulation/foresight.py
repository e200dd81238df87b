"""Predictors that know what will arrive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.core.demand import LoadPredictors
from planner.core.observation import Observation
from planner.core.windows import Window, Windows
from planner.simulation.arrival import Arrival
from predictors.base import Forecast


@dataclass(slots=True)
class _Oracle:
    """Knows every value of a series in advance; implements the protocol Predictor."""

    values: Sequence[float]
    position: int = 0

    def observe(self, value: float | None, time: float | None = None) -> None:
        del value, time
        self.position += 1

    def forecast(self, horizon_steps: int = 1) -> Forecast | None:
        if not self.values:
            return None
        return Forecast(self.values[min(self.position + horizon_steps - 1, len(self.values) - 1)])


class _Interval:
    """What arrives in an interval, and in the windows that it is made of."""

    def __init__(self, windows: int) -> None:
        self.requests = self.isl = self.osl = self.isl_square = 0
        self._windows = [[0, 0] for _ in range(windows)]

    def add(self, arrival: Arrival, window: int) -> None:
        """Take in a request of one of the windows."""
        self.requests += 1
        self.isl += arrival.isl
        self.osl += arrival.osl
        self.isl_square += arrival.isl**2
        tally = self._windows[window]
        tally[0] += arrival.isl
        tally[1] += 1

    def peak(self, length_s: float) -> float:
        """The load that its requests meet, over its mean load."""
        if not self.requests:
            return 1.0
        each_s = length_s / len(self._windows)
        windows = Windows(tuple(Window(tokens, requests, each_s) for tokens, requests in self._windows))
        seen = Observation(time=0.0, interval=length_s, requests_started=self.requests, isl=self.isl / self.requests)
        return windows.peak(seen, self.isl_square * self.requests / self.isl**2) or 1.0


def foresee(arrivals: Iterable[Arrival], interval_s: float, windows: int = 1) -> LoadPredictors:
    """Predictors that know what will arrive: with them a planner is clairvoyant.

    Args:
        arrivals: All requests.
        interval_s: Length of an interval.
        windows: In so many windows an interval is watched; tokens count by the load that their requests meet in them,
            as they do for a planner that learns.
    """
    intervals: list[_Interval] = []
    for arrival in arrivals:
        index, since_s = divmod(arrival.time, interval_s)
        while len(intervals) <= index:
            intervals.append(_Interval(windows))
        intervals[int(index)].add(arrival, min(windows - 1, int(since_s / interval_s * windows)))
    peaks = [one.peak(interval_s) for one in intervals]
    requests = [one.requests for one in intervals]
    isl, osl = [one.isl for one in intervals], [one.osl for one in intervals]
    return LoadPredictors(
        requests=_Oracle(requests),
        isl=_Oracle(_means(requests, isl)),
        osl=_Oracle(_means(requests, osl)),
        input_tokens=_Oracle([peak * tokens for peak, tokens in zip(peaks, isl, strict=True)]),
        output_tokens=_Oracle([peak * tokens for peak, tokens in zip(peaks, osl, strict=True)]),
    )


def _means(requests: Sequence[int], tokens: Sequence[int]) -> list[float]:
    """Mean lengths per interval; where nothing came, that of the interval before."""
    means: list[float] = []
    for count, total in zip(requests, tokens, strict=True):
        means.append(total / count if count else (means[-1] if means else 1.0))
    return means
