"""A deployment to try the planner on: frontends with real metrics pages before simulated workers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from aiohttp import web

from planner.clock import Clock
from planner.core.observation import Workers
from planner.demo.frontend import Frontend
from planner.simulation.aggregated import AggregatedDeployment
from planner.simulation.arrival import Arrival
from planner.simulation.deployment import Deployment
from planner.simulation.request import Request
from planner.simulation.serving import Serving
from profiles import EngineProfile

_STEP_S = 0.02


class _Page:
    """A frontend behind its port; restarting it keeps the port."""

    def __init__(self, model: str, version: str) -> None:
        self.model, self.version = model, version
        self.frontend = Frontend(model, version=version)
        self.up = True
        self.runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()

    async def _metrics(self, _: web.Request) -> web.Response:
        if not self.up:
            return web.Response(status=503)
        return web.Response(body=self.frontend.page(), headers={"Content-Type": "text/plain; version=0.0.4"})

    @property
    def url(self) -> str:
        assert self.runner is not None  # noqa: S101 - asked only while it serves
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/metrics"


class StandIn:
    """Frontends that serve a stream of arrivals with simulated workers, on a clock."""

    def __init__(
        self,
        profile: EngineProfile,
        arrivals: Iterator[Arrival],
        clock: Clock,
        *,
        startup_s: float,
        step_tokens: int | None = None,
        frontends: int = 1,
        model: str = "demo",
        version: str = "1.6",
        workers: tuple[int, int] = (1, 1),
    ) -> None:
        """Prepare; nothing listens before the context is entered.

        Args:
            profile: What the workers can do.
            arrivals: The requests to come, in the order of their times on ``clock``.
            clock: What the time is.
            startup_s: Time a worker takes to serve, seconds on ``clock``.
            step_tokens: Tokens of a prompt that a step of an aggregated worker takes up; None for prefill and decode
                workers apart.
            frontends: How many frontends share the requests.
            model: The model's name in the metrics.
            version: Whose metrics they are, a key of ``planner.demo.frontend.DIALECTS``.
            workers: Prefill and decode workers at the start; only the latter of an aggregated deployment.
        """
        self._clock = clock
        self._arrivals = arrivals
        self._upcoming = next(arrivals, None)
        self._pages = [_Page(model, version) for _ in range(frontends)]
        self._turn = itertools.cycle(self._pages)
        self._by_request: dict[Request, Frontend] = {}
        self._task: asyncio.Task[None] | None = None
        self.finished: list[Request] = []
        self.arrived_total = 0
        self.deployment = self._deploy(profile, startup_s, step_tokens, workers)

    def _deploy(
        self, profile: EngineProfile, startup_s: float, step_tokens: int | None, workers: tuple[int, int]
    ) -> Serving:
        begin = self._clock.now()
        if step_tokens is None:
            return Deployment(profile, startup=lambda: startup_s, time_s=begin, workers=workers, observer=self)
        return AggregatedDeployment(
            profile,
            startup=lambda: startup_s,
            step_tokens=step_tokens,
            time_s=begin,
            workers=workers[1],
            observer=self,
        )

    @property
    def urls(self) -> list[str]:
        """The frontends' metrics pages."""
        return [page.url for page in self._pages]

    async def __aenter__(self) -> Self:
        """Serve the metrics pages and let time pass."""
        for page in self._pages:
            await page.start()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for page in self._pages:
            if page.runner is not None:
                await page.runner.cleanup()

    async def _run(self) -> None:
        while True:
            self._catch_up()
            await asyncio.sleep(_STEP_S)

    def _catch_up(self) -> None:
        """Let happen what has become due, each request at its own time however late this is called."""
        now = self._clock.now()
        while self._upcoming is not None and self._upcoming.time <= now:
            time, isl, osl = self._upcoming
            # The first ones may have come before there was anybody to serve them.
            self.deployment.submit(max(time, self.deployment.time_s), isl, osl)
            self._upcoming = next(self._arrivals, None)
        self.deployment.advance(now)

    def scale(self, prefill: int, decode: int) -> None:
        """Ask for so many workers."""
        self._catch_up()
        self.deployment.scale(prefill=prefill, decode=decode)

    def workers(self) -> tuple[Workers, Workers]:
        """The prefill and decode workers there are."""
        return self.deployment.workers

    def restart_frontend(self, index: int) -> None:
        """Let a frontend begin again: its counters start at zero, requests under way are forgotten by it."""
        page = self._pages[index]
        self._by_request = {request: front for request, front in self._by_request.items() if front is not page.frontend}
        page.frontend = Frontend(page.model, version=page.version)

    def take_down(self, index: int, *, down: bool = True) -> None:
        """Let a frontend's metrics page fail, or serve again."""
        self._pages[index].up = not down

    def arrived(self, request: Request) -> None:
        """Count the request at the frontend whose turn it is."""
        self.arrived_total += 1
        frontend = next(self._turn).frontend
        self._by_request[request] = frontend
        frontend.arrived(request)

    def first_token(self, request: Request) -> None:
        """Tell the frontend."""
        if (frontend := self._by_request.get(request)) is not None:
            frontend.first_token(request)

    def completed(self, request: Request) -> None:
        """Tell the frontend."""
        self.finished.append(request)
        if (frontend := self._by_request.pop(request, None)) is not None:
            frontend.completed(request)
