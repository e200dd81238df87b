"""Prefill workers: one prompt at a time each, first come first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from itertools import count

from planner.simulation.agenda import Agenda
from planner.simulation.engine import PrefillEngine
from planner.simulation.pool import Pool, Startup
from planner.simulation.request import Request

_S_PER_MS = 1e-3


class PrefillPool(Pool):
    """One queue for all workers, which are alike: it is enough to count them."""

    def __init__(
        self, agenda: Agenda, engine: PrefillEngine, prefilled: Callable[[Request], None], *, startup: Startup
    ) -> None:
        """Make a pool without workers.

        Args:
            agenda: The clock and what is planned on it.
            engine: How long a prompt takes.
            prefilled: Called with each request whose first token is there.
            startup: Gives the time a worker takes to serve, seconds.
        """
        super().__init__(agenda, startup=startup)
        self._ttft_ms = lru_cache(maxsize=1 << 16)(engine.ttft_ms)
        self._prefilled = prefilled
        self._queue: deque[Request] = deque()
        self._serving: dict[Request, int] = {}
        self._begun = count()
        self._idle = 0

    @property
    def busy(self) -> int:
        """Workers that have something to do, draining ones among them."""
        return len(self._serving)

    @property
    def waiting(self) -> int:
        """Requests that no worker has begun."""
        return len(self._queue)

    def enter(self, request: Request) -> None:
        """Serve ``request`` as soon as a worker is free."""
        if self._idle:
            self._idle -= 1
            self._begin(request)
        else:
            self._queue.append(request)

    def _begin(self, request: Request) -> None:
        number = next(self._begun)
        self._serving[request] = number
        ends_s = self._agenda.now_s + self._ttft_ms(request.isl) * _S_PER_MS
        self._agenda.plan(ends_s, self._finish, (request, number))

    def _finish(self, begun: tuple[Request, int]) -> None:
        request, number = begun
        if self._serving.get(request) != number:
            return
        del self._serving[request]
        if self._draining:
            self._left()
        else:
            self._next()
        self._prefilled(request)

    def _next(self) -> None:
        if self._queue:
            self._begin(self._queue.popleft())
        else:
            self._idle += 1

    def _add_worker(self) -> None:
        self._next()

    def _drain_worker(self) -> None:
        # Among busy workers the one that finishes first is the one that leaves.
        if self._idle:
            self._idle -= 1
            self._left()

    def _lose_worker(self) -> None:
        if self._idle:
            self._idle -= 1
            return
        # The one that began last: it loses least.
        request, _ = self._serving.popitem()
        self._queue.appendleft(request)
