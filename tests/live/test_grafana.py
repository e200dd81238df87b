"""Every query of the Grafana dashboard, on a real Prometheus that scrapes a real planner."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from connectors.base import Applied, ConnectorError, Outcome, WorkerCounts
from planner import Observation, PlannerDaemon, Settings, Workers
from planner.clock import WallClock
from planner.sources.base import SourceStatus
from profiles import sample_profile_dir
from tests.stubs import PlainConnector, PlainSource

pytestmark = pytest.mark.live

DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana" / "planner-dashboard.json"


class Eventful(PlainSource):
    """Sees everything there is to see, and fails to read something now and then."""

    def __init__(self):
        self.random, self.failed = random.Random(1), False

    async def observe(self, interval):
        self.failed = not self.failed
        return Observation(
            time=WallClock().now(),
            interval=interval,
            requests_started=self.random.choice((5.0, 60.0, 200.0)),
            requests_completed=60.0,
            isl=2000.0,
            osl=None if self.failed else 300.0,
            ttft_ms=300.0,
            itl_ms=20.0,
            request_duration_s=6.0,
            ttft_quantiles_ms={0.95: 700.0},
            itl_quantiles_ms={0.95: 25.0},
        )

    @property
    def status(self):
        errors = {"osl": "timed out"} if self.failed else {}
        return SourceStatus(series_matched={"isl": 1}, errors=errors, newest_data=WallClock().now() - 1)


class Moody(PlainConnector):
    """Does what it is told, now and then only at the second time."""

    def __init__(self, aggregated=False):
        self.counts = WorkerCounts(prefill=None if aggregated else Workers(1), decode=Workers(1))
        self.refuses = False

    async def apply(self, decision):
        self.refuses = not self.refuses
        if self.refuses:
            raise ConnectorError("not now")
        prefill = Workers(decision.prefill) if self.counts.prefill else None
        self.counts = WorkerCounts(prefill=prefill, decode=Workers(decision.decode))
        return Applied(outcome=Outcome.APPLIED, detail="", overdue=True)


def queries():
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$namespace", "llm").replace("$__rate_interval", "10s")
            yield panel["title"], expression
            # "All" also finds planners that are scraped without a namespace.
            yield panel["title"], target["expr"].replace("$namespace", ".*").replace("$__rate_interval", "10s")


async def test_every_panel_has_data(prometheus, free_port):
    port = free_port()
    settings = planner_settings(port)
    server = await prometheus(scrape_configs=[scraped("planner", port, "llm")])
    async with PlannerDaemon(settings, source=Eventful(), connector=Moody()) as daemon:
        running = asyncio.create_task(daemon.run())
        empty = dict.fromkeys(queries())
        deadline = asyncio.get_running_loop().time() + 60
        while empty and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.5)
            empty = {key: None for key in empty if not await server.query(key[1])}
        daemon.stop()
        await running
    assert not empty, "these panels stayed without data"


async def test_an_aggregated_deployment_shows_one_pool(prometheus, free_port):
    ports = free_port(), free_port()
    server = await prometheus(scrape_configs=[scraped("apart", ports[0], "llm"), scraped("together", ports[1], "chat")])
    async with (
        PlannerDaemon(planner_settings(ports[0]), source=Eventful(), connector=Moody()) as apart,
        PlannerDaemon(
            planner_settings(ports[1], mode="agg"), source=Eventful(), connector=Moody(aggregated=True)
        ) as together,
    ):
        await apart.tick()
        await together.tick()
        workers = panel_query("Decode Workers")
        await server.until(workers.replace("$namespace", "llm"))
        await server.until(workers.replace("$namespace", "chat"))
        for title in ("Prefill Workers", "Prefill Replicas", "Worker Count History", "Workers By State"):
            query = panel_query(title)
            assert await server.query(query.replace("$namespace", "llm")), title
            shown = await server.query(query.replace("$namespace", "chat"))
            assert {one["metric"].get("pool") for one in shown} <= {"decode"}, title
            assert all("_p_" not in one["metric"].get("__name__", "") for one in shown), title
        both = await server.query(panel_query("Prefill Workers").replace("$namespace", ".*"))
        assert float(both[0]["value"][1]) == 1


def panel_query(title):
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return next(panel["targets"][0]["expr"] for panel in panels if panel["title"] == title)


def scraped(job, port, namespace):
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": namespace}}
    return {"job_name": job, "static_configs": [target]}


def planner_settings(port, **options):
    return Settings(
        profile_results_dir=str(sample_profile_dir()),
        adjustment_interval=1,
        load_predictor="constant",
        sizing="throughput",
        max_gpu_budget=16,
        scale_down_window=0,
        metric_reporting_host="127.0.0.1",
        metric_reporting_prometheus_port=port,
        **options,
    )
