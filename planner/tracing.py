"""Traces of adjustments, with OpenTelemetry if that is wanted, and with nothing if not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from planner.core.decision import Decision
from planner.core.observation import Observation
from planner.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OpenTelemetrySpan
    from opentelemetry.trace import Tracer

_PREFIX = "planner."
_FLUSH_S = 0.5

Attribute = str | bool | int | float | None


class TracingError(Exception):
    """Traces cannot be exported as configured; the message says what to do."""


class Span(Protocol):
    """A part of an adjustment, under way."""

    def note(self, **attributes: Attribute) -> None:
        """Add attributes, without their prefix ``planner.``; those that are None are left out."""
        ...


class Tracing(Protocol):
    """Something that follows adjustments."""

    def span(self, name: str) -> AbstractContextManager[Span]:
        """Follow a part of an adjustment, as a child of the one it is within; an exception that leaves it is noted."""
        ...


class _Unnoted:
    def note(self, **attributes: Attribute) -> None:
        pass


class NoTracing:
    """Follows nothing."""

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        """Do nothing."""
        del name
        yield _Unnoted()


class _Noted:
    def __init__(self, span: OpenTelemetrySpan) -> None:
        self._span = span

    def note(self, **attributes: Attribute) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(_PREFIX + name, value)


class OpenTelemetryTracing:
    """Spans of OpenTelemetry, by a tracer of whoever embeds the planner, or of ``tracing_to``."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        """A span named ``planner.<name>``."""
        with self._tracer.start_as_current_span(_PREFIX + name) as span:
            yield _Noted(span)


def seen_attributes(observation: Observation) -> dict[str, Attribute]:
    """What a span tells of an observation."""
    pools = {"prefill": observation.prefill, "decode": observation.decode}
    return {
        "request_rate_rps": observation.request_rate_rps,
        "isl": observation.isl,
        "osl": observation.osl,
        "ttft_ms": observation.ttft_ms,
        "itl_ms": observation.itl_ms,
        "blind": observation.blind,
        **{f"{pool}.ready": workers.ready for pool, workers in pools.items() if workers},
        **{f"{pool}.pending": workers.pending for pool, workers in pools.items() if workers},
    }


def decided_attributes(decision: Decision) -> dict[str, Attribute]:
    """What a span tells of a decision."""
    why = decision.explanation
    attributes: dict[str, Attribute] = {
        "action": decision.action.value,
        "reason": why.reason,
        "forecast.request_rate_rps": why.forecast.request_rate_rps if why.forecast else None,
    }
    for name, pool in (("prefill", why.prefill), ("decode", why.decode)):
        attributes |= {
            f"{name}.previous": pool.previous,
            f"{name}.required": pool.required,
            f"{name}.target": pool.target,
            f"{name}.bound_by": pool.bound_by.value,
            f"{name}.correction_factor": pool.correction_factor,
        }
    return attributes


@contextmanager
def tracing_to(settings: Settings) -> Iterator[Tracing]:
    """The tracing that the settings name; spans are exported at the end.

    Raises:
        TracingError: What it needs is not installed, or the endpoint cannot be used.
    """
    if settings.traces == "none":
        yield NoTracing()
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracingError(
            f"--traces {settings.traces} needs OpenTelemetry, which is not installed ({error}); "
            "pip install 'sla-planner[traces]'"
        ) from error
    release = version("sla-planner")
    own = Resource.create(
        {"service.name": "sla-planner", "service.version": release, _PREFIX + "namespace": settings.namespace}
    )
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say is heard.
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.traces_endpoint)))
    try:
        yield OpenTelemetryTracing(provider.get_tracer("sla-planner", release))
    finally:
        # A collector that does not answer must not hold up the end.
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        last.join(_FLUSH_S)
