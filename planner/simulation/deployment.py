"""Disaggregated serving, request by request, on a virtual clock."""

from __future__ import annotations

from collections.abc import Sequence

from planner.core.observation import Workers
from planner.simulation.decode import DecodePool
from planner.simulation.engine import Engines
from planner.simulation.pool import Pool, Startup
from planner.simulation.prefill import PrefillPool
from planner.simulation.request import Request, RequestObserver
from planner.simulation.serving import Serving


class Deployment(Serving):
    """Both pools: a request is prefilled, which gives its first token, then decoded."""

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
        super().__init__(time_s=time_s, observer=observer)
        self.prefill = PrefillPool(self._agenda, engines.prefill, self._prefilled, startup=startup)
        self.decode = DecodePool(self._agenda, engines.decode, self._note_end, startup=startup)
        self.prefill.open(workers[0])
        self.decode.open(workers[1])

    @property
    def pools(self) -> Sequence[Pool]:
        """Prefill and decode."""
        return self.prefill, self.decode

    @property
    def queued(self) -> int:
        """Requests that wait for a worker."""
        return self.prefill.waiting + self.decode.waiting

    @property
    def workers(self) -> tuple[Workers, Workers]:
        """Prefill and decode workers there are."""
        return self.prefill.workers, self.decode.workers

    @property
    def busy(self) -> tuple[int, int]:
        """Prefill and decode workers that have something to do."""
        return self.prefill.busy, self.decode.busy

    def scale(self, *, prefill: int, decode: int) -> None:
        """Ask for so many workers, from now on."""
        self.prefill.scale(prefill)
        self.decode.scale(decode)

    def _enter(self, request: Request) -> None:
        self.prefill.enter(request)

    def _prefilled(self, request: Request) -> None:
        self._note_first_token(request)
        if request.osl > 1:
            self.decode.enter(request)
        else:
            self._note_end(request)
