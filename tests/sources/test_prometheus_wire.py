"""More of PrometheusSource against the wire format of Prometheus' HTTP API: forms, faults, secrets and certificates."""

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

DYNAMO = load_mapping("dynamo")
MEANS = {
    "isl": "input_sequence_tokens",
    "osl": "output_sequence_tokens",
    "ttft_ms": "time_to_first_token_seconds",
    "itl_ms": "inter_token_latency_seconds",
    "request_duration_s": "request_duration_seconds",
}
SECRET = "hunter2"


def is_catalogue(query):
    return query.startswith("count by") and "__name__" in query.partition("(")[2].partition(")")[0]


class Server:
    """A Prometheus; ``answer(query)`` gives samples, a number, or what to respond with."""

    def __init__(self, clock):
        self.clock = clock
        self.answer = self.healthy
        self.forms, self.headers = [], []
        self.gate = None
        self.allowed = None

    def healthy(self, query):
        """What a server says that scrapes one frontend each second, on which every figure is 7."""
        now = self.clock.now()
        if is_catalogue(query):
            return [({"__name__": name, "model": "tiny"}, 1) for name in DYNAMO.telling_names()]
        if "disconnected_clients" in query:
            if "timestamp" not in query:
                return 60
            return now - 59 if query.startswith("min") else now - 1
        if "unless on (job, instance) {" in query:
            return []
        if "by (le)" in query:
            return [({"le": le}, value) for le, value in [("1", 5), ("2", 10), ("+Inf", 10)]]
        return 7

    async def query(self, request):
        self.headers.append(request.headers)
        form = await request.post()
        self.forms.append(form)
        if self.gate is not None:
            await self.gate()
        if self.allowed is not None and request.headers.get("Authorization") != self.allowed:
            return web.json_response({"status": "error", "errorType": "auth", "error": "who are you?"}, status=401)
        answer = self.answer(form["query"])
        if asyncio.iscoroutine(answer):
            return await answer
        return answer if isinstance(answer, web.StreamResponse) else vector(answer, float(form["time"]))


def vector(answer, time, **extra):
    samples = answer if isinstance(answer, list) else [({}, answer)]
    result = [{"metric": labels, "value": [time, str(value)]} for labels, value in samples]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}, **extra})


@pytest.fixture
async def server(clock):
    return Server(clock)


@pytest.fixture
async def serve(server):
    """Starts the server and gives its URL."""
    runners = []

    async def start(prefix="", context=None, port=0):
        app = web.Application()
        app.router.add_post(f"{prefix}/api/v1/query", server.query)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        return f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}{prefix}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def connect(clock):
    """Starts sources: ``await connect(url, bearer_token="x")``."""
    sources = []

    async def make(url, timeout_s=5.0, mapping=DYNAMO, **credentials):
        source = PrometheusSource(
            url=url, mapping=mapping, now=clock.now, timeout_s=timeout_s, credentials=Credentials(**credentials)
        )
        sources.append(source)
        await source.start()
        return source

    yield make
    for source in sources:
        await source.close()


def respond(text, status=200, content_type="application/json", **headers):
    return lambda _: web.Response(text=text, status=status, content_type=content_type, headers=headers)


def failing(server, *, where, how):
    return lambda query: how(query) if where(query) else server.healthy(query)


broken = respond('{"status":"error","errorType":"internal","error":"out of sorts"}', 500)


async def test_queries_are_forms_with_the_time_of_the_tick(server, serve, connect, clock):
    source = await connect(await serve())
    clock.time += 61.5
    server.forms.clear()
    seen = await source.observe(60.0)
    assert seen.time == clock.time
    assert {float(form["time"]) for form in server.forms} == {clock.time}
    assert all(form["query"] for form in server.forms)
    assert {headers["Content-Type"] for headers in server.headers} == {"application/x-www-form-urlencoded"}


async def test_every_field_is_asked_for_and_answered(server, serve, connect, clock):
    source = await connect(await serve())
    seen = await source.observe(60.0)
    assert (seen.isl, seen.osl, seen.ttft_ms, seen.itl_ms, seen.request_duration_s) == (7, 7, 7000, 7000, 7)
    assert (seen.inflight, seen.queued) == (7, 7)
    assert (seen.requests_started, seen.requests_completed) == (pytest.approx(7, rel=0.1), pytest.approx(7, rel=0.1))
    assert seen.isl_quantiles == pytest.approx({0.5: 1, 0.9: 1.8, 0.95: 1.9, 0.99: 1.98})
    assert seen.ttft_quantiles_ms[0.5] == pytest.approx(1000)
    assert (seen.prefill, seen.decode) == (None, None)
    assert source.status.errors == {}
    assert source.status.series_matched == dict.fromkeys(DYNAMO.fields(), 1)
    assert source.status.newest_data == clock.time - 1


async def test_all_queries_of_a_tick_are_under_way_together(server, serve, connect):
    source = await connect(await serve())
    server.forms.clear()
    held, released = 0, asyncio.Event()

    async def gate():
        """Answers nobody until no more come; whoever comes later was not under way with the others."""
        nonlocal held
        if released.is_set():
            return
        held += 1
        while not released.is_set():
            before = held
            try:
                async with asyncio.timeout(0.5):
                    await released.wait()
            except TimeoutError:
                if held == before:
                    released.set()

    server.gate = gate
    assert not (await source.observe(60.0)).blind
    assert held == len(server.forms) > 10


async def test_no_query_goes_on_after_the_tick_when_the_catalogue_fails(server, serve, connect):
    source = await connect(await serve())
    server.forms.clear()
    asked = 0

    async def late(query):
        nonlocal asked
        await asyncio.sleep(0.1)
        asked += 1
        return vector(server.healthy(query), server.clock.now())

    server.answer = lambda query: broken(query) if is_catalogue(query) else late(query)
    assert (await source.observe(60.0)).blind
    assert asked == len(server.forms) - 1 > 10


async def test_warnings_and_infos_are_no_errors(server, serve, connect, clock):
    server.answer = lambda query: vector(
        server.healthy(query), clock.now(), warnings=["PromQL warning: odd"], infos=["PromQL info: maybe no counter"]
    )
    source = await connect(await serve())
    assert not (await source.observe(60.0)).blind
    assert source.status.errors == {}


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000), ("0", 0), ("12.5", 12.5)])
async def test_numbers_as_prometheus_writes_them(server, serve, connect, text, value):
    server.answer = lambda query: text if "queued_requests" in query and "count" not in query else server.healthy(query)
    assert (await (await connect(await serve())).observe(60.0)).queued == value


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1"])
@pytest.mark.parametrize("field", MEANS)
async def test_a_mean_that_is_no_number_is_unknown_and_no_error(server, serve, connect, field, value):
    server.answer = lambda query: value if f"{MEANS[field]}_sum" in query else server.healthy(query)
    source = await connect(await serve())
    seen = await source.observe(60.0)
    assert [name for name in MEANS if getattr(seen, name) is None] == [field]
    assert not seen.blind
    assert source.status.errors == {}


async def test_buckets_that_are_no_numbers_tell_no_quantiles(server, serve, connect):
    server.answer = lambda query: (
        [({"le": "1"}, "NaN"), ({"le": "+Inf"}, "NaN")] if "by (le)" in query else server.healthy(query)
    )
    seen = await (await connect(await serve())).observe(60.0)
    assert (seen.isl_quantiles, seen.ttft_quantiles_ms) == (None, None)
    assert seen.isl == 7


async def test_buckets_without_a_bound_are_passed_over(server, serve, connect):
    server.answer = lambda query: (
        [({}, 99), ({"le": "1"}, 5), ({"le": "+Inf"}, 5)] if "by (le)" in query else server.healthy(query)
    )
    assert (await (await connect(await serve())).observe(60.0)).osl_quantiles[0.5] == pytest.approx(0.5)


BAD = {
    "an error": (broken, "out of sorts"),
    "an error page": (respond("<html>no upstream</html>", 503, "text/html"), "HTTP 503"),
    "a redirection": (respond("", 302, "text/html", Location="/login"), "HTTP 302"),
    "an error of status 200": (respond('{"status":"error","error":"query timed out"}'), "query timed out"),
    "an empty body": (respond(""), "no JSON"),
    "torn JSON": (respond('{"status":"succ'), "no JSON"),
    "bytes that are no text": (lambda _: web.Response(body=b"\xff\xfe\x00\xd8"), "no JSON"),
    "a list": (respond("[1, 2]"), "no success"),
    "nothing": (respond("null"), "no success"),
    "a scalar": (respond('{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}'), "no instant vector"),
    "a string": (respond('{"status":"success","data":{"resultType":"string","result":[1,"x"]}}'), "no instant vector"),
    "a matrix": (
        respond(
            '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[2,"3"]]}]}}'
        ),
        "no instant vector",
    ),
    "no data": (respond('{"status":"success"}'), "no instant vector"),
    "data of null": (respond('{"status":"success","data":null}'), "no instant vector"),
    "a value that is no number": (
        respond('{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"many"]}]}}'),
        "no instant vector",
    ),
    "a value of null": (
        respond('{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,null]}]}}'),
        "no instant vector",
    ),
    "half a value": (
        respond('{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1]}]}}'),
        "no instant vector",
    ),
    "what is not compressed": (respond("{}", **{"Content-Encoding": "gzip"}), "Error"),
}


@pytest.mark.parametrize("bad", BAD)
async def test_where_every_answer_is_bad_all_is_unknown(server, serve, connect, bad):
    how, complaint = BAD[bad]
    server.answer = how
    source = await connect(await serve())
    seen = await source.observe(60.0)
    assert (seen.requests_started, seen.requests_completed, seen.isl, seen.inflight) == (None,) * 4
    (error,) = source.status.errors.values()
    assert complaint in error


@pytest.mark.parametrize("bad", BAD)
async def test_where_one_answer_is_bad_one_field_is_unknown(server, serve, connect, bad):
    how, complaint = BAD[bad]
    source = await connect(await serve())
    server.answer = failing(server, where=lambda query: f"{MEANS['osl']}_sum" in query, how=how)
    seen = await source.observe(60.0)
    assert (seen.osl, seen.isl, seen.ttft_ms) == (None, 7, 7000)
    assert not seen.blind
    assert list(source.status.errors) == ["osl"]
    assert complaint in source.status.errors["osl"]


@pytest.mark.parametrize("field", MEANS)
async def test_each_mean_that_fails_is_named(server, serve, connect, field):
    source = await connect(await serve())
    server.answer = failing(server, where=lambda query: f"{MEANS[field]}_sum" in query, how=broken)
    seen = await source.observe(60.0)
    assert [name for name in MEANS if getattr(seen, name) is None] == [field]
    assert "out of sorts" in source.status.errors[field]


@pytest.mark.parametrize("field", ["isl", "osl", "ttft_ms", "itl_ms"])
async def test_quantiles_that_fail_leave_the_mean(server, serve, connect, field):
    source = await connect(await serve())
    server.answer = failing(server, where=lambda query: f"{MEANS[field]}_bucket" in query, how=broken)
    seen = await source.observe(60.0)
    quantiles = {"isl": "isl_quantiles", "osl": "osl_quantiles"}.get(field, f"{field[:-3]}_quantiles_ms")
    assert getattr(seen, quantiles) is None
    assert getattr(seen, field) is not None
    assert len(source.status.errors) == 1
    assert field in next(iter(source.status.errors))


async def test_arrivals_that_fail_are_neither_0_nor_derived(server, serve, connect):
    source = await connect(await serve())
    server.answer = failing(
        server, where=lambda query: "requests_started_total" in query and not is_catalogue(query), how=broken
    )
    seen = await source.observe(60.0)
    assert (seen.blind, seen.idle) == (True, False)
    assert seen.requests_completed == pytest.approx(7, rel=0.1)
    assert seen.isl == 7
    assert "out of sorts" in source.status.errors["requests_started"]


async def test_the_queue_alone_may_fail(server, serve, connect):
    source = await connect(await serve())
    server.answer = failing(
        server, where=lambda query: "queued_requests" in query and not is_catalogue(query), how=broken
    )
    seen = await source.observe(60.0)
    assert (seen.queued, seen.inflight, seen.blind) == (None, 7, False)
    assert list(source.status.errors) == ["queued"]


async def test_one_query_that_hangs_does_not_hold_up_the_others(server, serve, connect):
    source = await connect(await serve(), timeout_s=1.0)
    server.answer = failing(server, where=lambda query: f"{MEANS['isl']}_sum" in query, how=lambda _: asyncio.sleep(3))
    async with asyncio.timeout(2.5):
        seen = await source.observe(60.0)
    assert (seen.isl, seen.osl) == (None, 7)
    assert source.status.errors == {"isl": "no answer within 1 s"}


async def test_a_server_that_hangs_takes_no_longer_than_allowed(server, serve, connect):
    server.answer = lambda _: asyncio.sleep(5)
    async with asyncio.timeout(2):
        source = await connect(await serve(), timeout_s=0.3)
        assert (await source.observe(60.0)).blind
    assert "no answer within 0.3 s" in str(source.status.errors)


async def test_after_a_failure_all_is_known_again_and_what_was_newest_is_kept_meanwhile(server, serve, connect, clock):
    source = await connect(await serve())
    await source.observe(60.0)
    newest = source.status.newest_data
    server.answer = broken
    clock.time += 60
    assert (await source.observe(60.0)).blind
    assert source.status.newest_data == newest
    server.answer = server.healthy
    clock.time += 60
    assert not (await source.observe(60.0)).blind
    assert source.status.errors == {}
    assert source.status.newest_data == newest + 120


async def test_a_server_that_comes_up_later_is_no_error(serve, connect, free_port):
    port = free_port()
    source = await connect(f"http://127.0.0.1:{port}")
    assert (await source.observe(60.0)).blind
    assert source.status.errors
    await serve(port=port)
    assert not (await source.observe(60.0)).blind


async def test_a_server_that_breaks_off_is_blindness(server, serve, connect):
    async def break_off(request):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"status":')
        request.transport.close()
        return response

    server.query = break_off
    source = await connect(await serve())
    assert (await source.observe(60.0)).blind
    assert source.status.errors


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


@pytest.mark.parametrize("prefix", ["/prom", "/prom/", "/a/b//"])
async def test_a_url_may_have_a_path(server, serve, connect, prefix):
    url = await serve(prefix.rstrip("/"))
    source = await connect(url + prefix[len(prefix.rstrip("/")) :])
    assert not (await source.observe(60.0)).blind


async def test_nobody_is_named_without_credentials(server, serve, connect):
    await (await connect(await serve())).observe(60.0)
    assert not any("Authorization" in headers for headers in server.headers)


async def test_a_token_goes_with_every_query_and_before_a_user(server, serve, connect):
    source = await connect(await serve(), bearer_token=SECRET, username="me", password="other")
    await source.observe(60.0)
    assert {headers.get("Authorization") for headers in server.headers} == {f"Bearer {SECRET}"}


async def test_a_user_may_have_no_password(server, serve, connect):
    server.allowed = "Basic " + base64.b64encode(b"me:").decode()
    assert not (await (await connect(await serve(), username="me")).observe(60.0)).blind


@pytest.mark.parametrize("wrong", [{"bearer_token": SECRET}, {"username": "me", "password": SECRET}, {}])
async def test_wrong_credentials_are_told_without_the_secret(server, serve, connect, wrong):
    server.allowed = "Bearer right"
    source = await connect(await serve(), **wrong)
    at_start = str(source.status)
    assert (await source.observe(60.0)).blind
    assert "HTTP 401: who are you?" in str(source.status.errors)
    told = at_start + str(source.status) + str(await source.check()) + repr(source) + repr(source.__dict__)
    assert SECRET not in told
    assert base64.b64encode(f"me:{SECRET}".encode()).decode() not in told


def test_credentials_do_not_show_their_secrets(tmp_path):
    credentials = Credentials(bearer_token=SECRET, username="me", password=f"{SECRET}!", ca_file=tmp_path / "ca")
    for shown in (repr(credentials), str(credentials), f"{credentials}", f"{[credentials]}"):
        assert SECRET not in shown
        assert "me" in shown


async def test_a_token_file_that_is_not_there_yet(server, serve, connect, tmp_path):
    file = tmp_path / "token"
    server.allowed = "Bearer late"
    source = await connect(await serve(), bearer_token_file=file)
    assert (await source.observe(60.0)).blind
    assert f"the token file {file} cannot be read" in str(source.status.errors)
    assert server.forms == []
    file.write_text("  late\n")
    assert not (await source.observe(60.0)).blind


async def test_a_token_file_is_read_again_when_a_link_is_turned_as_in_a_mounted_secret(
    server, serve, connect, tmp_path
):
    for version in ("first", "second"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(version)
    link, file = tmp_path / "data", tmp_path / "data" / "token"
    link.symlink_to(tmp_path / "first")
    source = await connect(await serve(), bearer_token_file=file)
    await source.observe(60.0)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer first"}
    (tmp_path / "next").symlink_to(tmp_path / "second")
    (tmp_path / "next").replace(link)
    server.headers.clear()
    await source.observe(60.0)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer second"}


async def test_a_token_file_that_was_unusable_for_a_while(server, serve, connect, tmp_path):
    file = tmp_path / "token"
    file.write_text(SECRET)
    source = await connect(await serve(), bearer_token_file=file)
    file.write_bytes(b"\xff\xfe" + SECRET.encode())
    assert (await source.observe(60.0)).blind
    assert "cannot be read" in str(source.status.errors)
    assert SECRET not in str(source.status)
    (tmp_path / "next").write_text(SECRET)
    (tmp_path / "next").replace(file)
    assert not (await source.observe(60.0)).blind


async def test_a_token_file_may_be_a_folder_and_is_then_an_error(serve, connect, tmp_path):
    source = await connect(await serve(), bearer_token_file=tmp_path)
    assert (await source.observe(60.0)).blind
    assert str(tmp_path) in str(source.status.errors)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority of our own, one that signed nothing, and TLS contexts of servers by name."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )
    contexts = {}
    for name, alternative in {"here": "IP:127.0.0.1", "elsewhere": "DNS:prometheus.example"}.items():
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\nauthorityKeyIdentifier=keyid\n")
        openssl(
            *("x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )
        contexts[name] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        contexts[name].load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return folder, contexts


@pytest.mark.parametrize(
    ("name", "authority", "verify", "accepted"),
    [
        ("here", None, True, False),
        ("here", "ca.pem", True, True),
        ("here", "stranger.pem", True, False),
        ("here", None, False, True),
        ("here", "stranger.pem", False, True),
        ("elsewhere", "ca.pem", True, False),
        ("elsewhere", "ca.pem", False, True),
    ],
)
async def test_a_certificate_must_be_signed_by_whom_we_trust_and_for_the_address(
    server, serve, connect, certificates, name, authority, verify, accepted
):
    folder, contexts = certificates
    source = await connect(
        await serve(context=contexts[name]),
        ca_file=folder / authority if authority else None,
        verify=verify,
        bearer_token=SECRET,
    )
    assert (await source.observe(60.0)).blind is not accepted
    if not accepted:
        assert "certificate" in str(source.status.errors).lower()
        assert server.headers == [], "the token went to somebody we do not trust"


@pytest.mark.parametrize(
    "content", [None, "", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_ca_file_that_cannot_be_used_is_named_with_its_option(tmp_path, clock, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SourceError, match="--prometheus-ca-file") as refused:
        PrometheusSource(url="https://h", mapping=DYNAMO, now=clock.now, credentials=Credentials(ca_file=file))
    assert str(file) in str(refused.value)


async def test_plain_http_where_tls_is_spoken_is_blindness(serve, connect, certificates):
    url = await serve(context=certificates[1]["here"])
    source = await connect(url.replace("https:", "http:"))
    assert (await source.observe(60.0)).blind
    assert source.status.errors


async def test_close_may_come_first_and_twice(clock):
    source = PrometheusSource(url="http://127.0.0.1:1", mapping=DYNAMO, now=clock.now)
    await source.close()
    await source.close()
    assert (source.status.series_matched, source.status.errors, source.status.newest_data) == ({}, {}, None)
