"""The queries that a tick asks of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Sequence

from planner.sources.mapping import Mean, MetricsMapping
from planner.sources.prometheus.coverage import STEPS
from planner.sources.selection import Selection


class QueryBuilder:
    """Writes PromQL for the series of one selection over one window."""

    def __init__(self, mapping: MetricsMapping, selection: Selection, window_s: float) -> None:
        self._mapping = mapping
        self._matchers = selection.matchers(mapping)
        self._window_ms = max(1, round(window_s * 1000))
        self._window = f"{self._window_ms}ms"

    def of_tick(self, end: float) -> dict[str, str]:
        """The queries of a tick that ends at ``end``, by the field they answer."""
        mapping = self._mapping
        queries = {name: self.counter(names) for name, names in mapping.counters().items() if names}
        queries |= {name: self.gauge(names) for name, names in mapping.gauges().items() if names}
        if mapping.inflight:
            queries["inflight_before"] = self.gauge(mapping.inflight, before=True)
        queries |= {name: self.mean(means) for name, means in mapping.means().items() if means}
        queries |= {
            f"{name} buckets": self.buckets(means)
            for name, means in mapping.means().items()
            if any(mean.bucket for mean in means)
        }
        if mapping.arrivals:
            queries["uncounted_arrivals"] = self.uncounted_arrivals()
        queries |= {
            "newest_scrape": self.newest_scrape(),
            "oldest_scrape": self.oldest_scrape(end),
            "scrapes": self.scrapes(),
        }
        return queries

    def counter(self, names: Sequence[str]) -> str:
        """Increase of the first of these counters that exists, over all servers."""
        return " or ".join(f"sum({self._increase(name)})" for name in names)

    def mean(self, means: Sequence[Mean]) -> str:
        """Mean of the first of these that exists: over several servers a ratio of sums, not a mean of ratios."""
        return " or ".join(f"(sum({self._increase(mean.sum)}) / sum({self._increase(mean.count)}))" for mean in means)

    def buckets(self, means: Sequence[Mean]) -> str:
        """Increase of the buckets of the first of these histograms that exists, by upper bound."""
        return " or ".join(f"sum by (le) ({self._increase(mean.bucket)})" for mean in means if mean.bucket)

    def gauge(self, names: Sequence[str], *, before: bool = False) -> str:
        """Sum of these gauges now, or at the beginning of the window."""
        if not before:
            return f"sum({self._any(names)})"
        # What was under way in a server that has begun anew since died with it.
        completions = self._any(self._mapping.completions)
        begun_anew = f"max by (job, instance) (resets({completions}[{self._window}])) > 0"
        return f"sum({self._any(names)} offset {self._window} unless on (job, instance) ({begun_anew}))"

    def newest_scrape(self) -> str:
        """Time of the last scrape of any server."""
        return f"max(timestamp({self._presence()}))"

    def oldest_scrape(self, end: float) -> str:
        """Time of the first scrape of any server within the window that ends at ``end``."""
        step, start = f"{max(1, self._window_ms // STEPS)}ms", end - self._window_ms / 1000
        return f"min(min_over_time((timestamp({self._presence()}) > {start:.3f})[{self._window}:{step}]))"

    def scrapes(self) -> str:
        """How often the server that was scraped most was scraped within the window."""
        return f"max(count_over_time({self._presence()}[{self._window}]))"

    def uncounted_arrivals(self) -> str:
        """Number of completion counters whose server has no counter of arrivals, as in a rolling upgrade."""
        arrivals, completions = self._any(self._mapping.arrivals), self._any(self._mapping.completions)
        return f"count({completions} unless on (job, instance) {arrivals})"

    def _presence(self) -> str:
        return self._any(self._mapping.presence or tuple(self._mapping.telling_names()), matched=False)

    def _increase(self, name: str) -> str:
        """Increase of every series of a counter over the window.

        ``increase`` compares samples within the window, so it misses the first count of a series that is born in it.
        Where the server was scraped within the window before the series was there, the series began at 0, and its
        largest value is its increase. Where it was not (a new server, or Prometheus itself was down), its value may
        be that of a lifetime, and only what was added since its first sample counts.
        """
        series, window = self._series(name), self._window
        scrapes = f"max by (job, instance) (sum_over_time(up[{window}]))"
        later_than_server = f"(count_over_time({series}[{window}]) < on (job, instance) group_left {scrapes})"
        born = f"(max_over_time({series}[{window}]) unless {series} offset {window}) and {later_than_server}"
        return f"({born}) or increase({series}[{window}])"

    def _series(self, name: str) -> str:
        return f"{name}{{{','.join(self._matchers)}}}"

    def _any(self, names: Sequence[str], *, matched: bool = True) -> str:
        names_matcher = f'__name__=~"{"|".join(map(re.escape, names))}"'
        return f"{{{','.join([names_matcher, *(self._matchers if matched else [])])}}}"


def catalogue(mapping: MetricsMapping) -> str:
    """Number of series by name, model and namespace: what there is to choose from."""
    names = "|".join(map(re.escape, dict.fromkeys(mapping.telling_names())))
    labels = ["__name__", mapping.model_label, *([mapping.namespace_label] if mapping.namespace_label else [])]
    return f'count by ({", ".join(labels)}) ({{__name__=~"{names}"}})'
