"""Observations straight from the frontends' own metrics pages, for those who run no Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from planner.core.observation import Observation
from planner.finding import Finding, Health
from planner.sources.base import Source, SourceError, SourceStatus, without_password
from planner.sources.derive import Bucket, Readings, bound, derive
from planner.sources.mapping import Mean, MetricsMapping
from planner.sources.selection import Labels, NotYetError, Selection, select

# Ticks come a little early or late; what was read nearly an interval ago is its beginning.
_NEARLY = 0.9
# Looks of several lengths are taken in turn: snapshots are kept for the longest usual one.
_KEPT_S = 600.0
_LARGEST_PAGE_BYTES = 32 * 1024 * 1024

SeriesKey = tuple[str, frozenset[tuple[str, str]]]
Page = Mapping[SeriesKey, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All pages at one time.

    Attributes:
        time: When they were read, seconds since the epoch.
        pages: The series of each page, by its URL.
    """

    time: float
    pages: Mapping[str, Page]


class ScrapeSource(Source):
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
        self._urls = tuple(urls)
        self._mapping = mapping
        self._names = mapping.names()
        self._now = now
        self._model_name = model_name
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None
        self._past: deque[Snapshot] = deque()
        self._status = SourceStatus(series_matched={}, errors={}, newest_data=None)

    @property
    def status(self) -> SourceStatus:
        """How the last read went."""
        return self._status

    def prefer_model(self, name: str | None) -> None:
        """Observe the model of this name, unless one was chosen already."""
        self._model_name = self._model_name or name

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
        comparison = _Comparison(self._mapping, selection, before, snapshot)
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
        gauges = _Comparison(self._mapping, selection, snapshot, snapshot).gauges(snapshot)
        return derive(Readings(gauges=gauges), time=snapshot.time, interval=interval)

    def _choose(self, snapshot: Snapshot) -> Selection:
        seen = [dict(labels) for page in snapshot.pages.values() for _, labels in page]
        return select(self._mapping, seen, model_name=self._model_name, namespace=self._namespace)

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
        try:
            selection = self._choose(snapshot)
        except SourceError as error:
            return [
                *findings,
                Finding(subject="metrics labels", health=Health.FAILED, detail=str(error), remedy="as it says"),
            ]
        for field, count in self._count(snapshot, selection).items():
            findings.append(_check_field(field, count))
        return findings


def parse_page(text: str, names: set[str]) -> Page:
    """The wanted series of a metrics page.

    Args:
        text: The page, in Prometheus' text format.
        names: Names of the samples wanted.

    Raises:
        ValueError: The page is not in that format.
    """
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - this source alone parses

    wanted = "\n".join(line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] in names)
    return {
        (sample.name, frozenset(sample.labels.items())): float(sample.value)
        for family in text_string_to_metric_families(wanted + "\n")
        for sample in family.samples
    }


class _Comparison:
    """Two snapshots, compared series by series."""

    def __init__(self, mapping: MetricsMapping, selection: Selection, before: Snapshot, after: Snapshot) -> None:
        self._mapping = mapping
        self._selection = selection
        self._before, self._after = before, after

    def readings(self, scale: float) -> Readings:
        """What the difference amounts to, counters multiplied by ``scale``."""
        increases = {
            field: None if value is None else value * scale
            for field, names in self._mapping.counters().items()
            for value in [self._first_increase(names)]
        }
        if self._some_count_no_arrivals():
            increases["requests_started"] = None
        return Readings(
            present=self._selection.present,
            increases=increases,
            means={field: self._mean(means) for field, means in self._mapping.means().items()},
            gauges=self.gauges(self._after),
            # A frontend that was there and had no such series had no requests.
            inflight_before=self.gauges(self._surviving())["inflight"] or 0.0,
            buckets={field: self._buckets(means) for field, means in self._mapping.means().items()},
        )

    def gauges(self, snapshot: Snapshot) -> dict[str, float | None]:
        """The gauges of a snapshot, added up."""
        return {
            field: sum(values) if (values := list(self._values(snapshot, names))) else None
            for field, names in self._mapping.gauges().items()
        }

    def _some_count_no_arrivals(self) -> bool:
        """Whether a frontend counts completions but no arrivals, as the older ones do in a rolling upgrade."""
        for page in self._after.pages.values():
            names = {name for name, labels in page if self._selection.takes(self._mapping, dict(labels))}
            if names & set(self._mapping.completions) and not names & set(self._mapping.arrivals):
                return True
        return False

    def _surviving(self) -> Snapshot:
        """The earlier snapshot without frontends that have begun anew: what was under way in them died with them."""
        pages = {url: page for url, page in self._before.pages.items() if not self._began_anew(url, page)}
        return Snapshot(time=self._before.time, pages=pages)

    def _began_anew(self, url: str, before: Page) -> bool:
        after, completions = self._after.pages.get(url, {}), set(self._mapping.completions)
        return any(after.get(series, 0.0) < value for series, value in before.items() if series[0] in completions)

    def _values(self, snapshot: Snapshot, names: Sequence[str]) -> list[float]:
        return [
            value
            for page in snapshot.pages.values()
            for (name, labels), value in page.items()
            if name in names and self._selection.takes(self._mapping, dict(labels))
        ]

    def _increases(self, name: str | None) -> list[tuple[Labels, float]]:
        """Increase of every series of a name. One that fell began again at 0, one that is new began at 0."""
        found: list[tuple[Labels, float]] = []
        for url, page in self._after.pages.items():
            past = self._before.pages.get(url, {})
            for (series, labels), value in page.items():
                if series == name and self._selection.takes(self._mapping, plain := dict(labels)):
                    before = past.get((series, labels), 0.0)
                    found.append((plain, value - before if value >= before else value))
        return found

    def _first_increase(self, names: Sequence[str]) -> float | None:
        for name in names:
            if increases := self._increases(name):
                return sum(increase for _, increase in increases)
        return None

    def _mean(self, means: Sequence[Mean]) -> float | None:
        for mean in means:
            total, number = self._first_increase([mean.sum]), self._first_increase([mean.count])
            if total is not None and number is not None:
                return total / number if number else None
        return None

    def _buckets(self, means: Sequence[Mean]) -> list[Bucket]:
        totals: dict[float, float] = {}
        for mean in means:
            for labels, increase in self._increases(mean.bucket):
                upper = bound(labels.get("le", ""))
                totals[upper] = totals.get(upper, 0.0) + increase
            if totals:
                break
        return [Bucket(upper, count) for upper, count in totals.items()]


def _check_page(url: str, error: str | None) -> Finding:
    if error is None:
        return Finding(subject="frontend", health=Health.OK, detail=f"{url} answers")
    return Finding(
        subject="frontend", health=Health.FAILED, detail=error, remedy="set --frontend-metrics-url to a metrics page"
    )


def _check_field(field: str, count: int) -> Finding:
    if count:
        return Finding(subject=f"metric {field}", health=Health.OK, detail=f"{count} series")
    return Finding(
        subject=f"metric {field}",
        health=Health.WARNING,
        detail="no series",
        remedy="none if nothing was served yet or this version has no such metric; else check --metrics-preset",
    )
