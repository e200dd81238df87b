"""Pages that are odd, late, broken or not there."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from planner.sources.scrape import ScrapeSource, source
from planner.sources.scrape.page import parse_page
from tests.sources.scrape.frontends import DYNAMO, HERE, answer


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (answer("broken", 500), "500"),
        (answer("moved", 302, headers={"Location": "/elsewhere"}), "302"),
        (answer("gone", 404), "404"),
        (answer("who are you?", 401), "401"),
        (answer(""), "has no dynamo_frontend_disconnected_clients"),
        (answer("<html><body>Welcome</body></html>"), "has no dynamo_frontend_disconnected_clients"),
        (answer(HERE + "dynamo_frontend_requests_total{model=tiny} many\n"), "not in Prometheus' text format"),
        (answer("no gzip", headers={"Content-Encoding": "gzip"}), "Error"),
    ],
)
async def test_a_page_that_cannot_be_used_makes_all_unknown(rig, fault, complaint):
    at = await rig(number=2)
    for page in at.pages:
        page.serve(5)
    good = await at.tick()
    at.pages[1].fault = fault
    seen = await at.tick()
    assert seen.blind
    assert (seen.requests_completed, seen.isl, seen.ttft_ms, seen.inflight, seen.queued) == (None,) * 5
    assert (seen.isl_quantiles, seen.ttft_quantiles_ms) == (None, None)
    assert complaint in at.complaint
    assert list(at.source.status.errors) == [at.urls[1]]
    assert at.source.status.newest_data == good.time


async def test_a_page_that_hangs_takes_no_longer_than_allowed(rig):
    async def hang(_):
        await asyncio.sleep(5)

    at = await rig(number=2, timeout_s=0.3)
    at.pages[0].fault = hang
    async with asyncio.timeout(2):
        assert (await at.tick()).blind
    assert "no answer within 0.3 s" in at.complaint


async def test_a_page_that_trickles_takes_no_longer_than_allowed(rig):
    async def trickle(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(50):
            await response.write(b"# nothing\n")
            await asyncio.sleep(0.1)
        return response

    at = await rig(timeout_s=0.4)
    at.pages[0].fault = trickle
    async with asyncio.timeout(2):
        assert (await at.tick()).blind
    assert "no answer within 0.4 s" in at.complaint


async def test_a_page_that_breaks_off_is_no_page(rig):
    async def break_off(request):
        response = web.StreamResponse(headers={"Content-Length": "10000"})
        await response.prepare(request)
        await response.write(HERE.encode())
        request.transport.close()
        return response

    at = await rig()
    at.pages[0].fault = break_off
    assert (await at.tick()).blind
    assert at.complaint


async def test_pages_are_read_side_by_side(rig):
    together = asyncio.Barrier(3)

    async def meet(_):
        async with asyncio.timeout(3):
            await together.wait()
        return web.Response(text=HERE)

    at = await rig(number=3)
    for page in at.pages:
        page.fault = meet
    assert (await at.tick()).idle


async def test_a_page_may_be_compressed(rig):
    async def squeeze(_):
        return web.Response(body=gzip.compress(HERE.encode()), headers={"Content-Encoding": "gzip"})

    at = await rig()
    at.pages[0].fault = squeeze
    assert (await at.tick()).idle


async def test_the_largest_page_is_just_allowed(rig, monkeypatch):
    at = await rig()
    at.pages[0].text = HERE
    monkeypatch.setattr(source, "_LARGEST_PAGE_BYTES", len(HERE))
    assert (await at.tick()).idle
    at.pages[0].text = HERE + "\n"
    assert (await at.tick()).blind
    assert f"a page of {len(HERE) + 1} bytes" in at.complaint


async def test_nobody_listening_is_blind_and_names_the_page(clock, free_port):
    url = f"http://127.0.0.1:{free_port()}/metrics"
    source = ScrapeSource(urls=[url], mapping=DYNAMO, now=clock.now, timeout_s=2)
    await source.start()
    assert (await source.observe(60.0)).blind
    assert source.status.errors[url].startswith(url)
    await source.close()


async def test_close_may_come_first_and_twice(clock):
    source = ScrapeSource(urls=["http://127.0.0.1:1/metrics"], mapping=DYNAMO, now=clock.now)
    await source.close()
    await source.close()


async def test_an_address_that_is_none_is_blind(clock):
    source = ScrapeSource(urls=["http://[::1/metrics", "nonsense"], mapping=DYNAMO, now=clock.now)
    await source.start()
    assert (await source.observe(60.0)).blind
    assert len(source.status.errors) == 2
    await source.close()


def test_a_page_is_read_for_the_wanted_names_only():
    text = (
        "# HELP a_total What a does.\n# TYPE a_total counter\n"
        'a_total{x="1",y="}{ \\"q\\" \\\\"} 3 1700000000000\na_total_more 7\nb{} 9\n\nc 1\ngarbage}}\n'
    )
    assert parse_page(text, {"a_total", "b"}) == {
        ("a_total", frozenset({("x", "1"), ("y", '}{ "q" \\')})): 3.0,
        ("b", frozenset()): 9.0,
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# only comments\n", "other 1\n"])
def test_a_page_without_wanted_names_is_empty(text):
    assert parse_page(text, {"a_total"}) == {}


@given(st.lists(st.text('a_total{}=",\\ 1.eNa#x\t', max_size=30), max_size=4))
def test_garbage_is_read_or_refused_as_such(tails):
    try:
        page = parse_page("".join(f"a_total{tail}\n" for tail in tails), {"a_total"})
    except ValueError:
        return
    assert all(isinstance(value, float) for value in page.values())


async def test_a_password_in_an_address_is_never_shown(clock):
    source = ScrapeSource(urls=["http://me:hunter2@127.0.0.1:9/metrics"], mapping=DYNAMO, now=clock.now, timeout_s=1.0)
    await source.start()
    await source.observe(60.0)
    shown = str(source.status) + str(await source.check())
    assert "127.0.0.1:9" in shown
    assert "hunter2" not in shown
    await source.close()
