"""Who may look, and what is answered."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from connectors.virtual import Listen
from planner.dashboard.server import DashboardServer
from planner.report.history import History
from planner.settings import ConfigurationError


@asynccontextmanager
async def served(records=(), token=None, host="127.0.0.1"):
    history = History(2000)
    for record in records:
        await history.add(record)
    state = {"now": records[-1].decision.time if records else 0.0, "planner": {}}
    server = DashboardServer(Listen(host, 0), token, history=history, state=lambda: state)
    await server.start()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            yield client, history
    finally:
        await server.close()


async def test_records_of_a_time(day):
    async with served(day[:50]) as (client, _):
        every = (await client.get("api/v1/decisions")).json()["decisions"]
        assert len(every) == 50
        assert every[0] == json.loads(json.dumps({**day[0].to_dict(), "id": 1}))
        times = [one["decision"]["time"] for one in every]
        some = await client.get("api/v1/decisions", params={"since": times[10], "until": times[20]})
        assert [one["decision"]["time"] for one in some.json()["decisions"]] == times[10:21]
        assert some.headers["Content-Encoding"] == "gzip"
        assert len((await client.get("api/v1/decisions", params={"limit": 3})).json()["decisions"]) == 3


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"since": "noon"}, "since is 'noon'; it is a time in seconds since the epoch"),
        ({"until": "nan"}, "until is 'nan'"),
        ({"slices": "0", "since": 1}, "slices is '0'; it is a whole number of 1 or more"),
        ({"limit": "-1"}, "limit is '-1'; it is a whole number of 0 or more"),
    ],
)
async def test_a_bad_query_is_named(query, complaint):
    async with served() as (client, _):
        answer = await client.get("api/v1/decisions", params=query)
        assert answer.status_code == 400
        assert complaint in answer.json()["detail"]


async def test_without_the_token_there_is_the_empty_page_only(day):
    async with served(day[:3], token="secret") as (client, _):
        assert (await client.get("api/v1/state")).status_code == 200
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            async with httpx.AsyncClient(base_url=client.base_url, headers=wrong) as stranger:
                for path in ("state", "decisions", "events"):
                    assert (await stranger.get(f"api/v1/{path}")).status_code == 401
                assert (await stranger.get("/")).status_code == 200


async def test_nobody_elses_page_reads_it_through_a_name_of_theirs():
    async with served() as (client, _):
        answer = await client.get("api/v1/state", headers={"Host": "rebound.example"})
        assert answer.status_code == 403
        assert "give --dashboard-token-file" in answer.json()["detail"]
        other_site = await client.get("api/v1/state", headers={"Origin": "http://elsewhere.example"})
        assert other_site.status_code == 403
        assert (await client.get("api/v1/state", headers={"Host": "localhost:1"})).status_code == 200
    async with served(token="secret") as (client, _):
        assert (await client.get("api/v1/state", headers={"Host": "planner.example"})).status_code == 200


async def test_it_is_read_only_and_leads_nowhere_else():
    async with served() as (client, _):
        for method in ("POST", "PUT", "DELETE"):
            assert (await client.request(method, "api/v1/decisions")).status_code == 405
        for path in ("static/../server.py", "static/%2e%2e%2fserver.py", "static/nothing.js", "api/v1/nothing"):
            assert (await client.get(path)).status_code == 404
        page = await client.get("/")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]


async def test_events_tell_the_moment_and_each_record(day):
    async with served(day[:1]) as (client, history), client.stream("GET", "api/v1/events") as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "event: state"
        await anext(lines)
        await anext(lines)
        await history.add(day[1])
        while await asyncio.wait_for(anext(lines), 5) != "event: record":
            pass
        record = json.loads((await anext(lines)).removeprefix("data: "))
        assert record["decision"]["time"] == day[1].decision.time


async def test_closing_ends_the_streams():
    async with served() as (client, _):
        stream = client.stream("GET", "api/v1/events")
        answer = await stream.__aenter__()
        lines = answer.aiter_lines()
        await anext(lines)
    # The server was closed while the stream was open; that took no time limit to pass.


def test_beyond_loopback_it_wants_a_token():
    with pytest.raises(ConfigurationError, match="--dashboard-token-file or --dashboard-token"):
        DashboardServer(Listen("0.0.0.0", 0), None, history=History(1), state=dict)
    DashboardServer(Listen("0.0.0.0", 0), "secret", history=History(1), state=dict)


async def test_a_port_that_is_taken_is_named():
    async with served() as (client, _):
        other = DashboardServer(Listen("127.0.0.1", client.base_url.port), None, history=History(1), state=dict)
        with pytest.raises(ConfigurationError, match=r"--dashboard-listen 127\.0\.0\.1:\d+ cannot be had"):
            await other.start()
