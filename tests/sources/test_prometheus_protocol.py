"""PrometheusSource against a server that speaks Prometheus' HTTP API, well and badly."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess

import pytest
from aiohttp import web

from planner.finding import Health
from planner.sources.base import SourceError
from planner.sources.mapping import load_mapping
from planner.sources.prometheus import Credentials, PrometheusSource


class Server:
    """Answers queries by ``answer(query)``: a number, None for an empty vector, or a response."""

    def __init__(self, clock):
        self.clock = clock
        self.answer = self.healthy
        self.queries, self.authorizations = [], []
        self.allowed = None

    def healthy(self, query):
        now = self.clock.now()
        if query.startswith("count by"):
            return None
        if query.startswith("max(timestamp"):
            return now - 1
        if query.startswith("min(min_over_time"):
            return now - 59
        if query.startswith("max(count_over_time"):
            return 60
        return None if "unless on (job, instance) {" in query else 7

    async def query(self, request):
        self.authorizations.append(request.headers.get("Authorization"))
        if self.allowed is not None and request.headers.get("Authorization") != self.allowed:
            return web.Response(status=401, text="who are you?")
        query = (await request.post())["query"]
        self.queries.append(query)
        answer = self.answer(query)
        return await answer if asyncio.iscoroutine(answer) else vector(answer, self.clock.now(), query)


def vector(value, time, query=""):
    metric = {"__name__": "dynamo_frontend_requests_total", "model": "tiny"} if query.startswith("count by") else {}
    if query.startswith("count by"):
        value = 1
    result = [] if value is None else [{"metric": metric, "value": [time, str(value)]}]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest.fixture
async def server(clock):
    return Server(clock)


@pytest.fixture
async def serve(server):
    """Starts the server and gives its URL."""
    runners = []

    async def start(prefix="", context=None):
        app = web.Application()
        app.router.add_post(f"{prefix}/api/v1/query", server.query)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        runners.append(runner)
        return f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}{prefix}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def connect(clock):
    """Makes sources."""
    sources = []

    def make(url, **credentials):
        source = PrometheusSource(
            url=url,
            mapping=load_mapping("dynamo"),
            now=clock.now,
            timeout_s=2.0,
            credentials=Credentials(**credentials),
        )
        sources.append(source)
        return source

    yield make
    for source in sources:
        await source.close()


async def whole(text, status=200, content_type="application/json"):
    return web.Response(text=text, status=status, content_type=content_type)


BAD_ANSWERS = [
    (lambda _: whole('{"status":"error","errorType":"execution","error":"too many samples"}', 422), "too many samples"),
    (lambda _: whole("<html>bad gateway</html>", 503, "text/html"), "HTTP 503"),
    (lambda _: whole("{torn"), "no JSON"),
    (lambda _: whole("[]"), "no success"),
    (lambda _: whole('{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}'), "no instant vector"),
    (lambda _: whole('{"status":"success","data":{"result":[{"metric":{},"values":[]}]}}'), "no instant vector"),
    (lambda _: asyncio.sleep(3), "no answer within 2 s"),
]


@pytest.mark.parametrize(("answer", "complaint"), BAD_ANSWERS)
async def test_a_server_that_answers_badly_makes_it_blind(server, serve, connect, answer, complaint):
    server.answer = answer
    source = connect(await serve())
    await source.start()
    seen = await source.observe(60.0)
    assert seen.blind
    assert seen.ttft_ms is None
    assert complaint in source.status.errors["series"]
    assert [finding.health for finding in await source.check()] == [Health.FAILED]


@pytest.mark.parametrize(("answer", "complaint"), BAD_ANSWERS)
async def test_one_bad_answer_costs_one_field(server, serve, connect, answer, complaint):
    source = connect(await serve())
    await source.start()
    server.answer = lambda query: answer(query) if "time_to_first_token_seconds_sum" in query else server.healthy(query)
    seen = await source.observe(60.0)
    assert seen.ttft_ms is None
    assert (seen.requests_started, seen.itl_ms) == (7, 7000)
    assert complaint in source.status.errors["ttft_ms"]
    assert list(source.status.errors) == ["ttft_ms"]


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-3"])
async def test_numbers_that_are_none_are_unknown(server, serve, connect, value):
    source = connect(await serve())
    await source.start()
    server.answer = lambda query: value if "_sum{" in query else server.healthy(query)
    seen = await source.observe(60.0)
    assert (seen.ttft_ms, seen.isl) == (None, None)
    assert seen.requests_started == 7


async def test_stale_data_is_blindness(server, serve, connect, clock):
    source = connect(await serve())
    await source.start()
    server.answer = lambda query: clock.now() - 200 if query.startswith("max(timestamp") else server.healthy(query)
    assert (await source.observe(60.0)).blind
    assert "200 s old" in source.status.errors["newest_scrape"]
    assert source.status.newest_data == clock.now() - 200


async def test_a_window_scraped_for_two_thirds_is_scaled_up_and_for_a_third_not_told(server, serve, connect, clock):
    source = connect(await serve())
    await source.start()

    def scraped_for(seconds):
        def answer(query):
            if query.startswith("min(min_over_time"):
                return clock.now() - seconds
            return seconds if query.startswith("max(count_over_time") else server.healthy(query)

        return answer

    server.answer = scraped_for(40)
    assert (await source.observe(60.0)).requests_started == pytest.approx(7 * 60 / 40.5, rel=0.02)
    server.answer = scraped_for(20)
    assert (await source.observe(60.0)).blind
    assert "of the last 60 s were scraped" in source.status.errors["requests_started"]


async def test_a_bearer_token_and_a_wrong_one(server, serve, connect):
    server.allowed = "Bearer right"
    url = await serve()
    source = connect(url, bearer_token="right")
    await source.start()
    assert not (await source.observe(60.0)).blind
    source = connect(url, bearer_token="hunter2")
    await source.start()
    assert (await source.observe(60.0)).blind
    assert "401" in source.status.errors["series"]
    assert "hunter2" not in str(source.status) + repr(Credentials(bearer_token="hunter2"))


async def test_a_token_file_that_is_replaced(server, serve, connect, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    source = connect(await serve(), bearer_token_file=file)
    await source.start()
    assert set(server.authorizations) == {"Bearer first"}
    (tmp_path / "next").write_text("second\n")
    (tmp_path / "next").replace(file)
    server.authorizations.clear()
    await source.observe(60.0)
    assert set(server.authorizations) == {"Bearer second"}
    file.unlink()
    assert (await source.observe(60.0)).blind
    assert "token file" in source.status.errors["series"]


async def test_basic_authentication(server, serve, connect):
    server.allowed = "Basic " + base64.b64encode(b"me:pass").decode()
    source = connect(await serve(), username="me", password="pass")
    await source.start()
    assert not (await source.observe(60.0)).blind


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate of 127.0.0.1, and a server's TLS context with it."""
    key, file = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=here -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", file], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key)
    return file, context


async def test_certificates_are_verified_unless_told_otherwise(serve, connect, certificate):
    file, context = certificate
    url = await serve(context=context)
    doubtful = connect(url)
    await doubtful.start()
    assert (await doubtful.observe(60.0)).blind
    assert "certificate" in doubtful.status.errors["series"].lower()
    for options in ({"ca_file": file}, {"verify": False}):
        source = connect(url, **options)
        await source.start()
        assert not (await source.observe(60.0)).blind


async def test_a_ca_file_that_is_none_ends_the_start(connect, tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(SourceError, match="--prometheus-ca-file"):
        connect("https://127.0.0.1:1", ca_file=tmp_path / "ca.pem")


@pytest.mark.parametrize("token", ["hunter2\nsecond", "hunter2\x00", "hünter2", " "])
async def test_a_token_that_no_header_may_have_is_not_shown(serve, connect, token):
    source = connect(await serve(), bearer_token=token)
    await source.start()
    assert (await source.observe(60.0)).blind
    shown = str(source.status) + str(await source.check())
    assert "the bearer token" in shown
    assert "nter2" not in shown


async def test_a_password_in_the_address_is_never_shown(connect):
    source = connect("http://me:hunter2@127.0.0.1:9")
    await source.start()
    await source.observe(60.0)
    assert "hunter2" not in str(source.status) + str(await source.check())


async def test_an_address_that_is_none_is_blindness(connect):
    source = connect("http://[::1/m")
    await source.start()
    assert (await source.observe(60.0)).blind


async def test_labels_that_are_none_are_no_vector(server, serve, connect):
    server.answer = lambda _: whole('{"status":"success","data":{"result":[{"metric":null,"value":[1,"2"]}]}}')
    source = connect(await serve())
    await source.start()
    assert (await source.observe(60.0)).blind
    assert "no instant vector" in source.status.errors["series"]
