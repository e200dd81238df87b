"""PrometheusSource against a real Prometheus that scrapes small frontends."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from planner.finding import Health
from planner.sources.base import SourceError
from planner.sources.mapping import load_mapping
from planner.sources.prometheus import PrometheusApi, PrometheusSource

pytestmark = pytest.mark.live

INTERVAL = 6.0
STARTED = "dynamo_frontend_requests_started_total"
COMPLETED = "dynamo_frontend_requests_total"


@pytest.fixture
async def observing():
    """Makes sources that are closed at the end."""
    sources = []

    async def make(server, *, start=True, **options):
        api = PrometheusApi(server.url, timeout_s=5.0)
        source = PrometheusSource(api, mapping=load_mapping("dynamo"), now=time.time, **options)
        sources.append(source)
        if start:
            await source.start()
        return source

    yield make
    for source in sources:
        await source.close()


async def scraped_for(server, seconds, frontends=1):
    """Wait until all frontends have been scraped for some time."""
    await server.until(f"count(count_over_time(up[{seconds}s]) >= {5 * seconds - 2} and up == 1) == {frontends}")


async def seen(server, metric, value):
    """Wait until all series of a metric together have a value."""
    await server.until(f"sum({metric}) == {value}")


def assert_blind(observation):
    assert observation.blind
    assert observation.inflight is None
    assert observation.isl is None
    assert observation.ttft_ms is None


class TestCounting:
    async def test_several_frontends_one_restarting_in_between(self, prometheus, frontends, observing):
        one, two = await frontends(2)
        one.serve(1000, isl=10)
        two.serve(2000, isl=10)
        server = await prometheus([one.target, two.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL), 2)

        one.serve(10, isl=3000, osl=200, ttft_s=0.2, itl_s=0.01)
        two.serve(30, isl=1000, osl=100, ttft_s=0.4, itl_s=0.03)
        await seen(server, STARTED, 3040)
        await two.restart()
        two.serve(20, isl=1000, osl=100, ttft_s=0.4, itl_s=0.03)
        await seen(server, STARTED, 1030)
        await server.until("sum(up) == 2")

        observation = await source.observe(INTERVAL)
        assert source.status.errors == {}
        assert observation.requests_started == pytest.approx(60, rel=0.1)
        assert observation.requests_completed == pytest.approx(60, rel=0.1)
        assert observation.isl == pytest.approx((10 * 3000 + 50 * 1000) / 60, rel=0.05)
        assert observation.osl == pytest.approx((10 * 200 + 50 * 100) / 60, rel=0.05)
        assert observation.ttft_ms == pytest.approx((10 * 200 + 50 * 400) / 60, rel=0.05)
        # Weighted by tokens, not by frontends: 10 * 199 of 10 ms and 50 * 99 of 30 ms.
        assert observation.itl_ms == pytest.approx((1990 * 10 + 4950 * 30) / 6940, rel=0.05)
        assert observation.request_duration_s == pytest.approx((10 * 2.19 + 50 * 3.37) / 60, rel=0.05)
        assert observation.inflight == 0
        assert observation.queued == 0
        assert 100 <= observation.ttft_quantiles_ms[0.5] <= 500
        assert observation.isl_quantiles[0.99] <= 10000
        assert source.status.series_matched["requests_started"] == 2
        assert source.status.newest_data == pytest.approx(time.time(), abs=2)

    async def test_a_series_that_is_born_in_the_window_counts_from_0(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        server = await prometheus([frontend.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL))
        idle = await source.observe(INTERVAL)
        assert idle.requests_started == 0
        assert idle.idle

        frontend.serve(7)
        await seen(server, STARTED, 7)
        await asyncio.sleep(1)
        observation = await source.observe(INTERVAL)
        # Where a scrape came late its neighbours speak for it, a little too loudly.
        assert observation.requests_started == pytest.approx(7, rel=0.15)
        assert observation.requests_completed == pytest.approx(7, rel=0.15)
        assert observation.isl == pytest.approx(1000)
        assert observation.ttft_ms == pytest.approx(300)
        assert 100 <= observation.isl_quantiles[0.5] <= 1000

    async def test_the_lifetime_of_a_new_target_is_no_increase(self, prometheus, frontends, observing):
        known, new = await frontends(2)
        known.serve(5)
        new.serve(100_000)
        server = await prometheus([known.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL))
        server.configure([{"job_name": "frontend", "static_configs": [{"targets": [known.target, new.target]}]}])
        await server.reload()
        await seen(server, STARTED, 100_005)
        known.serve(3)
        new.serve(4)
        await seen(server, STARTED, 100_012)
        await asyncio.sleep(0.5)
        observation = await source.observe(INTERVAL)
        assert observation.requests_started == pytest.approx(7, rel=0.5)

    async def test_what_was_counted_while_prometheus_was_down_is_no_increase(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        server = await prometheus([frontend.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL))
        await server.stop()
        # A series that begins while nobody looks, and has a past when Prometheus is back.
        frontend.serve(100_000)
        await server.start()
        await server.until(f"count_over_time({COMPLETED}[{INTERVAL:.0f}s]) > 20")
        observation = await source.observe(INTERVAL)
        assert observation.requests_started is None or observation.requests_started < 1000

    async def test_prometheus_stopped_and_back(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        frontend.serve(10)
        server = await prometheus([frontend.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL))
        assert (await source.observe(INTERVAL)).requests_started == 0
        seen_last = source.status.newest_data

        await server.stop()
        assert_blind(await source.observe(INTERVAL))
        assert "connect" in source.status.errors["series"].lower()
        assert source.status.newest_data == seen_last

        # The load goes on meanwhile; the little that is seen of the window at first says nothing of the rest.
        await asyncio.sleep(INTERVAL)
        await server.start()
        await server.until(f"count_over_time({STARTED}[{INTERVAL:.0f}s]) >= 2")
        assert (await source.observe(INTERVAL)).requests_started is None
        assert "were scraped" in source.status.errors["requests_started"]

        # From half a window on, its rate counts for the whole.
        await server.until(f"count_over_time({STARTED}[{INTERVAL:.0f}s]) >= 4")
        for _ in range(20):
            frontend.serve(1)
            await asyncio.sleep(0.2)
        observation = await source.observe(INTERVAL)
        assert observation.requests_started == pytest.approx(5 * INTERVAL, rel=0.35)

        await scraped_for(server, int(INTERVAL))
        await asyncio.sleep(INTERVAL)
        assert (await source.observe(INTERVAL)).requests_started == 0
        assert source.status.errors == {}


class TestDemandWithoutArrivals:
    """Frontends of Dynamo 0.9 count completions only."""

    async def test_what_piles_up_is_demand(self, prometheus, frontends, observing):
        (frontend,) = await frontends(counts_arrivals=False)
        frontend.serve(1)
        frontend.arrive(5)
        server = await prometheus([frontend.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL))
        frontend.arrive(40)
        frontend.complete(10)
        await seen(server, COMPLETED, 11)
        await asyncio.sleep(0.5)
        observation = await source.observe(INTERVAL)
        assert observation.requests_completed == pytest.approx(10, rel=0.1)
        assert observation.requests_started == pytest.approx(40, rel=0.1)
        assert observation.inflight == 35

    async def test_the_first_requests_ever_are_demand_before_any_has_ended(self, prometheus, frontends, observing):
        (frontend,) = await frontends(counts_arrivals=False)
        server = await prometheus([frontend.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL))
        frontend.arrive(12)
        await seen(server, "dynamo_frontend_inflight_requests", 12)
        observation = await source.observe(INTERVAL)
        assert observation.requests_completed == 0
        assert observation.requests_started == 12
        assert observation.inflight == 12

    async def test_a_rolling_upgrade_hides_no_demand(self, prometheus, frontends, observing):
        (old,) = await frontends(counts_arrivals=False)
        (new,) = await frontends(counts_arrivals=True)
        old.serve(1)
        new.serve(1)
        server = await prometheus([old.target, new.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL), 2)
        old.serve(30)
        new.serve(10)
        await seen(server, COMPLETED, 42)
        await asyncio.sleep(0.5)
        assert (await source.observe(INTERVAL)).requests_started == pytest.approx(40, rel=0.1)


class TestIdleAndBlind:
    async def test_nothing_is_idle_and_nobody_is_blind(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        server = await prometheus([frontend.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL))
        observation = await source.observe(INTERVAL)
        assert observation.idle
        assert (observation.requests_started, observation.inflight, observation.queued) == (0, 0, 0)
        assert observation.ttft_ms is None
        assert source.status.errors == {}

        frontend.serve(3)
        await scraped_for(server, int(INTERVAL))
        await asyncio.sleep(INTERVAL)
        observation = await source.observe(INTERVAL)
        assert observation.idle
        assert observation.isl is None
        assert source.status.errors == {}

        await frontend.stop()
        await server.until("up == 0")
        assert_blind(await source.observe(INTERVAL))
        assert "no frontend is being scraped" in source.status.errors["newest_scrape"]

    async def test_a_frontend_that_leaves_the_scrape_configuration(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        frontend.serve(3)
        server = await prometheus([frontend.target])
        source = await observing(server)
        await scraped_for(server, int(INTERVAL))
        assert not (await source.observe(INTERVAL)).blind
        server.configure([{"job_name": "frontend", "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}])
        await server.reload()
        await server.until("absent(dynamo_frontend_disconnected_clients)")
        assert_blind(await source.observe(INTERVAL))

    async def test_an_interval_too_short_for_the_scrapes_is_not_idle(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        frontend.serve(3)
        server = await prometheus([frontend.target], scrape_interval="2s")
        source = await observing(server)
        await seen(server, STARTED, 3)
        observation = await source.observe(1.0)
        assert observation.requests_started is None
        assert "--adjustment-interval" in source.status.errors["requests_started"]


class TestLabels:
    async def test_the_model_in_another_case_without_a_namespace_label(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        frontend.serve(1, model="qwen/qwen3-0.6b (test)")
        frontend.refuse()
        server = await prometheus([frontend.target])
        await scraped_for(server, int(INTERVAL))
        source = await observing(server, model_name="Qwen/Qwen3-0.6B (Test)", namespace="dynamo")
        frontend.serve(6, model="qwen/qwen3-0.6b (test)")
        for _ in range(50):
            frontend.refuse()
        await seen(server, STARTED, 58)
        await asyncio.sleep(0.5)
        assert (await source.observe(INTERVAL)).requests_started == pytest.approx(6, rel=0.15)

    async def test_the_only_model_needs_no_name(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        frontend.serve(1)
        frontend.refuse()
        server = await prometheus([frontend.target])
        await scraped_for(server, int(INTERVAL))
        source = await observing(server)
        frontend.serve(6)
        frontend.refuse()
        await seen(server, STARTED, 9)
        await asyncio.sleep(0.5)
        assert (await source.observe(INTERVAL)).requests_started == pytest.approx(6, rel=0.15)

    async def test_a_namespace_label_tells_deployments_apart(self, prometheus, frontends, observing):
        ours, theirs = await frontends(2)
        ours.serve(1)
        theirs.serve(1, model="other")
        server = await prometheus(
            scrape_configs=[
                {
                    "job_name": name,
                    "static_configs": [{"targets": [frontend.target], "labels": {"dynamo_namespace": name}}],
                }
                for name, frontend in (("ours", ours), ("theirs", theirs))
            ]
        )
        await scraped_for(server, int(INTERVAL), 2)
        source = await observing(server, namespace="ours")
        ours.serve(6)
        theirs.serve(60, model="other")
        await seen(server, STARTED, 68)
        await asyncio.sleep(0.5)
        assert (await source.observe(INTERVAL)).requests_started == pytest.approx(6, rel=0.15)

        # Another deployment may be up before ours is: that is no reason to end.
        early = await observing(server, namespace="not-yet")
        assert_blind(await early.observe(INTERVAL))
        assert "'ours', 'theirs'" in early.status.errors["series"]
        assert any(one.health is Health.FAILED and "dynamo_namespace" in one.detail for one in await early.check())

    async def test_a_model_that_is_not_there_ends_the_start(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        server = await prometheus([frontend.target])
        await server.until("up == 1")
        source = await observing(server, model_name="huge")
        assert not [one for one in await source.check() if one.health is Health.FAILED]

        frontend.serve(3, model="tiny")
        await seen(server, STARTED, 3)
        with pytest.raises(SourceError, match=r"model='huge'.*'tiny'.*--model-name"):
            await source.start()
        assert_blind(await source.observe(INTERVAL))
        assert [one.subject for one in await source.check() if one.health is Health.FAILED] == ["metrics labels"]

    async def test_several_models_need_a_name(self, prometheus, frontends, observing):
        (frontend,) = await frontends()
        frontend.serve(3, model="tiny")
        frontend.serve(3, model="huge")
        server = await prometheus([frontend.target])
        await seen(server, STARTED, 6)
        source = await observing(server, start=False)
        with pytest.raises(SourceError, match="'huge', 'tiny'"):
            await source.start()


async def test_started_while_prometheus_is_down(prometheus, frontends, observing):
    (frontend,) = await frontends()
    frontend.serve(1)
    server = await prometheus([frontend.target])
    await server.stop()
    source = await observing(server)
    assert_blind(await source.observe(INTERVAL))
    assert [one.health for one in await source.check()] == [Health.FAILED]
    await server.start()
    await scraped_for(server, int(INTERVAL))
    frontend.serve(5)
    await seen(server, STARTED, 6)
    await asyncio.sleep(0.5)
    assert (await source.observe(INTERVAL)).requests_started == pytest.approx(5, rel=0.15)
    assert {one.health for one in await source.check()} == {Health.OK}


async def test_a_tick_is_quick(prometheus, frontends, observing):
    several = await frontends(4)
    for frontend in several:
        frontend.serve(5)
    server = await prometheus([frontend.target for frontend in several])
    source = await observing(server)
    await scraped_for(server, int(INTERVAL), 4)
    durations = []
    for _ in range(10):
        begin = time.perf_counter()
        assert not (await source.observe(INTERVAL)).blind
        durations.append(time.perf_counter() - begin)
    print(f"a tick takes {statistics.median(durations) * 1e3:.0f} ms")
    assert statistics.median(durations) < 1.0
