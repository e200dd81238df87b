"""Every query of the Grafana dashboard, on a real Prometheus that scrapes a real planner."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from connectors.base import Applied, Connector, ConnectorError, Outcome, WorkerCounts
from planner import Observation, PlannerDaemon, Settings, Workers
from planner.clock import WallClock
from planner.sources.base import Source, SourceStatus
from profiles import sample_profile_dir

pytestmark = pytest.mark.live

DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana" / "planner-dashboard.json"


class Eventful(Source):
    """Sees everything there is to see, and fails to read something now and then."""

    def __init__(self):
        self.random, self.failed = random.Random(1), False

    async def start(self):
        pass

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

    async def check(self):
        return []

    async def close(self):
        pass

    @property
    def status(self):
        errors = {"osl": "timed out"} if self.failed else {}
        return SourceStatus(series_matched={"isl": 1}, errors=errors, newest_data=WallClock().now() - 1)


class Moody(Connector):
    """Does what it is told, now and then only at the second time."""

    def __init__(self):
        self.counts, self.refuses = WorkerCounts(prefill=Workers(1), decode=Workers(1)), False

    async def start(self):
        pass

    async def workers(self):
        return self.counts

    async def apply(self, decision):
        self.refuses = not self.refuses
        if self.refuses:
            raise ConnectorError("not now")
        self.counts = WorkerCounts(prefill=Workers(decision.prefill), decode=Workers(decision.decode))
        return Applied(outcome=Outcome.APPLIED, detail="", overdue=True)

    async def check(self):
        return []

    async def close(self):
        pass


def queries():
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$namespace", "llm").replace("$__rate_interval", "10s")
            yield panel["title"], expression
            # "All" also finds planners that are scraped without a namespace.
            yield panel["title"], target["expr"].replace("$namespace", ".*").replace("$__rate_interval", "10s")


async def test_every_panel_has_data(prometheus, free_port):
    port = free_port()
    settings = Settings(
        profile_results_dir=str(sample_profile_dir()),
        adjustment_interval=1,
        load_predictor="constant",
        sizing="throughput",
        max_gpu_budget=16,
        scale_down_window=0,
        metric_reporting_host="127.0.0.1",
        metric_reporting_prometheus_port=port,
    )
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "llm"}}
    server = await prometheus(scrape_configs=[{"job_name": "planner", "static_configs": [target]}])
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
