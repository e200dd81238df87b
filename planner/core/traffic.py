"""How requests come: how long they are, in what bursts, and how they find workers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from planner.core.burstiness import Burstiness
from planner.core.decision import Explanation
from planner.core.dispatch import Dispatch
from planner.core.lengths import LengthShape
from planner.core.observation import Observation
from planner.core.peakedness import Peakedness
from planner.core.windows import Windows

# Requests that come more unevenly than this are late for that, not for how they are dealt out.
_MOST_UNEVEN = 2.0
_PEAK_WEIGHT = 0.1


@dataclass(slots=True)
class Traffic:
    """What is learnt of the traffic besides its amount.

    Attributes:
        isl: How input lengths are spread around their mean.
        osl: How output lengths are.
        burstiness: How unevenly work arrives within moments.
        peakedness: How many requests are prefilled at once.
        surges_tps: Variance of the rate of input tokens from window to window over its mean, beyond that of independent
            requests; 0 where that is not known.
        windows: The windows of the current interval so far.
        peak: The load that the requests of the last interval met, over its mean load; the usual one if unknown.
        usual_peak: The mean of that lately.
        dispatch: How blindly requests are dealt out to workers.
    """

    isl: LengthShape = field(default_factory=LengthShape)
    osl: LengthShape = field(default_factory=LengthShape)
    burstiness: Burstiness = field(default_factory=Burstiness)
    peakedness: Peakedness = field(default_factory=Peakedness)
    surges_tps: float = 0.0
    windows: Windows = field(default_factory=Windows)
    peak: float = 1.0
    usual_peak: float = 1.0
    dispatch: Dispatch = field(default_factory=Dispatch)

    def glimpse(self, observation: Observation) -> None:
        """Take in a window between two adjustments."""
        self.burstiness = self.burstiness.learn(observation, self.isl.second_moment())
        self.windows = self.windows.add(observation)
        self.peakedness = self.peakedness.learn(observation)

    def learn(self, observation: Observation, recorded: Explanation | None) -> None:
        """Take in an interval.

        Args:
            observation: The interval.
            recorded: What was learnt of it when it passed, if that was not now.
        """
        if recorded is None:
            self.burstiness = self.burstiness.learn(observation, self.isl.second_moment())
            self.peakedness = self.peakedness.learn(observation)
            self.surges_tps = self._surges_tps()
            peak = self.windows.peak(observation, self.isl.second_moment())
            self.peak = self.usual_peak if peak is None else peak
        else:
            self.recall(recorded, observation.queued)
            self.peak = recorded.peak
        self.usual_peak += _PEAK_WEIGHT * (self.peak - self.usual_peak)
        self.windows = Windows()
        self.isl = self.isl.learn(observation.isl_quantiles, observation.isl)
        self.osl = self.osl.learn(observation.osl_quantiles, observation.osl)

    def recall(self, recorded: Explanation, queued: float | None = None) -> None:
        """Go on from what was recorded of how unevenly requests come, and of those that waited then."""
        self.burstiness = Burstiness(recorded.burstiness)
        self.peakedness = Peakedness(recorded.peakedness, queued)
        self.surges_tps = recorded.surges_tps

    def met(self, observation: Observation) -> Observation | None:
        """The interval as its requests met it; None if they came too unevenly to tell how they were dealt out."""
        requests = observation.requests_started
        if requests is None or self.peak * self.burstiness.at_least > _MOST_UNEVEN:
            return None
        return replace(observation, requests_started=requests * self.peak)

    def learn_dispatch(self, late: float, together: float, apart: float) -> None:
        """Learn how requests find workers; see Dispatch."""
        self.dispatch = self.dispatch.learn(late, together, apart)

    def _surges_tps(self) -> float:
        windows = self.windows.windows
        requests, tokens = sum(window.requests for window in windows), sum(window.tokens for window in windows)
        if not tokens:
            return self.surges_tps
        beyond = (self.burstiness.at_least - 1) * self.isl.second_moment()
        return beyond * tokens / requests * len(windows) / sum(window.length_s for window in windows)
