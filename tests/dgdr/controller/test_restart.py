"""A controller that ends between any two of its writes is followed by one that does no harm."""

from __future__ import annotations

import asyncio

import pytest

from connectors.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, EVENTS, JOBS
from tests.dgdr.controller.world import Killed, KillingApi, alpha, beta


class Stories:
    """Takes requests to their end, each under a name of its own."""

    def __init__(self, world, server, shape, final, **options):
        self.world, self.server, self.shape, self.final, self.options = world, server, shape, final, options
        self.number = 0

    async def tell(self, *, at=None):
        """How many writes the first controller made, what was created, and the status in the end."""
        self.number += 1
        name = f"r{self.number}"
        begun = len(self.server.log)
        killing = KillingApi(self.world.access, at=at)
        first = self.world.controller(killing)
        await self.world.create(self.shape(name, **self.options))
        while not first.done() and await self.world.state(name) != self.final:
            await asyncio.sleep(0.005)
        if first.done():
            assert first.exception().subgroup(Killed)
            self.world.forget(first)
            first = self.world.controller()
        status = (await self.world.until(self.final, name))["status"]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        self.world.forget(first)
        for condition in status["conditions"]:
            del condition["lastTransitionTime"]
        created = [entry for entry in list(self.server.log)[begun:] if entry[2] == "ADDED"]
        # Names of events have a part that follows from the identity of the request.
        made = sorted((key[1], "" if key[1] == EVENTS.plural else key[3].replace(name, "r")) for _, key, *_ in created)
        reasons = sorted(body["reason"] for _, key, _, body in created if key[1] == EVENTS.plural)
        return killing.writes, (made, reasons, repr(status).replace(name, "r"))


@pytest.mark.parametrize(
    ("shape", "online", "final"), [(alpha, False, "Ready"), (alpha, True, "Ready"), (beta, True, "Deployed")]
)
async def test_killed_at_every_step(world, fake, shape, online, final):
    stories = Stories(world, fake, shape, final, online=online)
    writes, expected = await stories.tell()
    kinds = [kind for kind, _ in expected[0]]
    assert kinds.count(DEPLOYMENTS.plural) == 1
    assert kinds.count(JOBS.plural) == online
    assert kinds.count(CONFIG_MAPS.plural) == 2
    assert kinds.count(EVENTS.plural) == len(set(expected[1])) >= 5
    assert writes > 10
    # Ending right after a write leaves what ending right before the next one does.
    for at in range(1, writes + 1):
        _, found = await stories.tell(at=at)
        assert found == expected, f"killed before write {at}"
