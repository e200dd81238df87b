"""What happened between two readings of all pages."""

from __future__ import annotations

from collections.abc import Sequence

from planner.sources.derive import Bucket, Readings, bound
from planner.sources.mapping import Mean, MetricsMapping
from planner.sources.scrape.page import Page, Snapshot
from planner.sources.selection import Labels, Selection


class Comparison:
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
