"""The queries that a tick asks of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Sequence

from planner.sources.mapping import Mean, MetricsMapping
from planner.sources.selection import Selection


class QueryBuilder:
    """Writes PromQL for the series of one selection over one window."""

    def __init__(self, mapping: MetricsMapping, selection: Selection, window_s: float) -> None:
        self._mapping = mapping
        self._matchers = selection.matchers(mapping)
        self._window = f"{max(1, round(window_s * 1000))}ms"

    def counter(self, names: Sequence[str]) -> str:
        """Increase of the first of these counters that exists, over all servers."""
        return " or ".join(f"sum({self._increase(name)})" for name in names)

    def mean(self, means: Sequence[Mean]) -> str:
        """Mean of the first of these that exists: over several servers a ratio of sums, not a mean of ratios."""
        return " or ".join(f"(sum({self._increase(mean.sum)}) / sum({self._increase(mean.count)}))" for mean in means)

    def buckets(self, means: Sequence[Mean]) -> str:
        """Increase of the buckets of the first of these histograms that exists, by upper bound."""
        return " or ".join(
            f"sum by (le) (increase({self._series(mean.bucket)}[{self._window}]))" for mean in means if mean.bucket
        )

    def gauge(self, names: Sequence[str], *, before: bool = False) -> str:
        """Sum of these gauges now, or at the beginning of the window."""
        offset = f" offset {self._window}" if before else ""
        return f"sum({self._any(names)}{offset})"

    def freshness(self) -> str:
        """Time of the newest sample."""
        return f"max(timestamp({self._any(tuple(self._mapping.telling_names()), matched=False)}))"

    def _increase(self, name: str) -> str:
        """Increase of a counter over the window.

        ``increase`` compares samples within the window, so it misses the first count of a series that is born in it.
        Where the server was scraped before and the series was not there, it began at 0, and its value is its increase.
        """
        series, window = self._series(name), self._window
        born = f"({series} unless {series} offset {window}) and on (job, instance) (up offset {window} == 1)"
        return f"({born}) or increase({series}[{window}])"

    def _series(self, name: str | None) -> str:
        return f"{name}{{{','.join(self._matchers)}}}"

    def _any(self, names: Sequence[str], *, matched: bool = True) -> str:
        names_matcher = f'__name__=~"{"|".join(map(re.escape, names))}"'
        return f"{{{','.join([names_matcher, *(self._matchers if matched else [])])}}}"


def catalogue(mapping: MetricsMapping) -> str:
    """Number of series by name, model and namespace: what there is to choose from."""
    names = "|".join(map(re.escape, dict.fromkeys(mapping.telling_names())))
    labels = ["__name__", mapping.model_label, *([mapping.namespace_label] if mapping.namespace_label else [])]
    return f'count by ({", ".join(labels)}) ({{__name__=~"{names}"}})'
