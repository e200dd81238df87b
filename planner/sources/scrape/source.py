"""Observations straight from the frontends' own metrics pages, for those who run no Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import httpx

from planner.core.observation import Observation
from planner.finding import Finding, Health
from planner.sources.base import SourceError, SourceStatus, without_password
from planner.sources.derive import Readings, derive
from planner.sources.findings import of_labels, of_series
from planner.sources.frontends import FrontendSource
from planner.sources.mapping import MetricsMapping
from planner.sources.scrape.comparison import Comparison
from planner.sources.scrape.page import Page, Snapshot, parse_page
from planner.sources.selection import NotYetError, Selection

# Ticks come a little early or late; what was read nearly an interval ago is its beginning.
_NEARLY = 0.9
# Looks of several lengths are taken in turn: snapshots are kept for the longest usual one.
_KEPT_S = 600.0
_LARGEST_PAGE_BYTES = 32 * 1024 * 1024


class ScrapeSource(FrontendSource):
    """Reads every frontend's metrics page and compares it with the last time.

    The sum over frontends is known only if every one of them answers. While one does not, counters are unknown, and
    the last whole snapshot stays what the next one is compared with, so that nothing is lost.
    """

    def __init__(
        self,
        *,
        urls: Sequence[str],
        mapping: MetricsMapping,
        now: Callable[[], float],
        model_name: str | None = None,
        namespace: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Prepare; nothing is read before ``start``.

        Args:
            urls: The metrics pages, one a frontend.
            mapping: The names of the metrics.
            now: What the time is, seconds since the epoch.
            model_name: The model to observe, in any case; None if it is the only one.
            namespace: The namespace to observe, where series carry one.
            timeout_s: Longest time a page may take, seconds.
        """
        super().__init__(mapping=mapping, now=now, model_name=model_name, namespace=namespace)
        self._urls = tuple(urls)
        self._names = mapping.names()
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None
        self._past: deque[Snapshot] = deque()

    async def start(self) -> None:
        """Read once, so that the first interval has a beginning; pages that cannot be read yet are no error.

        Raises:
            SourceError: The model wanted is not among those there are, or none is wanted of several.
        """
        snapshot, errors = await self._read()
        with contextlib.suppress(NotYetError):
            self._choose(snapshot)
        if not errors:
            self._past.append(snapshot)

    async def observe(self, interval: float) -> Observation:
        """What happened since the last whole reading, scaled to ``interval`` seconds; see Source."""
        snapshot, errors = await self._read()
        try:
            selection = self._choose(snapshot)
        except SourceError as error:
            selection, errors = Selection(), {**errors, "series": str(error)}
        before = self._begin_of(snapshot.time - interval * _NEARLY)
        if errors:
            self._status = SourceStatus(
                series_matched=self._status.series_matched, errors=errors, newest_data=self._status.newest_data
            )
            return Observation(time=snapshot.time, interval=interval)
        self._past.append(snapshot)
        self._status = SourceStatus(
            series_matched=self._count(snapshot, selection), errors={}, newest_data=snapshot.time
        )
        if before is None or snapshot.time <= before.time:
            return self._at_first_sight(snapshot, selection, interval)
        comparison = Comparison(self._mapping, selection, before, snapshot)
        readings = comparison.readings(interval / (snapshot.time - before.time))
        return derive(readings, time=snapshot.time, interval=interval)

    def _begin_of(self, time: float) -> Snapshot | None:
        """The newest whole snapshot from before a time, or else the oldest there is; those before it are let go."""
        horizon = time - _KEPT_S
        while len(self._past) > 1 and self._past[1].time <= min(time, horizon):
            self._past.popleft()
        earlier = [snapshot for snapshot in self._past if snapshot.time <= time]
        return earlier[-1] if earlier else next(iter(self._past), None)

    def _at_first_sight(self, snapshot: Snapshot, selection: Selection, interval: float) -> Observation:
        """What a single reading tells: the gauges."""
        gauges = Comparison(self._mapping, selection, snapshot, snapshot).gauges(snapshot)
        return derive(Readings(gauges=gauges), time=snapshot.time, interval=interval)

    def _choose(self, snapshot: Snapshot) -> Selection:
        return self._select([dict(labels) for page in snapshot.pages.values() for _, labels in page])

    def _count(self, snapshot: Snapshot, selection: Selection) -> dict[str, int]:
        return {
            field: sum(
                name in names and selection.takes(self._mapping, dict(labels))
                for page in snapshot.pages.values()
                for name, labels in page
            )
            for field, names in self._mapping.fields().items()
        }

    async def _read(self) -> tuple[Snapshot, dict[str, str]]:
        """The pages that can be read, and what went wrong with the others, by URL."""
        time = self._now()
        results = await asyncio.gather(*(self._fetch(url) for url in self._urls))
        pages = {url: result for url, result in zip(self._urls, results, strict=True) if not isinstance(result, str)}
        errors = {
            without_password(url): result
            for url, result in zip(self._urls, results, strict=True)
            if isinstance(result, str)
        }
        return Snapshot(time=time, pages=pages), errors

    async def _fetch(self, url: str) -> Page | str:
        """The series of a page, or what went wrong."""
        shown = without_password(url)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._connected().get(url)
                response.raise_for_status()
        except TimeoutError:
            return f"{shown}: no answer within {self._timeout_s:g} s"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{shown}: {type(error).__name__}: {str(error).replace(url, shown)}"
        if len(response.content) > _LARGEST_PAGE_BYTES:
            return f"{shown}: a page of {len(response.content)} bytes is more than {_LARGEST_PAGE_BYTES}"
        try:
            # A page of some thousand lines takes tens of milliseconds, too long for the event loop.
            page = await asyncio.to_thread(parse_page, response.text, self._names)
        except ValueError as error:
            return f"{shown}: not in Prometheus' text format: {error}"
        if self._mapping.presence and not any(name in self._mapping.presence for name, _ in page):
            return (
                f"{shown}: has no {' or '.join(self._mapping.presence)}; is it a frontend that --metrics-preset is for?"
            )
        return page

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            transport = httpx.AsyncHTTPTransport(retries=1)
            self._client = httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(self._timeout_s))
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def check(self) -> list[Finding]:
        """Read every page, and say what is missing."""
        snapshot, errors = await self._read()
        shown = [without_password(url) for url in self._urls]
        findings = [_check_page(url, errors.get(url)) for url in shown]
        if not snapshot.pages:
            return findings
        try:
            selection = self._choose(snapshot)
        except SourceError as error:
            return [*findings, of_labels(error)]
        counts = self._count(snapshot, selection)
        return [*findings, *(of_series(f"metric {field}", count) for field, count in counts.items())]


def _check_page(url: str, error: str | None) -> Finding:
    if error is None:
        return Finding(subject="frontend", health=Health.OK, detail=f"{url} answers")
    return Finding(
        subject="frontend", health=Health.FAILED, detail=error, remedy="set --frontend-metrics-url to a metrics page"
    )
