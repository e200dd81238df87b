"""A small world on a virtual clock: planners with clocks of their own, a network that plays tricks, and one lease."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from dataclasses import dataclass, replace

import pytest

from connectors.election import ElectionTimes, Elector, Lease, LeaseConflictError


@dataclass
class Network:
    """How badly requests travel; probabilities of one request, seconds."""

    usual_s: float = 0.02
    slow: float = 0.05
    slow_s: float = 20.0
    lost: float = 0.02
    refused: float = 0.05


class LeaseServer:
    """Keeps the lease as the API server does: every state of it has a version that never comes again."""

    def __init__(self):
        self.lease = None
        self._versions = itertools.count(1)

    def get(self, _):
        return self.lease

    def create(self, lease):
        if self.lease is not None:
            raise LeaseConflictError("already exists")
        return self._store(lease)

    def replace(self, lease):
        if self.lease is None or self.lease.version != lease.version:
            raise LeaseConflictError("not in that state")
        return self._store(lease)

    def _store(self, lease):
        self.lease = replace(lease, version=str(next(self._versions)))
        return self.lease


class Wait:
    """What a planner's coroutine awaits: a turn, which the world gives it."""

    def __init__(self, begin):
        self.begin = begin

    def __await__(self):
        return (yield self)


class World:
    """Runs coroutines against a virtual clock, without an event loop; whatever happens, happens at one instant."""

    def __init__(self, seed, network=None):
        self.random = random.Random(seed)
        self.network = network or Network()
        self.server = LeaseServer()
        self.time = 0.0
        self.planners = []
        self._agenda = []
        self._order = itertools.count()

    def at(self, time, action):
        heapq.heappush(self._agenda, (max(time, self.time), next(self._order), action))

    def after(self, delay_s, action):
        self.at(self.time + delay_s, action)

    def run(self, until):
        """Let everything happen up to a time; after each event nobody may lead or write beside the leader."""
        while self._agenda and self._agenda[0][0] <= until:
            self.time, _, action = heapq.heappop(self._agenda)
            action()
            self.check()
        self.time = until

    def check(self):
        leaders = [one for one in self.planners if one.alive and one.elector.leading]
        assert len(leaders) <= 1, f"{self.time:.3f}: {[one.elector.identity for one in leaders]} lead"
        for leader in leaders:
            writers = [one for one in self.planners if one is not leader and one.writing_until > self.time]
            assert not writers, f"{self.time:.3f}: {writers} still write while {leader} leads"

    def leader(self):
        return next((one for one in self.planners if one.alive and one.elector.leading), None)


class PlannerProcess:
    """A planner as the election sees it: it reads its own clocks, may be frozen, killed, or cut off."""

    def __init__(self, world, name, times, *, elector=Elector, drift=0.0, skew_s=0.0):
        self.world = world
        self.name = name
        self.rate = 1 + drift
        self.origin = world.random.uniform(0, 1e6)
        self.skew_s = skew_s
        self.alive = True
        self.frozen_until = 0.0
        self.cut_off_until = 0.0
        self.writing_until = 0.0
        self.writes = 0
        self.turn = 0
        self.elector = elector(
            self,
            name,
            times,
            monotonic=self.monotonic,
            now=lambda: 1.8e9 + world.time + self.skew_s,
            sleep=self.sleep,
            random=world.random.random,
        )
        self.coroutine = self.elector.run()
        world.planners.append(self)
        world.after(0, lambda: self.resume(None, 0))
        world.after(0, self.scale)

    def __repr__(self):
        return self.name

    def monotonic(self):
        return self.origin + self.world.time * self.rate

    async def sleep(self, seconds):
        await Wait(lambda turn: self.world.after(seconds / self.rate, lambda: self.resume(None, turn)))

    def resume(self, result, turn):
        """Go on if the process still waits for this turn, as soon as it is not frozen."""
        if not self.alive or turn != self.turn:
            return
        if self.world.time < self.frozen_until:
            self.world.at(self.frozen_until, lambda: self.resume(result, turn))
            return
        self.turn += 1
        try:
            wait = self.coroutine.throw(result) if isinstance(result, BaseException) else self.coroutine.send(result)
        except (StopIteration, asyncio.CancelledError):
            self.alive = False
        else:
            wait.begin(self.turn)

    async def get(self, timeout_s):
        return await self.request(self.world.server.get, None, timeout_s)

    async def create(self, lease, timeout_s):
        return await self.request(self.world.server.create, lease, timeout_s)

    async def replace(self, lease, timeout_s):
        return await self.request(self.world.server.replace, lease, timeout_s)

    async def request(self, call, lease, timeout_s):
        """A request that may be slow, lost on the way there or back, or carried out after the client gave up."""

        def arrive(turn):
            if world.random.random() < world.network.refused / 2:
                result = ConnectionError("refused")
            else:
                try:
                    result = call(lease)
                except LeaseConflictError as conflict:
                    result = conflict
            if world.random.random() < world.network.refused / 2:
                result = ConnectionError("503, although it was carried out")
            if world.random.random() >= world.network.lost and world.time >= self.cut_off_until:
                world.after(self.travel_s(), lambda: self.resume(result, turn))

        def begin(turn):
            if world.random.random() >= world.network.lost and world.time >= self.cut_off_until:
                world.after(self.travel_s(), lambda: arrive(turn))
            world.after(timeout_s / self.rate, lambda: self.resume(TimeoutError("no answer"), turn))

        world = self.world
        return await Wait(begin)

    def travel_s(self):
        network, chance = self.world.network, self.world.random
        slow = chance.random() < network.slow
        return chance.expovariate(1 / network.usual_s) + (chance.uniform(0, network.slow_s) if slow else 0.0)

    def scale(self):
        """Now and then change replicas, if the fence says so; the change may be under way as long as it allows."""
        if not self.alive:
            return
        if self.world.time >= self.frozen_until and (within_s := self.elector.write_within_s) > 0:
            self.writes += 1
            took_s = within_s if self.world.random.random() < 0.3 else self.world.random.uniform(0, within_s)
            self.writing_until = self.world.time + took_s / self.rate
        self.world.after(self.world.random.expovariate(1.0), self.scale)

    def freeze(self, seconds):
        self.frozen_until = max(self.frozen_until, self.world.time + seconds)

    def cut_off(self, seconds):
        self.cut_off_until = max(self.cut_off_until, self.world.time + seconds)

    def kill(self):
        self.alive = False
        self.coroutine.close()

    def stop(self):
        """As by SIGTERM: what is being written is given up, then the election is left."""
        if self.alive and self.world.time >= self.frozen_until:
            self.writing_until = min(self.writing_until, self.world.time)
            self.resume(asyncio.CancelledError(), self.turn)


@pytest.fixture
def make_world():
    return World


@pytest.fixture
def make_planner():
    return PlannerProcess


@pytest.fixture
def calm():
    """A network on which nothing goes wrong."""
    return Network(slow=0, lost=0, refused=0)


@pytest.fixture
def times():
    return ElectionTimes()


@pytest.fixture
def make_lease():
    def make(**changes):
        from datetime import UTC, datetime

        moment = datetime(2030, 1, 1, tzinfo=UTC)
        base = Lease(holder="somebody", duration_s=15, acquired=moment, renewed=moment)
        return replace(base, **changes)

    return make
