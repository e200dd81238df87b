"""Disaggregated serving, request by request, on a virtual clock."""

from __future__ import annotations

from planner.core.observation import Workers
from planner.simulation.agenda import Agenda
from planner.simulation.decode import DecodePool
from planner.simulation.engine import Engines
from planner.simulation.pool import Startup
from planner.simulation.prefill import PrefillPool
from planner.simulation.request import Request, RequestObserver, Unobserved


class Deployment:
    """Both pools: a request is prefilled, which gives its first token, then decoded.

    Attributes:
        inflight: Requests that arrived and have not ended.
    """

    def __init__(
        self,
        engines: Engines,
        *,
        startup: Startup,
        workers: tuple[int, int] = (1, 1),
        time_s: float = 0.0,
        observer: RequestObserver | None = None,
    ) -> None:
        """Start with some workers that serve at once.

        Args:
            engines: What workers can do.
            startup: Gives the time a new worker takes to serve, seconds, for each anew.
            workers: Prefill and decode workers there are at the start.
            time_s: The time it is.
            observer: Who is told what happens to requests.
        """
        self._agenda = Agenda(time_s)
        self._observer: RequestObserver = observer or Unobserved()
        self.prefill = PrefillPool(self._agenda, engines.prefill, self._prefilled, startup=startup)
        self.decode = DecodePool(self._agenda, engines.decode, self._decoded, startup=startup)
        self.prefill.open(workers[0])
        self.decode.open(workers[1])
        self.inflight = 0

    @property
    def time_s(self) -> float:
        """How far time has passed."""
        return self._agenda.now_s

    @property
    def queued(self) -> int:
        """Requests that wait for a worker."""
        return self.prefill.waiting + self.decode.waiting

    @property
    def workers(self) -> tuple[Workers, Workers]:
        """Prefill and decode workers there are."""
        return self.prefill.workers, self.decode.workers

    def submit(self, time_s: float, isl: int, osl: int) -> Request:
        """Let a request arrive at a time that has not passed."""
        self._agenda.advance(time_s)
        request = Request(time_s, isl, osl)
        self.inflight += 1
        self._observer.arrived(request)
        self.prefill.enter(request)
        return request

    def advance(self, to_s: float) -> None:
        """Let time pass."""
        self._agenda.advance(to_s)

    def drain(self) -> None:
        """Let time pass until nothing is left to happen."""
        while (next_s := self._agenda.next_s) is not None:
            self._agenda.advance(next_s)

    def scale(self, *, prefill: int, decode: int) -> None:
        """Ask for so many workers, from now on."""
        self.prefill.scale(prefill)
        self.decode.scale(decode)

    def _prefilled(self, request: Request) -> None:
        request.first_token_s = self._agenda.now_s
        request.generated_tokens = 1.0
        self._observer.first_token(request)
        if request.osl > 1:
            self.decode.enter(request)
        else:
            self._decoded(request)

    def _decoded(self, request: Request) -> None:
        request.completed_s = self._agenda.now_s
        self.inflight -= 1
        self._observer.completed(request)
