"""The client for programs without an event loop; the planner runs on the test's."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
import threading
import time

import pytest

from connectors.virtual import BlockingVirtualClient, VirtualClientError, VirtualConnectorClient, VirtualDecision
from planner import Workers


@pytest.fixture
async def client(connector):
    client = await asyncio.to_thread(BlockingVirtualClient, lambda: VirtualConnectorClient.connect(connector.url))
    yield client
    await asyncio.to_thread(client.close)


async def test_the_same_calls_block(client, connector, decision):
    assert await asyncio.to_thread(client.get) == VirtualDecision(-1, -1, -1)
    waiting = asyncio.ensure_future(asyncio.to_thread(client.wait))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await connector.apply(decision(3, 5))
    assert await asyncio.wait_for(waiting, 10) == VirtualDecision(3, 5, 0)
    await asyncio.to_thread(client.complete, VirtualDecision(3, 5, 0))
    assert connector.store.state.acknowledged
    await asyncio.to_thread(lambda: client.report_workers(prefill=Workers(3), decode=Workers(4, pending=1)))
    assert (await connector.workers()).decode == Workers(4, pending=1)


async def test_a_wait_may_have_a_limit(client, connector, decision):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(client.wait, 0.1)
    assert time.monotonic() - began < 5
    await connector.apply(decision(3, 5))
    assert await asyncio.to_thread(client.wait, 10) == VirtualDecision(3, 5, 0)


async def test_every_decision_is_followed(client, connector, decision):
    await connector.apply(decision(3, 5))

    def follow():
        seen = []
        for newest in itertools.islice(client, 2):
            seen.append(newest.targets)
            client.complete(newest)
        return seen

    following = asyncio.ensure_future(asyncio.to_thread(follow))
    while not connector.store.state.acknowledged:
        await asyncio.sleep(0.02)
    await connector.apply(decision(4, 6))
    assert await asyncio.wait_for(following, 10) == [(3, 5), (4, 6)]


async def test_what_the_planner_refuses_is_raised(client):
    with pytest.raises(VirtualClientError, match="never made"):
        await asyncio.to_thread(client.complete, VirtualDecision(1, 1, 4))


async def test_several_threads_may_wait(client, connector, decision):
    waiting = [asyncio.ensure_future(asyncio.to_thread(client.wait)) for _ in range(4)]
    await asyncio.sleep(0.1)
    await connector.apply(decision(3, 5))
    assert set(await asyncio.wait_for(asyncio.gather(*waiting), 10)) == {VirtualDecision(3, 5, 0)}


async def test_a_closed_client_says_so_and_leaves_no_thread(connector):
    def use():
        with BlockingVirtualClient(lambda: VirtualConnectorClient.connect(connector.url)) as client:
            client.get()
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.get()

    await asyncio.to_thread(use)
    assert "virtual-client" not in {thread.name for thread in threading.enumerate()}


def test_a_client_that_cannot_be_made_leaves_no_thread():
    def fail():
        raise ValueError("no such planner")

    with pytest.raises(ValueError, match="no such planner"):
        BlockingVirtualClient(fail)
    assert "virtual-client" not in {thread.name for thread in threading.enumerate()}


async def test_ctrl_c_ends_a_script_that_waits(connector):
    script = (
        # Who runs tests in the background has Ctrl-C ignored, and children inherit that.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from connectors.virtual import BlockingVirtualClient, VirtualConnectorClient\n"
        "with BlockingVirtualClient(lambda: VirtualConnectorClient.connect(sys.argv[1])) as client:\n"
        "    client.get(); print('waiting', flush=True); client.wait()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", script, connector.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert await process.stdout.readline() == b"waiting\n"
    await asyncio.sleep(0.3)  # until it does wait
    process.send_signal(signal.SIGINT)
    _, shown = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == -signal.SIGINT, shown
    assert b"KeyboardInterrupt" in shown
