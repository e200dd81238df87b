"""Parts that a daemon is tested with: a source that tells a story, and a connector that writes down."""

from __future__ import annotations

import pytest

from connectors.base import Applied, ConnectorError, Outcome, WorkerCounts
from planner import Observation, PlannerDaemon, Settings, Workers
from profiles import sample_profile_dir
from tests.stubs import PlainConnector, PlainSource


class StorySource(PlainSource):
    """Tells a list of request counts, one an interval; None is a failed read, an exception is raised."""

    def __init__(self, clock, story):
        self.clock = clock
        self.story = iter(story)
        self.closed = False

    async def observe(self, interval):
        requests = next(self.story)
        if isinstance(requests, Exception):
            raise requests
        if callable(requests):
            return await requests()
        return Observation(time=self.clock.now(), interval=interval, requests_started=requests, isl=2000.0, osl=300.0)

    async def close(self):
        self.closed = True


class Ledger(PlainConnector):
    """Does at once what it is told, and writes it down; outcomes and failures can be set."""

    def __init__(self):
        self.counts = WorkerCounts(prefill=Workers(1), decode=Workers(1))
        self.applied = []
        self.outcomes = []
        self.closed = False

    async def workers(self):
        if isinstance(self.counts, Exception):
            raise self.counts
        return self.counts

    async def apply(self, decision):
        self.applied.append((decision.prefill, decision.decode))
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome.APPLIED
        if outcome is ConnectorError:
            raise ConnectorError("the target is on fire")
        if outcome is Outcome.APPLIED:
            self.counts = WorkerCounts(prefill=Workers(decision.prefill), decode=Workers(decision.decode))
        return Applied(outcome=outcome, detail="", overdue=False)

    async def close(self):
        self.closed = True


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def make_daemon(clock, ledger, unused_settings):
    def make(story, *, rounds=None, reload=None, store=None, tracing=None, connector=None, **options):
        source = StorySource(clock, story)
        settings = Settings(**{**unused_settings, **options})
        wanted = rounds if rounds is not None else len(story)

        records = []

        def count(record):
            records.append(record)
            if len(records) >= wanted:
                daemon.stop()

        daemon = PlannerDaemon(
            settings,
            source=source,
            connector=connector or ledger,
            clock=clock,
            reload=reload,
            on_record=count,
            store=store,
            tracing=tracing,
        )
        return daemon

    return make


@pytest.fixture
def unused_settings():
    return {
        "environment": "virtual",
        "profile_results_dir": str(sample_profile_dir()),
        "adjustment_interval": 60,
        "load_predictor": "constant",
        "max_gpu_budget": 32,
        "scale_down_window": 0,
        "sizing": "throughput",
    }
