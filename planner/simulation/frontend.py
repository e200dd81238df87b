"""What a frontend would report of an interval: the simulation's source of observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.core.observation import Observation, Workers
from planner.simulation.request import Request

QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(slots=True)
class Window:
    """Sums and values of one span: first tokens when they come, completions when they do."""

    started: int = 0
    completed: int = 0
    itl_sum_ms: float = 0.0
    tokens: int = 0
    duration_sum_s: float = 0.0
    isl: list[int] = field(default_factory=list)
    osl: list[int] = field(default_factory=list)
    ttft_ms: list[float] = field(default_factory=list)
    itl_ms: list[float] = field(default_factory=list)

    def add(self, other: Window) -> None:
        """Take in the span that followed."""
        self.started += other.started
        self.completed += other.completed
        self.itl_sum_ms += other.itl_sum_ms
        self.tokens += other.tokens
        self.duration_sum_s += other.duration_sum_s
        self.isl += other.isl
        self.osl += other.osl
        self.ttft_ms += other.ttft_ms
        self.itl_ms += other.itl_ms

    def observation(
        self, time: float, interval: float, *, inflight: int, queued: int, workers: tuple[Workers, Workers]
    ) -> Observation:
        """The span as an observation that ends at ``time``."""
        return Observation(
            time=time,
            interval=interval,
            requests_started=self.started,
            requests_completed=self.completed,
            isl=_mean(self.isl),
            osl=_mean(self.osl),
            ttft_ms=_mean(self.ttft_ms),
            itl_ms=self.itl_sum_ms / self.tokens if self.tokens else None,
            request_duration_s=self.duration_sum_s / self.completed if self.completed else None,
            isl_quantiles=_quantiles(self.isl),
            osl_quantiles=_quantiles(self.osl),
            ttft_quantiles_ms=_quantiles(self.ttft_ms),
            itl_quantiles_ms=_quantiles(self.itl_ms),
            inflight=inflight,
            queued=queued,
            prefill=workers[0],
            decode=workers[1],
        )


class Frontend:
    """Counts what happens to requests; implements ``RequestObserver``.

    Attributes:
        queued: Requests that wait for their first token, those being prefilled included.
    """

    def __init__(self) -> None:
        self.queued = 0
        self._window = Window()

    def take(self) -> Window:
        """What happened since the last call."""
        window, self._window = self._window, Window()
        return window

    def arrived(self, request: Request) -> None:
        """Count an arrival; its length is known at once."""
        self._window.started += 1
        self._window.isl.append(request.isl)
        self.queued += 1

    def first_token(self, request: Request) -> None:
        """Count a first token."""
        self.queued -= 1
        assert request.first_token_s is not None  # noqa: S101 - that is what this is called for
        self._window.ttft_ms.append((request.first_token_s - request.arrival_s) * 1000)

    def completed(self, request: Request) -> None:
        """Count a completion."""
        window = self._window
        assert request.completed_s is not None  # noqa: S101 - that is what this is called for
        assert request.first_token_s is not None  # noqa: S101
        window.completed += 1
        window.osl.append(request.osl)
        window.duration_sum_s += request.completed_s - request.arrival_s
        if request.osl > 1:
            decoding_ms = (request.completed_s - request.first_token_s) * 1000
            window.tokens += request.osl - 1
            window.itl_sum_ms += decoding_ms
            window.itl_ms.append(decoding_ms / (request.osl - 1))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _quantiles(values: Sequence[float]) -> Mapping[float, float] | None:
    if not values:
        return None
    found = np.quantile(np.asarray(values, dtype=float), QUANTILES)
    return dict(zip(QUANTILES, map(float, found), strict=True))
