"""A source that asks a Prometheus server."""

from planner.sources.prometheus.api import PrometheusApi, QueryError
from planner.sources.prometheus.credentials import Credentials
from planner.sources.prometheus.source import PrometheusSource

__all__ = ["Credentials", "PrometheusApi", "PrometheusSource", "QueryError"]
