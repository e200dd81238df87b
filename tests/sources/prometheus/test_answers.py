"""What a source makes of a server's answers: whole ones, bad ones, late ones and none."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from planner.finding import Health
from planner.sources.prometheus import PrometheusApi, PrometheusSource
from tests.sources.prometheus.server import DYNAMO, MEANS, broken, failing, is_catalogue, respond, vector


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
    "an error page": (
        respond("<html>no upstream</html>", 503, "text/html"),
        "HTTP 503 Service Unavailable, with a body",
    ),
    "a redirection": (respond("", 302, "text/html", Location="/login?state=secret"), "HTTP 302 Found, to /login"),
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
    "labels of null": (
        respond('{"status":"success","data":{"resultType":"vector","result":[{"metric":null,"value":[1,"2"]}]}}'),
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
    assert [finding.health for finding in await source.check()] == [Health.FAILED]


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


@pytest.mark.parametrize("prefix", ["/prom", "/prom/", "/a/b//"])
async def test_a_url_may_have_a_path(server, serve, connect, prefix):
    url = await serve(prefix.rstrip("/"))
    source = await connect(url + prefix[len(prefix.rstrip("/")) :])
    assert not (await source.observe(60.0)).blind


async def test_close_may_come_first_and_twice(clock):
    source = PrometheusSource(PrometheusApi("http://127.0.0.1:1"), mapping=DYNAMO, now=clock.now)
    await source.close()
    await source.close()
    assert (source.status.series_matched, source.status.errors, source.status.newest_data) == ({}, {}, None)


async def test_stale_data_is_blindness(server, serve, connect, clock):
    source = await connect(await serve())
    server.answer = lambda query: clock.now() - 200 if query.startswith("max(timestamp") else server.healthy(query)
    assert (await source.observe(60.0)).blind
    assert "200 s old" in source.status.errors["newest_scrape"]
    assert source.status.newest_data == clock.now() - 200


async def test_a_window_scraped_for_two_thirds_is_scaled_up_and_for_a_third_not_told(server, serve, connect, clock):
    source = await connect(await serve())

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


async def test_an_address_that_is_none_is_blindness(connect):
    source = await connect("http://[::1/m")
    assert (await source.observe(60.0)).blind
