"""What a check of Prometheus says."""

from __future__ import annotations

from collections.abc import Sequence

from planner.finding import Finding, Health
from planner.sources.findings import of_series
from planner.sources.prometheus.api import QueryError, Sample
from planner.sources.prometheus.coverage import Coverage
from planner.sources.selection import Selection


def no_answer(url: str, error: QueryError) -> Finding:
    """The server does not answer."""
    return Finding(
        subject="Prometheus",
        health=Health.FAILED,
        detail=f"{url}: {error}",
        remedy="set --metric-pulling-prometheus-endpoint (and its credentials) to a server that answers",
    )


def no_frontend() -> Finding:
    """The server knows of no frontend."""
    return Finding(
        subject="frontends",
        health=Health.FAILED,
        detail="Prometheus has no series of any frontend",
        remedy="let it scrape the frontends, or choose --metrics-preset to match them",
    )


def of_model(selection: Selection) -> Finding:
    """Which model is observed."""
    if selection.model is None:
        return Finding(
            subject="model",
            health=Health.WARNING,
            detail="no series names a model yet: nothing has been served",
            remedy="send a request, or give --model-name",
        )
    place = f" in namespace {selection.namespace}" if selection.namespace else ""
    return Finding(subject="model", health=Health.OK, detail=f"{selection.model}{place}")


def of_scrapes(coverage: Coverage) -> Finding:
    """How fresh the samples are."""
    if coverage.blindness:
        return Finding(
            subject="scrapes",
            health=Health.FAILED,
            detail=coverage.blindness,
            remedy="let Prometheus scrape the frontends, or choose --metrics-preset to match them",
        )
    age_s = coverage.end - (coverage.newest or coverage.end)
    return Finding(subject="scrapes", health=Health.OK, detail=f"the newest sample is {age_s:.0f} s old")


def of_field(field: str, answer: Sequence[Sample] | QueryError, series: int) -> Finding:
    """Whether the query of a field is answered, and from how many series."""
    subject = f"query {field}"
    if isinstance(answer, QueryError):
        return Finding(subject=subject, health=Health.FAILED, detail=str(answer), remedy="see Prometheus' own log")
    return of_series(subject, series)
