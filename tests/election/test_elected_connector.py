"""The connector of one planner among several, on the event loop and its clock."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest

from connectors.base import Applied, ConnectorError, Outcome, WorkerCounts
from connectors.elected import ElectedConnector
from connectors.election import ElectionTimes, Elector, FencedError, LeaseConflictError, uptime
from planner import Observation, Planner, PlannerDaemon, Settings, Workers
from profiles import sample_profile_dir
from tests.stubs import PlainConnector, PlainSource
from tests.waiting import until

TIMES = ElectionTimes(duration_s=1.0, deadline_s=0.6, retry_s=0.05)


class Drawer:
    """Keeps a lease in memory; can be told to fail."""

    def __init__(self):
        self.lease = None
        self.broken = False
        self._version = 0

    async def get(self, timeout_s):
        await self._travel()
        return self.lease

    async def create(self, lease, timeout_s):
        await self._travel()
        if self.lease is not None:
            raise LeaseConflictError
        return self._put(lease)

    async def replace(self, lease, timeout_s):
        await self._travel()
        if self.lease is None or self.lease.version != lease.version:
            raise LeaseConflictError
        return self._put(lease)

    async def _travel(self):
        await asyncio.sleep(0)
        if self.broken:
            raise OSError("the store is on fire")

    def _put(self, lease):
        self._version += 1
        self.lease = replace(lease, version=str(self._version))
        return self.lease


class Hands(PlainConnector):
    """Writes down what it is told, asking the fence before each of its two changes."""

    counts = WorkerCounts(prefill=Workers(1), decode=Workers(1))

    def __init__(self):
        self.fence = None
        self.changes = []
        self.between = None
        self.closed = False

    async def apply(self, decision):
        for pool in ("prefill", "decode"):
            if not self.fence.write_within_s:
                raise FencedError(f"no longer leading: {pool} was not changed")
            self.changes.append((pool, getattr(decision, pool)))
            if self.between is not None:
                await self.between()
        return Applied(outcome=Outcome.APPLIED, detail="done")

    async def close(self):
        self.closed = True


@pytest.fixture
def drawer():
    return Drawer()


@pytest.fixture
async def take_part(drawer):
    started = []

    async def start(identity):
        elector = Elector(
            drawer,
            identity,
            TIMES,
            monotonic=uptime,
            now=time.time,
            sleep=asyncio.sleep,
            random=random.Random(1).random,
        )
        hands = Hands()
        hands.fence = elector
        connector = ElectedConnector(hands, elector)
        await connector.start()
        started.append(connector)
        return connector, hands

    yield start
    for connector in started:
        await connector.close()


@pytest.fixture
def decision():
    planner = Planner(Settings(profile_results_dir=str(sample_profile_dir()), adjustment_interval=60))
    return planner.step(Observation(time=60.0, interval=60.0, requests_started=600))


async def test_one_acts_and_the_other_stands_by_until_it_is_its_turn(take_part, decision):
    first, hands = await take_part("a")
    await until(lambda: first.leading)
    second, other = await take_part("b")
    await until(lambda: second._elector.leader == "a")
    assert (await first.apply(decision)).outcome is Outcome.APPLIED
    applied = await second.apply(decision)
    assert (applied.outcome, applied.detail) == (Outcome.STANDBY, "standing by: a leads")
    assert (await second.workers()).prefill == Workers(1)
    assert other.changes == []
    await first.close()
    assert hands.closed
    await until(lambda: second.leading)
    assert (await second.apply(decision)).outcome is Outcome.APPLIED


async def test_a_lead_lost_between_two_changes_stops_the_second(take_part, drawer, decision):
    connector, hands = await take_part("a")
    await until(lambda: connector.leading)

    async def lose():
        drawer.broken = True
        await until(lambda: not connector.leading)

    hands.between = lose
    applied = await connector.apply(decision)
    assert applied.outcome is Outcome.STANDBY
    assert "decode was not changed" in applied.detail
    assert [pool for pool, _ in hands.changes] == ["prefill"]
    drawer.broken, hands.between = False, None
    await until(lambda: connector.leading)


async def test_closing_leaves_nothing_running_and_the_lease_free(take_part, drawer):
    connector, _ = await take_part("a")
    await until(lambda: connector.leading)
    await connector.close()
    await connector.close()
    assert drawer.lease.holder is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_ends_while_the_store_is_gone(take_part, drawer):
    connector, _ = await take_part("a")
    await until(lambda: connector.leading)
    drawer.broken = True
    await connector.close()
    assert not connector.leading
    assert drawer.lease.holder == "a"


def test_fenced_is_an_error_of_the_connector():
    assert issubclass(FencedError, ConnectorError)


class SteadySource(PlainSource):
    """Sees the same load for ever, in intervals of a minute."""

    time = 0.0

    async def observe(self, interval):
        self.time += 60.0
        return Observation(time=self.time, interval=60.0, requests_started=3000, isl=2000.0, osl=300.0)


async def test_a_standby_stays_warm_is_ready_and_acts_once_it_leads(take_part):
    leader, _ = await take_part("a")
    await until(lambda: leader.leading)
    standby, hands = await take_part("b")
    settings = Settings(
        environment="virtual",
        profile_results_dir=str(sample_profile_dir()),
        adjustment_interval=60,
        reaction_interval=0,
        max_gpu_budget=-1,
    )
    daemon = PlannerDaemon(settings, source=SteadySource(), connector=standby)
    for _ in range(3):
        record = await daemon.tick()
    assert record.applied.outcome is Outcome.STANDBY
    assert record.decision.explanation.forecast.requests == pytest.approx(3000, rel=0.2)
    assert daemon.metrics.registry.get_sample_value("sla_planner_leader") == 0
    assert daemon.not_ready() is None, "standing by is doing its work"
    assert hands.changes == []
    await leader.close()
    await until(lambda: standby.leading)
    assert daemon.metrics.registry.get_sample_value("sla_planner_leader") == 1
    record = await daemon.tick()
    assert record.applied.outcome is Outcome.APPLIED
    assert hands.changes == [("prefill", record.decision.prefill), ("decode", record.decision.decode)]
