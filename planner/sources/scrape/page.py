"""A frontend's metrics page: its series and their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
