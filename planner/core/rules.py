"""What a policy obeys."""

from __future__ import annotations

from dataclasses import dataclass

from planner.core.budget import Limits
from planner.core.sizing import Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a policy obeys; a running one can be given others.

    Attributes:
        targets: The service-level targets.
        limits: Minimum and GPU budget.
        correct: Whether observed latencies correct the profile.
        scale_down_window_s: Span whose highest need holds a pool up, seconds; None for the time it takes to have
            workers back.
        idle_intervals: Idle intervals in a row that confirm idleness; None for as many as it takes to have workers
            back.
        worker_startup_s: Time a worker takes to serve, until it has been measured, seconds.
    """

    targets: Targets
    limits: Limits
    correct: bool
    scale_down_window_s: float | None
    idle_intervals: int | None
    worker_startup_s: float = 120.0
