import asyncio
import gzip
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from connectors.base import Outcome
from planner.settings import Settings
from planner.tracing import OpenTelemetryTracing, TracingError, tracing_to


@pytest.fixture
def spans():
    """What was exported, and the tracing that exports to it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    exporter.tracing = OpenTelemetryTracing(provider.get_tracer("tests"))
    yield exporter
    provider.shutdown()


async def run(daemon):
    async with daemon:
        await asyncio.wait_for(daemon.run(), timeout=20)


async def test_an_adjustment_is_one_trace_with_a_span_for_each_part(make_daemon, spans):
    await run(make_daemon([6000], tracing=spans.tracing))
    by_name = {span.name: span for span in spans.get_finished_spans()}
    assert list(by_name) == [
        "planner.observe",
        "planner.learn",
        "planner.decide",
        "planner.apply",
        "planner.adjustment",
    ]
    whole = by_name.pop("planner.adjustment")
    assert whole.parent is None
    assert {span.parent.span_id for span in by_name.values()} == {whole.context.span_id}
    assert whole.attributes["planner.action"] == "scale"
    assert whole.attributes["planner.record"] == 1
    assert by_name["planner.observe"].attributes["planner.request_rate_rps"] == 100
    assert by_name["planner.observe"].attributes["planner.prefill.ready"] == 1
    assert "planner.ttft_ms" not in by_name["planner.observe"].attributes, "unknown is left out"
    decided = by_name["planner.decide"].attributes
    assert decided["planner.prefill.target"] > decided["planner.prefill.previous"] == 1
    assert decided["planner.reason"].startswith("Expecting 100.00 req/s")
    assert by_name["planner.apply"].attributes["planner.outcome"] == Outcome.APPLIED


async def test_a_failure_is_in_the_span_it_happened_in(make_daemon, spans):
    await run(make_daemon([RuntimeError("boom"), 60], rounds=1, tracing=spans.tracing))
    observe, whole = spans.get_finished_spans()[:2]
    assert (observe.name, whole.name) == ("planner.observe", "planner.adjustment")
    for span in (observe, whole):
        assert span.status.status_code is StatusCode.ERROR
    assert observe.events[0].attributes["exception.message"] == "boom"


async def test_a_reaction_is_a_trace_of_its_own(make_daemon, spans):
    daemon = make_daemon([60, 6000], sizing="slo", tracing=spans.tracing)
    async with daemon:
        await daemon.tick()
        spans.clear()
        await daemon.react(5.0)
    apply, reaction = spans.get_finished_spans()
    assert (apply.name, reaction.name) == ("planner.apply", "planner.reaction")
    assert apply.parent.span_id == reaction.context.span_id
    assert reaction.attributes["planner.action"] == "scale"


class Collector(BaseHTTPRequestHandler):
    """Takes traces over OTLP/HTTP, as a collector does."""

    taken = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    """A collector on loopback; ``collector.taken`` are the requests, with their paths."""
    handler = type("Handler", (Collector,), {"taken": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        server.taken = handler.taken
        yield server
        server.shutdown()
        thread.join()


def test_spans_reach_a_collector_with_what_the_planner_is(collector, monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=serving")
    endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    settings = Settings(traces="otlp", traces_endpoint=endpoint, namespace="mine")
    with tracing_to(settings) as tracing, tracing.span("adjustment") as span:
        span.note(action="hold", nothing=None)
    deadline = time.monotonic() + 10
    while not collector.taken and time.monotonic() < deadline:
        time.sleep(0.01)
    ((path, request),) = collector.taken
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    what = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert what["service.name"] == "sla-planner"
    assert what["planner.namespace"] == "mine"
    assert what["team"] == "serving"
    (span,) = resource.scope_spans[0].spans
    assert span.name == "planner.adjustment"
    assert [attribute.key for attribute in span.attributes] == ["planner.action"]


def test_a_collector_that_is_away_does_not_hold_up_the_end(free_port):
    settings = Settings(traces="otlp", traces_endpoint=f"http://127.0.0.1:{free_port()}/v1/traces")
    with tracing_to(settings) as tracing:
        with tracing.span("adjustment"):
            pass
        begun = time.monotonic()
    assert time.monotonic() - begun < 2


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracingError, match=r"pip install 'sla-planner\[traces\]'"), tracing_to(Settings(traces="otlp")):
        pass


def test_nothing_of_opentelemetry_is_imported_unless_it_is_wanted():
    code = "import sys, planner.service; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
