"""A frontend's metrics page, in the families, labels and buckets of NVIDIA Dynamo's."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from planner.simulation.request import Request

PREFIX = "dynamo_frontend_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What differs between versions of Dynamo.

    Attributes:
        counts_arrivals: Whether ``requests_started_total`` is there.
        itl_bounds: Buckets of the inter-token latency, seconds.
        duration_bounds: Buckets of the request duration, seconds.
    """

    counts_arrivals: bool
    itl_bounds: tuple[float, ...]
    duration_bounds: tuple[float, ...]


DIALECTS = {
    "0.9": Dialect(
        counts_arrivals=False,
        itl_bounds=(0, 0.0019, 0.0035, 0.0067, 0.013, 0.024, 0.045, 0.084, 0.16, 0.3, 0.56, 1.1, 2),
        duration_bounds=(0, 1.9, 3.4, 6.3, 12, 22, 40, 75, 140, 260),
    ),
    "1.6": Dialect(
        counts_arrivals=True,
        itl_bounds=(
            *(0, 0.0018, 0.0033, 0.0059, 0.011, 0.02, 0.035, 0.064, 0.12, 0.21, 0.38, 0.69, 1.2, 2.3, 4.1, 7.4),
            *(13, 24, 44, 80),
        ),
        duration_bounds=(0, 2, 4, 8, 16, 32, 64, 130, 260, 510),
    ),
}
_TTFT_BOUNDS = (0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1, 2.2, 4.7, 10, 22, 48, 100, 220, 480)
_ISL_BOUNDS = (0, 100, 210, 430, 870, 1800, 3600, 7400, 15000, 31000, 63000, 130000)
_OSL_BOUNDS = (0, 100, 210, 430, 880, 1800, 3700, 7600, 16000, 32000)


class _Histogram:
    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text, self._bounds = name, text, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def family(self, model: str) -> Metric:
        buckets, total = [], 0
        for bound, count in zip([*(f"{bound:g}" for bound in self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        family = HistogramMetricFamily(PREFIX + self._name, self._text, labels=["model"])
        family.add_metric([model], buckets=buckets, sum_value=self._sum)
        return family


class Frontend(Collector):
    """Counts what happens to requests of one model as one frontend process does; restarting begins at zero.

    As in the real thing a model's series are there only once somebody has called it.
    """

    def __init__(self, model: str, *, version: str = "1.6") -> None:
        """Begin to count.

        Args:
            model: The model's name.
            version: A key of DIALECTS.
        """
        self._model = model
        self._dialect = DIALECTS[version]
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._started = 0
        self._completed = 0
        self._inflight: set[Request] = set()
        self._queued: set[Request] = set()
        self._tokens = 0
        self._ttft = _Histogram("time_to_first_token_seconds", "Time to first token in seconds", _TTFT_BOUNDS)
        self._itl = _Histogram(
            "inter_token_latency_seconds", "Inter-token latency in seconds", self._dialect.itl_bounds
        )
        self._isl = _Histogram("input_sequence_tokens", "Input sequence length in tokens", _ISL_BOUNDS)
        self._osl = _Histogram("output_sequence_tokens", "Output sequence length in tokens", _OSL_BOUNDS)
        self._duration = _Histogram(
            "request_duration_seconds", "Duration of LLM requests", self._dialect.duration_bounds
        )

    def page(self) -> bytes:
        """The metrics page, in Prometheus' text format."""
        return generate_latest(self._registry)

    def arrived(self, request: Request) -> None:
        """Count an arrival."""
        self._started += 1
        self._inflight.add(request)
        self._queued.add(request)

    def first_token(self, request: Request) -> None:
        """Count a first token."""
        self._queued.discard(request)
        self._ttft.observe((request.ttft_ms or 0.0) / 1000)
        self._isl.observe(request.isl)

    def completed(self, request: Request) -> None:
        """Count a completion."""
        self._completed += 1
        self._inflight.discard(request)
        self._tokens += request.osl
        self._itl.observe((request.itl_ms or 0.0) / 1000, request.osl - 1)
        self._osl.observe(request.osl)
        self._duration.observe(request.duration_s or 0.0)

    def collect(self) -> Iterator[Metric]:
        """The metric families, for prometheus_client."""
        yield _gauge("disconnected_clients", "Number of disconnected clients", 0)
        if not self._started:
            return
        yield _gauge("inflight_requests", "Number of inflight requests", len(self._inflight), self._model)
        yield _gauge("queued_requests", "Number of requests in HTTP processing queue", len(self._queued), self._model)
        if self._dialect.counts_arrivals:
            yield _gauge("active_requests", "Number of requests being handled", len(self._inflight), self._model)
            yield self._requests("requests_started", "Number of LLM requests accepted", self._started, {})
        for histogram in (self._ttft, self._itl, self._isl, self._osl, self._duration):
            yield histogram.family(self._model)
        tokens = CounterMetricFamily(
            f"{PREFIX}output_tokens", "Total number of output tokens generated", labels=["model"]
        )
        tokens.add_metric([self._model], self._tokens)
        yield tokens
        if self._completed:
            outcome = {"status": "success"} | ({"error_type": ""} if self._dialect.counts_arrivals else {})
            yield self._requests("requests", "Total number of LLM requests processed", self._completed, outcome)

    def _requests(self, name: str, text: str, count: int, outcome: dict[str, str]) -> Metric:
        labels = {"endpoint": "chat_completions", "model": self._model, "request_type": "stream", **outcome}
        family = CounterMetricFamily(PREFIX + name, text, labels=list(labels))
        family.add_metric(list(labels.values()), count)
        return family


def _gauge(name: str, text: str, value: float, model: str | None = None) -> Metric:
    if model is None:
        return GaugeMetricFamily(PREFIX + name, text, value=value)
    family = GaugeMetricFamily(PREFIX + name, text, labels=["model"])
    family.add_metric([model], value)
    return family
