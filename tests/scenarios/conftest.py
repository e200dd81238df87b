"""A small world on a virtual clock: a cluster that takes its time, a load that is a function of time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from connectors.base import Applied, Outcome, WorkerCounts
from planner import Observation, PlannerDaemon, Settings, Workers
from planner.sources.base import SourceStatus
from profiles import sample_profile_dir
from tests.stubs import PlainConnector, PlainSource


@dataclass
class Pool:
    """Workers of one pool: when each becomes ready."""

    clock: object
    startup_s: float
    ready_at: list[float] = field(default_factory=list)
    stuck: bool = False
    unshrinkable: bool = False

    def resize(self, target):
        while len(self.ready_at) < target:
            self.ready_at.append(float("inf") if self.stuck else self.clock.now() + self.startup_s)
        if not self.unshrinkable:
            # The youngest go first, so that pending ones are given back before any that serve.
            self.ready_at = sorted(self.ready_at)[:target]

    def workers(self):
        ready = sum(when <= self.clock.now() for when in self.ready_at)
        return Workers(ready, pending=len(self.ready_at) - ready)


class Cluster(PlainConnector):
    """Carries decisions out as an orchestrator would: workers take time to start, and shrinking may fail."""

    def __init__(self, clock, startup_s=90.0):
        self.prefill = Pool(clock, startup_s, [0.0])
        self.decode = Pool(clock, startup_s, [0.0])
        self.asked = []

    async def workers(self):
        return WorkerCounts(prefill=self.prefill.workers(), decode=self.decode.workers())

    async def apply(self, decision):
        self.asked.append((decision.prefill, decision.decode))
        self.prefill.resize(decision.prefill)
        self.decode.resize(decision.decode)
        return Applied(outcome=Outcome.APPLIED, detail="")

    @property
    def size(self):
        return len(self.prefill.ready_at), len(self.decode.ready_at)


class Frontend(PlainSource):
    """Observes a load given as a function of the time since the start: requests/s, or fields, or None for blind."""

    def __init__(self, clock, load):
        self.clock = clock
        self.start_time = clock.now()
        self.load = load

    async def observe(self, interval):
        elapsed = self.clock.now() - self.start_time
        seen = self.load(elapsed)
        if seen is None:
            return Observation(time=self.clock.now(), interval=interval)
        fields = seen if isinstance(seen, dict) else {"rate_rps": seen}
        rate_rps = fields.pop("rate_rps")
        lengths = {"isl": 2000.0, "osl": 300.0} if rate_rps else {}
        return Observation(
            time=self.clock.now(), interval=interval, requests_started=rate_rps * interval, **{**lengths, **fields}
        )

    @property
    def status(self):
        blind = self.load(self.clock.now() - self.start_time) is None
        return SourceStatus(
            series_matched={},
            errors={"requests_started": "connection refused"} if blind else {},
            newest_data=None if blind else self.clock.now(),
        )


@pytest.fixture
def cluster(clock):
    return Cluster(clock)


@pytest.fixture(params=["slo", "throughput"])
def play(clock, cluster, request):
    """Run the real daemon over a load for so many intervals; the records of every adjustment."""

    async def play(load, intervals, **options):
        settings = Settings(
            **{
                "environment": "virtual",
                "profile_results_dir": str(sample_profile_dir()),
                "adjustment_interval": 60,
                "load_predictor": "constant",
                "sizing": request.param,
                "max_gpu_budget": 64,
                "decision_history": 10_000,
                **options,
            }
        )

        records = []

        def count(record):
            records.append(record)
            if len(records) >= intervals:
                daemon.stop()

        daemon = PlannerDaemon(settings, source=Frontend(clock, load), connector=cluster, clock=clock, on_record=count)
        async with daemon:
            await asyncio.wait_for(daemon.run(), timeout=60)
        assert daemon.metrics.registry.get_sample_value("sla_planner_tick_failures_total") == 0
        play.daemon = daemon
        return records

    return play
