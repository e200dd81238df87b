import asyncio
import errno
import uuid

import pytest

from connectors.virtual import (
    EmbeddedStore,
    Listen,
    VirtualClientError,
    VirtualConnectorClient,
    VirtualDecision,
)
from connectors.virtual import store as store_module
from connectors.virtual.etcd import DecidingStore, EtcdAccess, EtcdGateway
from planner import Workers

BEFORE_THE_FIRST = VirtualDecision(-1, -1, -1)


def unique_namespace():
    return f"test-{uuid.uuid4().hex}"


def soon(awaitable):
    """What should happen within moments; over a broken connection a client may take a few tries."""
    return asyncio.wait_for(awaitable, 5)


@pytest.fixture(params=["in process", "over HTTP", "etcd"])
def way(request):
    """How a client reaches the planner."""
    return request.param


@pytest.fixture
def etcd_access(request):
    return EtcdAccess(endpoints=[request.getfixturevalue("etcd").url])


@pytest.fixture
async def connector(request, way, make_connector, clock):
    """A started connector that clients reach in that way."""
    store = None
    if way == "etcd":
        store = DecidingStore(EtcdGateway(request.getfixturevalue("etcd_access")), unique_namespace(), now=clock.now)
    connector = make_connector(store=store, listen=Listen("127.0.0.1", 0))
    await connector.start()
    return connector


@pytest.fixture
async def connect(request, way, connector):
    """Make clients of the connector, reached in that way."""
    made = []

    def make():
        if way == "etcd":
            access = request.getfixturevalue("etcd_access")
            client = VirtualConnectorClient.etcd(access, namespace=connector.store.namespace)
        elif way == "over HTTP":
            client = VirtualConnectorClient.connect(connector.url)
        else:
            client = VirtualConnectorClient(connector.store)
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()


@pytest.fixture
def client(connect):
    return connect()


@pytest.fixture
def make_planner(make_connector, state_file, port):
    """Make planners that come one after the other, on one port and with one file."""

    def make(**options):
        return make_connector(store=EmbeddedStore(state_file), listen=Listen("127.0.0.1", port), **options)

    return make


@pytest.fixture
async def remote(port):
    """A client of the planner on that port, whether it is there or not."""
    async with VirtualConnectorClient.connect(f"http://127.0.0.1:{port}") as client:
        yield client


async def test_before_the_first_decision_everything_is_minus_one(client):
    assert await client.get() == BEFORE_THE_FIRST


async def test_the_newest_decision_is_got_completed_or_not(client, connector, decision):
    await connector.apply(decision(3, 5))
    assert await client.get() == VirtualDecision(3, 5, 0)
    await client.complete(VirtualDecision(3, 5, 0))
    assert await client.get() == VirtualDecision(3, 5, 0)


async def test_a_decision_that_is_outstanding_is_had_at_once(client, connector, decision):
    await connector.apply(decision(3, 5))
    for _ in range(2):
        assert await asyncio.wait_for(client.wait(), 1) == VirtualDecision(3, 5, 0)


async def test_waiting_lasts_until_a_decision_comes(client, connector, decision):
    waiting = asyncio.ensure_future(client.wait())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await connector.apply(decision(3, 5))
    assert await asyncio.wait_for(waiting, 1) == VirtualDecision(3, 5, 0)


async def test_a_completed_decision_is_not_had_again(client, connector, decision):
    await connector.apply(decision(3, 5))
    await client.complete(await client.wait())
    waiting = asyncio.ensure_future(client.wait())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await connector.apply(decision(4, 6))
    assert await asyncio.wait_for(waiting, 1) == VirtualDecision(4, 6, 1)


async def test_only_a_decision_ends_the_waiting(client, connector, decision):
    waiting = asyncio.ensure_future(client.wait())
    await asyncio.sleep(0.05)
    await client.report_workers(prefill=Workers(3))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await connector.apply(decision(3, 5))
    assert await asyncio.wait_for(waiting, 1) == VirtualDecision(3, 5, 0)


async def test_waiting_can_be_cancelled(client, connector, decision):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.wait(), 0.1)
    await connector.apply(decision(3, 5))
    assert await soon(client.wait()) == VirtualDecision(3, 5, 0)


async def test_completing_lets_the_next_decision_out(client, connector, decision):
    await connector.apply(decision(3, 5))
    assert not (await connector.store.read()).acknowledged
    await client.complete(await client.wait())
    assert (await connector.store.read()).acknowledged
    await connector.apply(decision(4, 6))
    assert await client.get() == VirtualDecision(4, 6, 1)


async def test_completing_twice_changes_nothing(client, connector, decision):
    await connector.apply(decision(3, 5))
    newest = await client.wait()
    await client.complete(newest)
    before = await connector.store.read()
    await client.complete(newest)
    assert await connector.store.read() == before


async def test_completing_an_older_decision_leaves_the_newest_outstanding(client, connector, decision, clock):
    await connector.apply(decision(3, 5))
    first = await client.wait()
    clock.time += 600.0
    await connector.apply(decision(4, 6))
    await client.complete(first)
    assert (await connector.store.read()).scaled_decision_id == 0
    second = await soon(client.wait())
    assert second == VirtualDecision(4, 6, 1)
    await client.complete(second)
    await client.complete(first)
    assert (await connector.store.read()).scaled_decision_id == 1


@pytest.mark.parametrize("number", [-1, 1, 7])
async def test_completing_a_decision_that_was_never_made_is_refused(client, connector, decision, number):
    await connector.apply(decision(3, 5))
    with pytest.raises(VirtualClientError, match="decision"):
        await soon(client.complete(VirtualDecision(3, 5, number)))
    assert (await connector.store.read()).scaled_decision_id == -1


async def test_completing_before_the_first_decision_is_refused(client):
    with pytest.raises(VirtualClientError, match="decision 0 was never made; there is none yet"):
        await soon(client.complete(VirtualDecision(1, 1, 0)))


async def test_reported_workers_reach_the_planner(client, connector):
    await client.report_workers(prefill=Workers(3, pending=1), decode=Workers(5, draining=2))
    assert (await connector.workers()).prefill == Workers(3, pending=1)
    assert (await connector.workers()).decode == Workers(5, draining=2)


async def test_a_pool_that_is_left_out_of_a_report_stays_as_it_was(client, connector):
    await client.report_workers(prefill=Workers(3))
    assert (await connector.workers()).decode is None
    await client.report_workers(decode=Workers(5))
    assert (await connector.workers()).prefill == Workers(3)
    await client.report_workers(prefill=Workers(0))
    assert (await connector.workers()).prefill == Workers(0)


async def test_every_decision_is_followed(client, connector, decision):
    await connector.apply(decision(1, 10))
    seen = []

    async def follow():
        async for newest in client:
            seen.append(newest.targets)
            await client.complete(newest)
            if len(seen) == 4:
                return
            await connector.apply(decision(len(seen) + 1, 10))

    await soon(follow())
    assert seen == [(1, 10), (2, 10), (3, 10), (4, 10)]


async def test_a_decision_that_was_not_completed_comes_again(client, connector, decision):
    await connector.apply(decision(3, 5))
    seen = []

    async def follow():
        async for newest in client:
            seen.append(newest.decision_id)
            if len(seen) == 3:
                return

    await soon(follow())
    assert seen == [0, 0, 0]


async def test_two_clients_follow_one_planner(connect, connector, decision):
    one, other = connect(), connect()
    waiting = [asyncio.ensure_future(client.wait()) for client in (one, other)]
    await asyncio.sleep(0.1)
    await connector.apply(decision(3, 5))
    assert await asyncio.wait_for(asyncio.gather(*waiting), 1) == [VirtualDecision(3, 5, 0)] * 2
    await asyncio.gather(*(client.complete(VirtualDecision(3, 5, 0)) for client in (one, other)))
    assert (await connector.store.read()).acknowledged
    await one.close()
    assert await other.get() == VirtualDecision(3, 5, 0)


async def test_closing_a_client_leaves_the_planner(connect, connector, decision):
    async with connect() as client:
        await client.get()
    await connector.apply(decision(3, 5))
    assert await connect().get() == VirtualDecision(3, 5, 0)


async def test_a_planner_that_is_not_there_yet_is_waited_for(make_planner, remote, decision):
    waiting = asyncio.ensure_future(remote.wait())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    planner = make_planner()
    await planner.start()
    await planner.apply(decision(3, 5))
    assert await soon(waiting) == VirtualDecision(3, 5, 0)


async def test_a_planner_that_goes_away_and_comes_back_is_followed_on(make_planner, remote, decision):
    first = make_planner()
    await first.start()
    await first.apply(decision(3, 5))
    await remote.complete(await soon(remote.wait()))
    waiting = asyncio.ensure_future(remote.wait())
    await asyncio.sleep(0.1)
    await first.close()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    second = make_planner()
    await second.start()
    await second.apply(decision(4, 6))
    assert await soon(waiting) == VirtualDecision(4, 6, 1)


async def test_a_decision_can_be_completed_after_the_planner_came_back(make_planner, remote, decision):
    first = make_planner()
    await first.start()
    await first.apply(decision(3, 5))
    newest = await soon(remote.wait())
    await first.close()
    completing = asyncio.ensure_future(remote.complete(newest))
    await asyncio.sleep(0.05)
    assert not completing.done()
    second = make_planner()
    await second.start()
    await soon(completing)
    assert second.store.state.acknowledged
    assert second.store.state.completed == (3, 5)


async def test_a_disk_that_is_full_for_a_moment_is_waited_for(make_planner, remote, decision, monkeypatch):
    planner = make_planner()
    await planner.start()
    await planner.apply(decision(3, 5))

    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_replace", full)
        completing = asyncio.ensure_future(remote.complete(VirtualDecision(3, 5, 0)))
        await asyncio.sleep(0.1)
        assert not completing.done()
    await soon(completing)
    assert planner.store.state.acknowledged


@pytest.mark.parametrize("token", [None, "", "wrong"])
async def test_a_wrong_token_is_refused_at_once(make_planner, port, token):
    await make_planner(token="right").start()
    async with VirtualConnectorClient.connect(f"http://127.0.0.1:{port}", token=token) as client:
        for attempt in (client.get, client.wait, lambda: client.complete(BEFORE_THE_FIRST)):
            with pytest.raises(VirtualClientError, match="HTTP 401 show the bearer token"):
                await soon(attempt())


@pytest.mark.parametrize("token", ["right", " right\n", "schlüssel"])
async def test_tokens_with_blanks_around_or_letters_beyond_ascii(make_planner, port, token):
    await make_planner(token=token.strip()).start()
    async with VirtualConnectorClient.connect(f"http://127.0.0.1:{port}", token=token) as client:
        assert await soon(client.get()) == BEFORE_THE_FIRST


@pytest.mark.parametrize("url", ["127.0.0.1:9086", "ftp://127.0.0.1"])
async def test_an_address_that_can_never_work_is_refused(url):
    async with VirtualConnectorClient.connect(url) as client:
        with pytest.raises(VirtualClientError):
            await soon(client.get())


async def test_reporting_nothing_changes_nothing(make_planner, port):
    planner = make_planner()
    await planner.start()
    async with VirtualConnectorClient.connect(f"http://127.0.0.1:{port}") as client:
        await soon(client.report_workers())
    assert planner.store.state.prefill is None


async def test_the_right_token_is_let_in(make_planner, port, decision):
    planner = make_planner(token="right")
    await planner.start()
    await planner.apply(decision(3, 5))
    async with VirtualConnectorClient.connect(f"http://127.0.0.1:{port}", token="right") as client:
        await client.complete(await soon(client.wait()))
    assert planner.store.state.acknowledged


async def test_a_refusal_says_what_was_asked(make_planner, remote):
    await make_planner().start()
    with pytest.raises(VirtualClientError, match=r"^POST /api/v1/decision/7/complete: HTTP 404 decision 7 was never"):
        await soon(remote.complete(VirtualDecision(1, 1, 7)))
