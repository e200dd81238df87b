"""What the answers of a tick amount to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from planner.sources.derive import Bucket, Readings, bound
from planner.sources.prometheus.api import Sample
from planner.sources.prometheus.coverage import Coverage
from planner.sources.selection import Selection

Vectors = Mapping[str, Sequence[Sample]]
"""The instant vectors that answer the queries of a tick, by the names of the queries."""


def _scalar(samples: Sequence[Sample]) -> float | None:
    return samples[0].value if samples and math.isfinite(samples[0].value) else None


def coverage_of(vectors: Vectors, time: float, interval: float) -> Coverage:
    """How much of the ``interval`` seconds before ``time`` was scraped."""
    return Coverage(
        start=time - interval,
        end=time,
        oldest=_scalar(vectors.get("oldest_scrape", ())),
        newest=_scalar(vectors.get("newest_scrape", ())),
        samples=int(_scalar(vectors.get("scrapes", ())) or 0),
    )


def readings_of(vectors: Vectors, errors: Mapping[str, str], selection: Selection, coverage: Coverage) -> Readings:
    """What the answers amount to, counters taken to the whole window if only a part of it was scraped."""
    values = {name: samples[0].value if samples else None for name, samples in vectors.items()}
    increases = {
        name: None if (value := values.get(name)) is None or coverage.gap else value / coverage.share
        for name in ("requests_started", "requests_completed")
    }
    if values.get("uncounted_arrivals"):
        increases["requests_started"] = None
    before = values.get("inflight_before")
    if before is None and coverage.from_start and "inflight_before" not in errors:
        # A server that was scraped when the window began, and had no such series, had no requests.
        before = 0.0
    return Readings(
        present=selection.present,
        increases=increases,
        means={name: values.get(name) for name in ("ttft_ms", "itl_ms", "isl", "osl", "request_duration_s")},
        gauges={name: values.get(name) for name in ("inflight", "queued")},
        inflight_before=before if coverage.from_start else None,
        buckets={
            name.removesuffix(" buckets"): _buckets(samples)
            for name, samples in vectors.items()
            if name.endswith(" buckets")
        },
        failed=set(errors),
    )


def _buckets(samples: Sequence[Sample]) -> list[Bucket]:
    return [Bucket(bound(sample.labels["le"]), sample.value) for sample in samples if "le" in sample.labels]
