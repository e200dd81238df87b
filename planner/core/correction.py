"""How far the engines are from their profile, learnt from what is observed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from planner.core.observation import Workers

LOWEST = 0.2
HIGHEST = 5.0

# One observation moves the factor by a quarter of the way at most once it has settled, so that a single
# outlier cannot throw it, yet a real change is three quarters learnt after five intervals.
_SETTLED_WEIGHT = 0.25


@dataclass(frozen=True, slots=True)
class CorrectionFactor:
    """Observed over expected latency: a geometric moving average within LOWEST and HIGHEST.

    Attributes:
        value: The factor; 1 means that the profile is right.
        samples: Observations it was learnt from.
        rising: Weight of what is slower than learnt, over that of what is faster; below 1 where something besides slow
            engines makes latencies long.
    """

    value: float = 1.0
    samples: int = 0
    rising: float = 1.0

    def learn(self, observed_ms: float, expected_ms: float) -> CorrectionFactor:
        """The factor after one more observation; the ratio is averaged in log space, where it is symmetric.

        Args:
            observed_ms: Latency observed, milliseconds; above 0.
            expected_ms: Latency that the profile gives for the same load, milliseconds; above 0.
        """
        ratio = min(HIGHEST, max(LOWEST, observed_ms / expected_ms))
        settled = _SETTLED_WEIGHT * (self.rising if ratio > self.value else 1.0)
        weight = max(settled, 1 / (self.samples + 2))
        value = math.exp((1 - weight) * math.log(self.value) + weight * math.log(ratio))
        return replace(self, value=value, samples=self.samples + 1)


@dataclass(frozen=True, slots=True)
class SteadyPool:
    """Tells whether a pool was the same all through an interval, so that its latencies can be trusted.

    While workers start, the few that serve carry the load of all, and fresh ones warm up on live requests.
    """

    last: Workers | None = None
    steady: bool = False

    def see(self, workers: Workers | None) -> SteadyPool:
        """The judgement after an interval that ended with ``workers``."""
        same = workers is not None and self.last is not None and workers.ready == self.last.ready
        settled = workers is not None and not workers.pending and self.last is not None and not self.last.pending
        return SteadyPool(last=workers, steady=same and settled)
