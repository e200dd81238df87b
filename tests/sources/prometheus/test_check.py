"""What ``check`` says of a Prometheus."""

from __future__ import annotations

from planner.finding import Health
from tests.sources.prometheus.server import DYNAMO, MEANS, broken, failing


async def test_check_of_a_server_that_is_well(server, serve, connect):
    findings = await (await connect(await serve())).check()
    assert {finding.health for finding in findings} == {Health.OK}
    assert any(finding.subject == "model" and finding.detail == "tiny" for finding in findings)
    assert {f"query {field}" for field in DYNAMO.fields()} <= {finding.subject for finding in findings}


async def test_check_names_the_query_that_fails(server, serve, connect):
    source = await connect(await serve())
    server.answer = failing(server, where=lambda query: f"{MEANS['ttft_ms']}_sum" in query, how=broken)
    failed = [finding for finding in await source.check() if finding.health is Health.FAILED]
    assert [(finding.subject, "out of sorts" in finding.detail) for finding in failed] == [("query ttft_ms", True)]


async def test_check_of_a_server_that_scrapes_no_frontend(server, serve, connect):
    server.answer = lambda _: []
    failed = [finding for finding in await (await connect(await serve())).check() if finding.health is Health.FAILED]
    assert len(failed) == 1
    assert "no series of any frontend" in failed[0].detail
    assert failed[0].remedy


async def test_check_of_a_server_that_is_not_there_names_the_url_and_the_option(connect, free_port):
    url = f"http://127.0.0.1:{free_port()}"
    (finding,) = await (await connect(url)).check()
    assert finding.health is Health.FAILED
    assert url in finding.detail
    assert "--metric-pulling-prometheus-endpoint" in finding.remedy
