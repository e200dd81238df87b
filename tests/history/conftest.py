"""A history as a planner leaves it, made on a virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random

import pytest

from connectors.base import Applied, Outcome, WorkerCounts
from planner import Observation, PlannerDaemon, Settings, Workers
from planner.__main__ import main
from planner.report.store import HistoryStore
from profiles import sample_profile_dir
from tests.stubs import PlainConnector, PlainSource


class Hand:
    """A clock that is moved by hand."""

    time = 1_700_000_000.0

    def now(self):
        return self.time


class Waves(PlainSource):
    """A load that comes and goes in two hours; reactions see a little more of it."""

    def __init__(self, clock):
        self.clock, self.random = clock, random.Random(3)

    async def observe(self, interval):
        now = self.clock.now()
        rate = 30 + 28 * math.sin(now / 7200 * 2 * math.pi) + (60 if interval < 60 and now % 3600 < 60 else 0)
        return Observation(
            time=now,
            interval=interval,
            requests_started=max(0, round(rate * interval + self.random.gauss(0, 10))),
            isl=2000.0,
            osl=300.0,
            ttft_ms=200 + self.random.gauss(0, 5),
            itl_ms=22.0,
            inflight=20,
            queued=0,
        )


class Obedient(PlainConnector):
    """Has at once the workers it is told to have; ready ones a look later."""

    def __init__(self):
        self.counts = WorkerCounts(prefill=Workers(1), decode=Workers(1))

    async def workers(self):
        counts = self.counts
        self.counts = WorkerCounts(prefill=Workers(counts.prefill.requested), decode=Workers(counts.decode.requested))
        return counts

    async def apply(self, decision):
        def grown(workers, target):
            ready = min(workers.ready, target)
            return Workers(ready, target - ready)

        self.counts = WorkerCounts(
            prefill=grown(self.counts.prefill, decision.prefill), decode=grown(self.counts.decode, decision.decode)
        )
        return Applied(outcome=Outcome.APPLIED, detail="")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The history file of four hours."""
    file = tmp_path_factory.mktemp("history") / "state" / "dynamo" / "history.sqlite"
    clock = Hand()
    settings = Settings(
        profile_results_dir=str(sample_profile_dir()),
        adjustment_interval=60,
        load_predictor="kalman",
        max_gpu_budget=32,
        environment="virtual",
    )

    async def play():
        daemon = PlannerDaemon(
            settings, source=Waves(clock), connector=Obedient(), clock=clock, store=HistoryStore(file)
        )
        async with daemon:
            for _ in range(240):
                clock.time += 10
                await daemon.react(10.0)
                clock.time += 50
                await daemon.tick()

    asyncio.run(play())
    return file


@pytest.fixture
def command(capsys, tmp_path, monkeypatch):
    """Carries out a command in a folder of its own: ``command("history", ...)``; exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with contextlib.suppress(SystemExit):
            code = main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return code, out, err

    return run
