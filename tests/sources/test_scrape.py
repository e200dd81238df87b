"""ScrapeSource against real HTTP servers."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from planner.demo.frontend import Frontend
from planner.finding import Health
from planner.simulation.request import Request
from planner.sources import scrape
from planner.sources.mapping import load_mapping
from planner.sources.scrape import ScrapeSource


class Page:
    """One frontend's metrics page; ``fault`` answers in its place."""

    def __init__(self, version="1.6", model="tiny"):
        self.version, self.model = version, model
        self.frontend = Frontend(model, version=version)
        self.fault = None

    async def get(self, _):
        if self.fault is not None:
            return await self.fault()
        return web.Response(body=self.frontend.page())

    def restart(self):
        self.frontend = Frontend(self.model, version=self.version)

    def arrive(self, requests, isl=1000, osl=11):
        arrived = [Request(0.0, isl, osl) for _ in range(requests)]
        for request in arrived:
            self.frontend.arrived(request)
        return arrived

    def serve(self, requests, isl=1000, osl=11, ttft_s=0.3, itl_s=0.02):
        for request in self.arrive(requests, isl, osl):
            request.first_token_s = ttft_s
            self.frontend.first_token(request)
            request.completed_s = ttft_s + itl_s * (osl - 1)
            self.frontend.completed(request)


@pytest.fixture
async def scraping(clock):
    """Starts pages and a source that reads them: ``source, pages = await scraping(2)``."""
    runners, sources = [], []

    async def start(number=1, *, version="1.6", model="tiny", start=True, **options):
        pages = [Page(version, model) for _ in range(number)]
        urls = []
        for page in pages:
            app = web.Application()
            app.router.add_get("/metrics", page.get)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            runners.append(runner)
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}/metrics")
        source = ScrapeSource(urls=urls, mapping=load_mapping("dynamo"), now=clock.now, timeout_s=0.5, **options)
        sources.append(source)
        if start:
            await source.start()
        clock.time += 60
        return source, pages

    yield start
    for source in sources:
        await source.close()
    for runner in runners:
        await runner.cleanup()


async def text(content, status=200):
    return web.Response(text=content, status=status)


async def test_two_frontends_are_summed_and_means_weighted(scraping):
    source, (one, two) = await scraping(2)
    one.serve(10, isl=3000, osl=201, ttft_s=0.2, itl_s=0.01)
    two.serve(30, isl=1000, osl=101, ttft_s=0.4, itl_s=0.03)
    seen = await source.observe(60.0)
    assert (seen.requests_started, seen.requests_completed) == (40, 40)
    assert seen.isl == pytest.approx(1500)
    assert seen.ttft_ms == pytest.approx(350)
    assert seen.itl_ms == pytest.approx((2000 * 10 + 3000 * 30) / 5000)
    assert seen.request_duration_s == pytest.approx((10 * 2.2 + 30 * 3.4) / 40)
    assert 220 <= seen.ttft_quantiles_ms[0.5] <= 470
    assert source.status.series_matched["requests_started"] == 2
    assert source.status.errors == {}
    assert source.status.newest_data == seen.time


async def test_only_what_is_new_counts(scraping, clock):
    source, (page,) = await scraping()
    page.serve(100)
    await source.observe(60.0)
    page.serve(7)
    clock.time += 60
    assert (await source.observe(60.0)).requests_started == 7


async def test_a_frontend_that_restarts_counts_from_0(scraping, clock):
    source, (page,) = await scraping()
    page.serve(100)
    await source.observe(60.0)
    page.restart()
    page.serve(7)
    clock.time += 60
    seen = await source.observe(60.0)
    assert seen.requests_started == 7
    assert seen.isl == pytest.approx(1000)


async def test_a_tick_that_came_late_is_scaled_to_the_interval(scraping, clock):
    source, (page,) = await scraping()
    page.serve(100)
    clock.time += 60
    assert (await source.observe(60.0)).requests_started == pytest.approx(50)


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (lambda: text("broken", 500), "500"),
        (lambda: text("<html>", 200), "has no dynamo_frontend_disconnected_clients"),
        (lambda: text('dynamo_frontend_requests_total{model="tiny', 200), "not in Prometheus' text format"),
        (lambda: asyncio.sleep(2), "no answer within 0.5 s"),
    ],
)
async def test_while_one_frontend_fails_the_sum_is_unknown_and_is_made_up_for(scraping, clock, fault, complaint):
    source, (one, two) = await scraping(2)
    one.serve(20)
    two.serve(10)
    await source.observe(60.0)
    one.serve(20)
    two.serve(10)
    two.fault = fault
    clock.time += 60
    seen = await source.observe(60.0)
    assert seen.blind
    assert seen.inflight is None
    assert complaint in next(iter(source.status.errors.values()))
    two.fault = None
    clock.time += 60
    assert (await source.observe(60.0)).requests_started == pytest.approx(15)


async def test_a_page_too_large_is_refused(scraping, monkeypatch):
    source, (page,) = await scraping()
    monkeypatch.setattr(scrape, "_LARGEST_PAGE_BYTES", 10)
    page.serve(1)
    assert (await source.observe(60.0)).blind
    assert "is more than 10" in next(iter(source.status.errors.values()))


async def test_idle_is_not_blind(scraping, clock):
    source, (page,) = await scraping()
    never_called = await source.observe(60.0)
    assert never_called.idle
    page.serve(3)
    clock.time += 60
    await source.observe(60.0)
    clock.time += 60
    nothing_new = await source.observe(60.0)
    assert nothing_new.idle
    assert nothing_new.ttft_ms is None
    page.fault = lambda: text("", 200)
    clock.time += 60
    assert (await source.observe(60.0)).blind


async def test_before_a_beginning_is_known_only_gauges_are(scraping):
    source, (page,) = await scraping(start=False)
    page.serve(5)
    page.arrive(4)
    first = await source.observe(60.0)
    assert first.blind
    assert (first.inflight, first.queued) == (4, 4)


async def test_frontends_of_0_9_count_no_arrivals(scraping):
    source, (page,) = await scraping(version="0.9")
    page.serve(10)
    page.arrive(30)
    seen = await source.observe(60.0)
    assert (seen.requests_started, seen.requests_completed) == (40, 10)


async def test_a_model_in_another_case_without_a_namespace_label(scraping):
    source, (page,) = await scraping(model="Qwen/Tiny", model_name="qwen/tiny", namespace="dynamo")
    page.serve(4)
    assert (await source.observe(60.0)).requests_started == 4


async def test_a_wrong_model_is_blind_and_says_which_there_are(scraping):
    source, (page,) = await scraping(model_name="huge")
    page.serve(4)
    assert (await source.observe(60.0)).blind
    assert "'tiny'" in source.status.errors["series"]


async def test_check_tells_pages_and_metrics(scraping):
    source, (one, two) = await scraping(2)
    one.serve(1)
    two.fault = lambda: text("broken", 500)
    findings = await source.check()
    assert [finding.health for finding in findings if finding.subject == "frontend"] == [Health.OK, Health.FAILED]
    assert any(finding.subject == "metric ttft_ms" and finding.health is Health.OK for finding in findings)
