"""What the controller exports."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from planner.dgdr.controller.status import State

_PREFIX = "sla_planner_dgdr"
_SPANS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class ControllerMetrics:
    """Requests, reconciliations and leadership, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        Info("sla_planner", "The planner", registry=self.registry).info({"version": version("sla-planner")})
        self._requests = self._gauge("requests", "Requests of this controller by state", "state")
        self._queue = self._gauge("queue_length", "Requests that wait to be looked at")
        self._leader = self._gauge("leader", "1 if this controller acts, 0 if it stands by")
        self._seconds = Histogram(
            f"{_PREFIX}_reconcile_seconds", "Length of one look at a request", buckets=_SPANS_S, registry=self.registry
        )
        self._looks = Counter(
            f"{_PREFIX}_reconciles", "Looks at requests by result", ["result"], registry=self.registry
        )
        for result in ("done", "failed"):
            self._looks.labels(result)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def show_requests(self, states: Iterable[State]) -> None:
        """Show in which states the requests are."""
        counts = dict.fromkeys(State, 0)
        for state in states:
            counts[state] += 1
        for state, number in counts.items():
            self._requests.labels(state.value or "New").set(number)

    def show(self, *, leading: bool, waiting: int) -> None:
        """Show whether this controller acts, and how much waits for it."""
        self._leader.set(leading)
        self._queue.set(waiting)

    def looked(self, seconds: float, *, failed: bool) -> None:
        """Count a look at a request."""
        self._seconds.observe(seconds)
        self._looks.labels("failed" if failed else "done").inc()
