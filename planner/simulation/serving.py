"""What every deployment has in common: a clock, requests that come and end, and whoever is told of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from planner.core.observation import Workers
from planner.simulation.agenda import Agenda
from planner.simulation.pool import Pool
from planner.simulation.request import Request, RequestObserver, Unobserved


class Serving(ABC):
    """Workers of one or two pools on a virtual clock.

    Attributes:
        inflight: Requests that arrived and have not ended.
    """

    def __init__(self, *, time_s: float, observer: RequestObserver | None) -> None:
        self._agenda = Agenda(time_s)
        self._observer: RequestObserver = observer or Unobserved()
        self.inflight = 0

    @property
    @abstractmethod
    def pools(self) -> Sequence[Pool]:
        """The pools there are."""

    @property
    @abstractmethod
    def workers(self) -> tuple[Workers, Workers]:
        """Prefill and decode workers there are."""

    @property
    @abstractmethod
    def busy(self) -> tuple[int, int]:
        """Prefill and decode workers that have something to do."""

    @property
    @abstractmethod
    def queued(self) -> int:
        """Requests that wait for a worker."""

    @abstractmethod
    def scale(self, *, prefill: int, decode: int) -> None:
        """Ask for so many workers, from now on."""

    @abstractmethod
    def _enter(self, request: Request) -> None:
        """Serve a request that has just arrived."""

    @property
    def time_s(self) -> float:
        """How far time has passed."""
        return self._agenda.now_s

    def submit(self, time_s: float, isl: int, osl: int) -> Request:
        """Let a request arrive at a time that has not passed."""
        self._agenda.advance(time_s)
        request = Request(time_s, isl, osl)
        self.inflight += 1
        self._observer.arrived(request)
        self._enter(request)
        return request

    def advance(self, to_s: float) -> None:
        """Let time pass."""
        self._agenda.advance(to_s)

    def drain(self) -> tuple[float, float]:
        """Let time pass until nothing is left to happen.

        Returns:
            The time that prefill and decode workers had something to do, seconds, added up.
        """
        worked_s = [0.0, 0.0]
        while (next_s := self._agenda.next_s) is not None:
            span_s = next_s - self._agenda.now_s
            worked_s = [sum_s + span_s * workers for sum_s, workers in zip(worked_s, self.busy, strict=True)]
            self._agenda.advance(next_s)
        return worked_s[0], worked_s[1]

    def _note_first_token(self, request: Request) -> None:
        request.first_token_s = self._agenda.now_s
        request.generated_tokens = 1.0
        self._observer.first_token(request)

    def _note_end(self, request: Request) -> None:
        request.completed_s = self._agenda.now_s
        self.inflight -= 1
        self._observer.completed(request)
