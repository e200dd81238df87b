"""Clients that mean harm, and clients that are merely broken: others are served all the same."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys

import httpx
import pytest

from connectors.virtual import Listen, api
from connectors.virtual import server as server_module
from connectors.virtual.api import openapi

TOKEN = "the-token"


@pytest.fixture
async def server(make_connector, decision):
    """A connector that wants a token, with a decision."""
    connector = make_connector(listen=Listen("127.0.0.1", 0), token=TOKEN)
    await connector.start()
    await connector.apply(decision(3, 5))
    return connector


@pytest.fixture
async def honest(server):
    """A client that is to be served whatever the others do."""
    async with httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        yield http


async def served(honest, within_s=3.0):
    answer = await asyncio.wait_for(honest.get("/api/v1/decision"), within_s)
    return answer.status_code == 200 and answer.json()["decision_id"] == 0


async def speak(server, data, *, close=False):
    """Open a connection and send bytes."""
    url = httpx.URL(server.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
        if close:
            writer.write_eof()
    return reader, writer


async def hung_up(reader, within_s):
    """Read until the server ends the connection; what it said."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), within_s)
    return b""


async def test_a_request_that_never_ends_is_hung_up_on(make_connector, monkeypatch):
    monkeypatch.setattr(server_module, "_IDLE_S", 0.5)
    server = make_connector(listen=Listen("127.0.0.1", 0))
    await server.start()
    reader, writer = await speak(server, b"GET /api/v1/decision HTTP/1.1\r\nHost: x\r\n")

    async def drip():
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"X-A: b\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

    dripping = asyncio.ensure_future(drip())
    assert b"200" not in await hung_up(reader, 10)
    dripping.cancel()
    writer.close()


async def test_a_body_that_never_ends_is_hung_up_on(server, honest, monkeypatch):
    monkeypatch.setattr(api, "_BODY_WITHIN_S", 0.3)
    head = f"PUT /api/v1/workers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\n"
    reader, writer = await speak(server, head.encode() + b'{"prefill"')
    assert b"408" in await asyncio.wait_for(reader.readline(), 10)
    assert await served(honest)
    writer.close()


async def test_hundreds_of_silent_connections_keep_nobody_out(server, honest):
    silent = [await speak(server, b"") for _ in range(200)]
    assert await served(honest)
    for _, writer in silent:
        writer.close()


async def test_more_connections_than_there_is_room_for_are_hung_up_on(make_connector, monkeypatch):
    monkeypatch.setattr(server_module, "_MOST_CONNECTIONS", 5)
    server = make_connector(listen=Listen("127.0.0.1", 0))
    await server.start()
    within = [await speak(server, b"") for _ in range(5)]
    await asyncio.sleep(0.1)
    reader, writer = await speak(server, b"GET /api/v1/decision HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await hung_up(reader, 5) == b""
    writer.close()
    within.pop()[1].close()
    async with httpx.AsyncClient(base_url=server.url) as http:
        for _ in range(50):
            with contextlib.suppress(httpx.TransportError):
                assert (await http.get("/api/v1/decision")).status_code == 200
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the place that was given up was never given to anybody")
    for _, writer in within:
        writer.close()


def test_connections_leave_files_for_the_rest_of_the_process():
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert files == resource.RLIM_INFINITY or 0 < server_module.most_connections() < files


async def test_a_client_that_does_not_read_its_answers_holds_nobody_up(server, honest):
    request = f"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    url = httpx.URL(server.url)
    _, writer = await asyncio.open_connection(url.host, url.port, limit=1)
    writer.transport.pause_reading()
    wanted = 20_000_000 // len(openapi())
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(1):
            for _ in range(wanted):
                writer.write(request)
                await writer.drain()
    assert await served(honest)
    writer.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 50,
        b"GET /api/v1/decision HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /api/v1/decision HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /api/v1/workers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(5000)) + b"\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(256)) * 40,
    ],
)
async def test_what_is_no_request_is_refused_in_silence(server, honest, data, caplog):
    reader, writer = await speak(server, data, close=True)
    answer = await hung_up(reader, 5)
    assert not answer.startswith(b"HTTP/1.1 2")
    assert await served(honest)
    assert not caplog.records, "whoever sends nonsense must not fill the log"
    writer.close()


async def test_a_body_of_a_gigabyte_is_not_read(server, honest):
    head = (
        f"PUT /api/v1/workers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {2**30}\r\n\r\n"
    )
    reader, writer = await speak(server, head.encode())
    with contextlib.suppress(ConnectionError):
        for _ in range(50):
            writer.write(b"1" * 10_000)
            await writer.drain()
    assert b"413" in await asyncio.wait_for(reader.readline(), 10)
    assert await served(honest)
    writer.close()


async def test_guessing_tokens_ends_with_being_put_off(make_connector):
    connector = make_connector(listen=Listen("127.0.0.1", 0), token=TOKEN, rate_limit_rps=10.0)
    await connector.start()
    async with httpx.AsyncClient(base_url=connector.url) as http:
        statuses = [
            (await http.get("/api/v1/decision", headers={"Authorization": f"Bearer {guess}"})).status_code
            for guess in range(40)
        ]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < 35


async def test_waiting_clients_that_vanish_are_forgotten(server, honest):
    await honest.post("/api/v1/decision/0/complete")
    request = f"GET /api/v1/decision/wait HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    before = len(asyncio.all_tasks())
    waiting = [await speak(server, request) for _ in range(50)]
    await asyncio.sleep(0.3)
    assert len(asyncio.all_tasks()) >= before + 50
    for _, writer in waiting:
        writer.transport.abort()
    for _ in range(100):
        if len(asyncio.all_tasks()) <= before + 2:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{len(asyncio.all_tasks()) - before} tasks still wait for clients that are gone")


async def test_schemathesis_finds_nothing(server, monkeypatch, tmp_path):
    """Thousands of requests made from the OpenAPI document, good and bad."""
    monkeypatch.setattr(api, "LONGEST_WAIT_S", 0.02)
    document = tmp_path / "openapi.yaml"
    document.write_text(openapi(), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", document, "--url", server.url),
        *("--header", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--max-examples", "10"),
        *("--generation-deterministic", "--continue-on-failure", "--no-color", "--request-timeout", "20"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    shown, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, shown.decode()
    assert "No issues found" in shown.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Host": "localhost.example:9086"},
        {"Host": "10.0.0.5"},
        {"Host": "["},
        {"Host": ""},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
async def test_without_a_token_no_other_site_gets_in(http, connector, headers):
    """Neither by rebinding a name to loopback, nor by a form that a browser of this machine sends."""
    await connector.store.update(lambda state: state.decide(3, 5, 0.0))
    answer = await http.post("/api/v1/decision/0/complete", headers=headers)
    assert answer.status_code in {400, 403}
    assert connector.store.state.scaled_decision_id == -1


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9086", "[::1]:9086"])
async def test_this_machine_gets_in_by_any_of_its_own_names(http, host):
    assert (await http.get("/api/v1/decision", headers={"Host": host})).status_code == 200
    same = {"Host": host, "Origin": f"http://{host}"}
    assert (await http.get("/api/v1/decision", headers=same)).status_code == 200
