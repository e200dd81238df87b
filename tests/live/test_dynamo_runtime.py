"""The planner and its clients, against those of NVIDIA Dynamo itself.

They run where DYNAMO_PYTHON names an interpreter that has ai-dynamo-runtime (200 MB; not among the requirements):

    python -m venv /tmp/dynamo && /tmp/dynamo/bin/pip install ai-dynamo-runtime
    DYNAMO_PYTHON=/tmp/dynamo/bin/python python -m pytest tests/live/test_dynamo_runtime.py
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import uuid

import pytest

from connectors.base import Outcome
from connectors.virtual import VirtualConnector, VirtualConnectorClient, VirtualDecision
from connectors.virtual.etcd import DecidingStore, EtcdAccess, EtcdGateway

PYTHON = os.environ.get("DYNAMO_PYTHON")
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="DYNAMO_PYTHON names no interpreter that has ai-dynamo-runtime; it is optional"
)

CLIENT = """
import asyncio, sys
from dynamo._core import DistributedRuntime, VirtualConnectorClient

async def main():
    client = VirtualConnectorClient(DistributedRuntime(asyncio.get_running_loop(), "etcd", "tcp"), sys.argv[1])
    print("ready", flush=True)
    while True:
        await client.wait()
        decision = await client.get()
        print("got", decision.num_prefill_workers, decision.num_decode_workers, decision.decision_id, flush=True)
        await client.complete(decision)

asyncio.run(main())
"""

PLANNER = """
import asyncio, sys
from dynamo._core import DistributedRuntime, VirtualConnectorCoordinator

async def main():
    runtime = DistributedRuntime(asyncio.get_running_loop(), "etcd", "tcp")
    planner = VirtualConnectorCoordinator(runtime, sys.argv[1], 1, 1800, 180)
    await planner.async_init()
    print("ready", flush=True)
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        await planner.update_scaling_decision(*map(int, line.split()))
        state = planner.read_state()
        print("at", state.num_prefill_workers, state.num_decode_workers, state.decision_id, flush=True)

asyncio.run(main())
"""


class Peer:
    """A process of Dynamo's."""

    def __init__(self, process):
        self.process = process

    async def line(self, beginning):
        """The numbers of the next line that begins so; Dynamo logs on the same stream."""
        async with asyncio.timeout(60):
            while line := await self.process.stdout.readline():
                words = line.decode().split()
                if words and words[0] == beginning:
                    return tuple(map(int, words[1:]))
        pytest.fail(f"the peer ended before it said {beginning!r}")

    async def say(self, *numbers):
        self.process.stdin.write((" ".join(map(str, numbers)) + "\n").encode())
        await self.process.stdin.drain()


@pytest.fixture
async def peer(etcd):
    """Starts a process of Dynamo's: ``await peer(CLIENT, namespace)``."""
    started = []

    async def start(script, namespace):
        process = await asyncio.create_subprocess_exec(
            *(PYTHON, "-c", script, namespace),
            env={**os.environ, "ETCD_ENDPOINTS": etcd.url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=sys.stderr.fileno() if sys.stderr.isatty() else asyncio.subprocess.DEVNULL,
        )
        started.append(process)
        peer = Peer(process)
        await peer.line("ready")
        return peer

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture
def namespace():
    return f"dynamo-{uuid.uuid4().hex}"


async def test_dynamos_client_follows_this_planner_and_acknowledges(etcd, namespace, peer, decision):
    client = await peer(CLIENT, namespace)
    store = DecidingStore(EtcdGateway(EtcdAccess(endpoints=[etcd.url])), namespace, now=time.time)
    connector = VirtualConnector(now=time.time, store=store)
    await connector.start()
    for number, targets in enumerate([(2, 3), (4, 5), (0, 6)]):
        assert (await connector.apply(decision(*targets))).outcome is Outcome.APPLIED
        assert await client.line("got") == (*targets, number)
        async with asyncio.timeout(60):
            state = store.state
            while not state.acknowledged:
                state = await store.changed(state)
    await connector.close()


async def test_this_client_follows_dynamos_planner_and_acknowledges(etcd, namespace, peer):
    planner = await peer(PLANNER, namespace)
    async with VirtualConnectorClient.etcd(EtcdAccess(endpoints=[etcd.url]), namespace=namespace) as client:
        for number, targets in enumerate([(2, 3), (4, 5), (1, 1)]):
            async with asyncio.timeout(60):
                # Dynamo drops a decision until it has seen the acknowledgement of the one before.
                await planner.say(*targets)
                while await planner.line("at") != (*targets, number):
                    await asyncio.sleep(0.1)
                    await planner.say(*targets)
                decision = await client.wait()
            assert decision == VirtualDecision(*targets, number)
            await client.complete(decision)


async def test_this_planner_goes_on_where_dynamos_stopped(etcd, namespace, peer, decision):
    planner = await peer(PLANNER, namespace)
    await planner.say(2, 3)
    assert await planner.line("at") == (2, 3, 0)
    store = DecidingStore(EtcdGateway(EtcdAccess(endpoints=[etcd.url])), namespace, now=time.time)
    connector = VirtualConnector(now=time.time, store=store)
    await connector.start()
    assert (await connector.apply(decision(2, 3))).outcome is Outcome.UNCHANGED
    await connector.close()
