"""One pool of workers, as it is remembered between decisions."""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.core.correction import CorrectionFactor, SteadyPool
from planner.core.decision import Bound, PoolExplanation
from planner.core.observation import Workers
from planner.core.stabilisation import ScaleDownWindow
from planner.core.startup import StartupTimes

# A worker that is pending for so many times its usual time, and at least for so long, is stuck.
_STUCK_TIMES, _STUCK_S = 3.0, 600.0


@dataclass(slots=True)
class Pool:
    """What is remembered of one pool between decisions.

    Attributes:
        startup: How long its workers take to start.
        window: What it needed lately.
        correction: How slow its engines are against their profile.
        steadiness: Whether it was the same all through the last interval.
        standing: Workers last decided on; None before a decision.
        expected_ms: Latency expected of the last interval, milliseconds; None if unknown.
        observed_ms: Latency of the last interval, milliseconds; None if unknown.
    """

    startup: StartupTimes
    window: ScaleDownWindow = field(default_factory=ScaleDownWindow)
    correction: CorrectionFactor = field(default_factory=CorrectionFactor)
    steadiness: SteadyPool = field(default_factory=SteadyPool)
    standing: int | None = None
    expected_ms: float | None = None
    observed_ms: float | None = None

    def see(self, workers: Workers | None, time: float) -> None:
        """Take in the workers there are at a time."""
        self.steadiness = self.steadiness.see(workers)
        self.startup.see(workers, time)

    def correct(self) -> None:
        """Learn from the latencies of the last interval."""
        if self.expected_ms and self.observed_ms:
            self.correction = self.correction.learn(self.observed_ms, self.expected_ms)

    def recall(self, why: PoolExplanation, time: float) -> None:
        """Take up what was decided before a restart."""
        if why.bound_by is Bound.IDLE:
            self.window.forget()
        elif why.kept is not None:
            self.window.remember(time, why.kept)
        self.standing = why.target
        self.startup.ask(why.previous, why.target, time)

    def previous(self, workers: Workers | None) -> int | None:
        """What was asked for before: what is there or coming, else what was last decided."""
        return self.standing if workers is None else workers.requested

    def stuck_s(self, time: float) -> float | None:
        """How long a worker has been pending that should serve by now; None if none has."""
        if self.startup.oldest_s is None:
            return None
        waited_s = time - self.startup.oldest_s
        return waited_s if waited_s > max(_STUCK_S, _STUCK_TIMES * self.startup.p90_s) else None
