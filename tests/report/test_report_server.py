import socket

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from planner import Observation, Planner, Settings
from planner.report.history import History
from planner.report.metrics import PlannerMetrics
from planner.report.record import Record
from planner.report.server import ReportServer


@pytest.fixture
async def history(profile):
    history = History(3)
    planner = Planner(Settings(adjustment_interval=60, load_predictor="constant"), profile=profile)
    for index in range(1, 6):
        seen = Observation(time=60.0 * index, interval=60.0, requests_started=60 * index)
        await history.add(Record(observation=seen, decision=planner.step(seen), applied=None, duration_s=0.01))
    return history


@pytest.fixture
async def serve(history):
    servers = []

    async def start(healthy=lambda: None, ready=lambda: None):
        metrics = PlannerMetrics()
        server = ReportServer(
            host="127.0.0.1", ports=[0], registry=metrics.registry, history=history, healthy=healthy, ready=ready
        )
        await server.start()
        servers.append(server)
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}")

    yield start
    for server in servers:
        await server.close()


async def test_metrics_are_scraped(serve):
    async with await serve() as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"planner:gpu_hours", "sla_planner_ticks"} <= names


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5",
        "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,text/plain;version=1.0.0;q=0.3",
        "text/plain;version=0.0.4",
        "*/*",
        "",
    ],
)
async def test_names_are_the_same_for_every_scraper(serve, accept):
    async with await serve() as client:
        answer = await client.get("/metrics", headers={"Accept": accept})
    assert "\nplanner:num_p_workers NaN" in answer.text
    assert answer.headers["content-type"].startswith("application/open" if "openmetrics" in accept else "text/plain")


async def test_health_and_readiness(serve):
    async with await serve() as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
    async with await serve(healthy=lambda: "stuck", ready=lambda: "no adjustment made yet") as client:
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.text) == (503, "stuck\n")
        assert (await client.get("/readyz")).status_code == 503


async def test_health_is_where_the_dynamo_operator_looks_for_it(serve):
    async with await serve(healthy=lambda: "stuck") as client:
        assert (await client.get("/live")).status_code == 503
        assert (await client.get("/health")).status_code == 200
    async with await serve(ready=lambda: "no adjustment made yet") as client:
        assert (await client.get("/live")).status_code == 200
        assert (await client.get("/health")).status_code == 503


async def test_who_comes_to_the_door_is_told_what_there_is(serve):
    async with await serve() as client:
        paths = (await client.get("/")).text.splitlines()
        assert paths == ["/metrics", "/healthz", "/live", "/readyz", "/health", "/api/v1/decisions"]
        assert {(await client.get(path)).status_code for path in paths} == {200}


async def test_every_port_serves_the_same(history, free_port):
    ports = [free_port(), free_port()]
    server = ReportServer(
        host="127.0.0.1",
        ports=ports,
        registry=PlannerMetrics().registry,
        history=history,
        healthy=lambda: None,
        ready=lambda: None,
    )
    await server.start()
    try:
        async with httpx.AsyncClient() as client:
            for port in ports:
                for page in ("/metrics", "/live"):
                    assert (await client.get(f"http://127.0.0.1:{port}{page}")).status_code == 200
    finally:
        await server.close()


async def test_recent_decisions_with_their_explanations(serve):
    async with await serve() as client:
        decisions = (await client.get("/api/v1/decisions")).json()["decisions"]
        assert [one["observation"]["time"] for one in decisions] == [180, 240, 300], "bounded, newest last"
        assert decisions[-1]["decision"]["explanation"]["reason"].startswith("Expecting 5.00 req/s")
        assert decisions[-1]["decision"]["explanation"]["prefill"]["bound_by"] in ("load", "minimum")
        one = (await client.get("/api/v1/decisions", params={"limit": 1})).json()["decisions"]
        assert [record["observation"]["time"] for record in one] == [300]
        assert (await client.get("/api/v1/decisions", params={"limit": 0})).json()["decisions"] == []


async def test_a_bad_limit_is_explained(serve):
    async with await serve() as client:
        answer = await client.get("/api/v1/decisions", params={"limit": "many"})
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert "'many'" in answer.json()["detail"]


async def test_nothing_can_be_changed(serve):
    async with await serve() as client:
        assert (await client.post("/api/v1/decisions", json={})).status_code == 405


async def test_a_port_that_is_taken_is_told_with_its_options(history):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = ReportServer(
            host="127.0.0.1",
            ports=[port],
            registry=PlannerMetrics().registry,
            history=history,
            healthy=lambda: None,
            ready=lambda: None,
        )
        with pytest.raises(OSError, match=rf"port {port} for metrics and health .* --metric-reporting-prometheus-port"):
            await server.start()
        await server.close()
