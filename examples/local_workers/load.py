"""The traffic of the example, and the observation it amounts to: every request is sent and timed for real."""

import asyncio
import contextlib
import math
import time

import httpx
from workers import Pool

from planner import Observation
from planner.sources.base import Source, SourceStatus

ISL, OSL = 3000, 100


class Traffic(Source):
    """Sends requests at a rate that rises and falls, and counts them as a frontend would."""

    def __init__(self, pools: dict[str, Pool], *, peak_rps: float, period_s: float) -> None:
        self.pools = pools
        self.peak_rps = peak_rps
        self.period_s = period_s
        self.started = 0
        self.finished: list[tuple[float, float]] = []
        self.requests: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """One request after the other, for ever."""
        began = time.monotonic()
        while True:
            phase = (time.monotonic() - began) / self.period_s
            rate_rps = 1 + (self.peak_rps - 1) * math.sin(math.pi * phase) ** 2
            task = asyncio.create_task(self.request())
            self.requests.add(task)
            task.add_done_callback(self.requests.discard)
            await asyncio.sleep(1 / rate_rps)

    async def request(self) -> None:
        """Prefill, then decode; a worker that dies with it costs a request, as it would in life."""
        self.started += 1
        began = time.monotonic()
        with contextlib.suppress(httpx.HTTPError):
            await self.pools["prefill"].call(isl=ISL, osl=OSL)
            ttft_s = time.monotonic() - began
            took_s = await self.pools["decode"].call(isl=ISL, osl=OSL)
            self.finished.append((ttft_s, took_s / OSL))

    async def observe(self, interval: float) -> Observation:
        """What happened since the last look."""
        started, finished = self.started, self.finished
        self.started, self.finished = 0, []
        ttfts, itls = zip(*finished, strict=True) if finished else ((), ())
        return Observation(
            time=time.time(),
            interval=interval,
            requests_started=started,
            requests_completed=len(finished),
            isl=ISL,
            osl=OSL,
            ttft_ms=1000 * sum(ttfts) / len(ttfts) if ttfts else None,
            itl_ms=1000 * sum(itls) / len(itls) if itls else None,
            inflight=len(self.requests),
        )

    async def start(self) -> None:
        """Nothing to connect to."""

    async def check(self) -> list:
        return []

    async def close(self) -> None:
        """Nothing to let go of."""

    @property
    def status(self) -> SourceStatus:
        return SourceStatus(series_matched={}, errors={}, newest_data=time.time())
