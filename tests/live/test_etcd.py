"""Virtual mode through a real etcd, watched and driven by a plain HTTP client that knows only Dynamo's keys."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
import time
import uuid

import httpx
import pytest

from connectors.base import ConnectorError, Outcome
from connectors.virtual import VirtualClientError, VirtualConnector, VirtualConnectorClient, VirtualDecision
from connectors.virtual.etcd import DecidingStore, EtcdAccess, EtcdError, EtcdGateway, FollowingStore
from planner import Workers
from tests.waiting import until

PATIENCE_S = 20.0


def soon(awaitable):
    return asyncio.wait_for(awaitable, PATIENCE_S)


class Wire:
    """etcd by its own HTTP gateway, without a line of the code under test."""

    def __init__(self, url, namespace, headers=None, **options):
        self.http = httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, **options)
        self.prefix = f"v1/{namespace}/planner/"

    async def call(self, path, **body):
        response = await self.http.post(f"/v3/{path}", json=body)
        return response.raise_for_status().json()

    async def everything(self, prefix=None):
        """Value, lease and revision of every key below Dynamo's prefix."""
        first = (prefix or self.prefix).encode()
        end = first[:-1] + bytes([first[-1] + 1])
        answer = await self.call("kv/range", key=b64(first), range_end=b64(end))
        return {
            base64.b64decode(pair["key"]).decode().removeprefix(self.prefix): (
                base64.b64decode(pair["value"]).decode(),
                int(pair.get("lease", 0)),
                int(pair["mod_revision"]),
            )
            for pair in answer.get("kvs", ())
        }

    async def values(self):
        return {name: value for name, (value, _, _) in (await self.everything()).items()}

    async def put(self, lease=0, **values):
        """Write values as one transaction, as Dynamo does."""
        puts = [
            {
                "requestPut": {
                    "key": b64((self.prefix + name).encode()),
                    "value": b64(str(value).encode()),
                    "lease": lease,
                }
            }
            for name, value in values.items()
        ]
        await self.call("kv/txn", success=puts)

    async def delete(self, name):
        await self.call("kv/deleterange", key=b64((self.prefix + name).encode()))

    async def lease(self, seconds=30):
        return (await self.call("lease/grant", TTL=seconds))["ID"]

    async def revoke(self, lease):
        await self.call("lease/revoke", ID=str(lease))

    async def ttl(self, lease):
        return int((await self.call("lease/timetolive", ID=str(lease)))["grantedTTL"])

    async def compact(self):
        revision = (await self.call("kv/range", key=b64(b"x")))["header"]["revision"]
        await self.call("kv/compaction", revision=revision, physical=True)


def b64(data):
    return base64.b64encode(data).decode()


@pytest.fixture
def namespace():
    return f"live-{uuid.uuid4().hex}"


@pytest.fixture
async def wire(etcd, namespace):
    wire = Wire(etcd.url, namespace)
    yield wire
    await wire.http.aclose()


@pytest.fixture
async def planner(etcd, namespace):
    """Makes planners, that is connectors that have started: ``await planner()``."""
    made = []

    async def make(url=etcd.url, lease_ttl_s=30, **options):
        access = options.pop("access", EtcdAccess(endpoints=[url]))
        store = DecidingStore(EtcdGateway(access), namespace, now=time.time, lease_ttl_s=lease_ttl_s)
        connector = VirtualConnector(now=time.time, store=store, **options)
        made.append(connector)
        await connector.start()
        return connector

    yield make
    for connector in made:
        await connector.close()


@pytest.fixture
async def orchestrator(etcd, namespace):
    """Makes clients: ``orchestrator()``."""
    made = []

    def make(url=etcd.url, lease_ttl_s=30, access=None):
        access = access or EtcdAccess(endpoints=[url])
        client = VirtualConnectorClient.etcd(access, namespace=namespace, lease_ttl_s=lease_ttl_s)
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()


async def crash(store):
    """The process of a store is gone from one moment to the next: nothing is kept alive, nothing given back."""
    for task in store._tasks:
        task.cancel()
    await asyncio.gather(*store._tasks, return_exceptions=True)
    store._tasks = []


# On the wire, as Dynamo's client and planner see it.


async def test_nothing_is_written_before_the_first_decision(planner, wire):
    await planner()
    assert await wire.everything() == {}


async def test_a_decision_is_three_keys_in_one_transaction_on_one_lease(planner, wire, decision):
    connector = await planner()
    assert (await connector.apply(decision(3, 5))).outcome is Outcome.APPLIED
    kept = await wire.everything()
    assert {name: value for name, (value, _, _) in kept.items()} == {
        "num_prefill_workers": "3",
        "num_decode_workers": "5",
        "decision_id": "0",
    }
    assert len({revision for _, _, revision in kept.values()}) == 1
    (lease,) = {lease for _, lease, _ in kept.values()}
    assert await wire.ttl(lease) == 30


async def test_dynamos_client_lets_the_next_decision_out(planner, wire, decision):
    connector = await planner()
    await connector.apply(decision(3, 5))
    assert (await connector.apply(decision(4, 6))).outcome is Outcome.WAITING
    assert (await wire.values())["decision_id"] == "0"
    await wire.put(await wire.lease(), scaled_decision_id=0)
    assert (await connector.apply(decision(4, 6))).outcome is Outcome.APPLIED
    assert await wire.values() == {
        "num_prefill_workers": "4",
        "num_decode_workers": "6",
        "decision_id": "1",
        "scaled_decision_id": "0",
    }


async def test_the_same_targets_again_write_nothing(planner, wire, decision):
    connector = await planner()
    await connector.apply(decision(3, 5))
    before = await wire.everything()
    assert (await connector.apply(decision(3, 5))).outcome is Outcome.UNCHANGED
    assert await wire.everything() == before


async def test_an_aggregated_deployment_has_no_prefill_workers(planner, orchestrator, wire, decision):
    await (await planner()).apply(decision(0, 4))
    assert (await wire.values())["num_prefill_workers"] == "0"
    assert await soon(orchestrator().wait()) == VirtualDecision(0, 4, 0)


async def test_a_dynamo_planner_is_followed_and_acknowledged(orchestrator, wire):
    client = orchestrator()
    assert await client.get() == VirtualDecision(-1, -1, -1)
    waiting = asyncio.ensure_future(client.wait())
    lease = await wire.lease()
    await wire.put(lease, num_prefill_workers=2, num_decode_workers=7, decision_id=0)
    assert await soon(waiting) == VirtualDecision(2, 7, 0)
    await client.complete(VirtualDecision(2, 7, 0))
    value, own_lease, _ = (await wire.everything())["scaled_decision_id"]
    assert value == "0"
    assert own_lease not in {0, int(lease)}
    assert await wire.ttl(own_lease) == 30
    await wire.put(lease, num_prefill_workers=3, num_decode_workers=7, decision_id=1)
    assert await soon(client.wait()) == VirtualDecision(3, 7, 1)


async def test_a_dynamo_planner_that_lost_its_count_is_followed_on(orchestrator, wire):
    client = orchestrator()
    await wire.put(num_prefill_workers=2, num_decode_workers=7, decision_id=41)
    await client.complete(await soon(client.wait()))
    await wire.put(num_prefill_workers=1, num_decode_workers=1, decision_id=0)
    again = await soon(client.wait())
    assert again == VirtualDecision(1, 1, 0)
    await client.complete(again)
    assert (await wire.values())["scaled_decision_id"] == "0"


@pytest.mark.parametrize("value", ["", "three", "-1", "1.5", "9" * 30, "²"])
async def test_values_that_make_no_sense_count_as_not_there(orchestrator, wire, value):
    await wire.put(num_prefill_workers=2, num_decode_workers=value, decision_id=0)
    assert await orchestrator().get() == VirtualDecision(-1, -1, -1)


async def test_our_planner_goes_on_where_a_dynamo_planner_stopped(planner, wire, decision):
    await wire.put(await wire.lease(), num_prefill_workers=2, num_decode_workers=7, decision_id=4)
    connector = await planner()
    assert (await connector.apply(decision(2, 7))).outcome is Outcome.UNCHANGED
    await wire.put(scaled_decision_id=4)
    await connector.apply(decision(3, 7))
    assert (await wire.values())["decision_id"] == "5"


async def test_a_number_that_was_acknowledged_before_is_not_used_again(planner, orchestrator, wire, decision):
    """A planner without memory must not make decisions that every client takes for done."""
    await wire.put(scaled_decision_id=9)
    connector = await planner()
    await connector.apply(decision(3, 5))
    assert await soon(orchestrator().wait()) == VirtualDecision(3, 5, 10)


# Leases.


async def test_a_restarted_planner_reads_the_state_back(planner, orchestrator, wire, decision):
    first = await planner()
    await first.apply(decision(3, 5))
    await first.close()
    assert (await wire.values())["decision_id"] == "0", "the decision stands while the planner restarts"
    second = await planner()
    assert (await second.apply(decision(3, 5))).outcome is Outcome.UNCHANGED
    client = orchestrator()
    await client.complete(await soon(client.wait()))
    await second.apply(decision(4, 5))
    assert await soon(client.wait()) == VirtualDecision(4, 5, 1)


async def test_keys_vanish_with_their_writer_and_the_next_planner_goes_on_counting(
    planner, orchestrator, wire, decision
):
    first = await planner(lease_ttl_s=2)
    await first.apply(decision(3, 5))
    client = orchestrator()
    newest = await soon(client.wait())
    await crash(first.store)
    await until(lambda: _empty(wire))
    assert await client.get() == VirtualDecision(-1, -1, -1)
    await client.complete(newest)  # carried out, though who ordered it is gone
    second = await planner()
    assert (await second.workers()).decode == Workers(5)
    await second.apply(decision(6, 6))
    assert await soon(client.wait()) == VirtualDecision(6, 6, 1)


async def _empty(wire):
    return await wire.values() == {}


async def test_a_second_planner_stands_by_and_takes_over_when_the_first_is_gone(planner, orchestrator, decision):
    first = await planner(lease_ttl_s=2)
    await first.apply(decision(3, 5))
    second = await planner()
    assert not second.leading
    standby = await second.apply(decision(9, 9))
    assert standby.outcome is Outcome.STANDBY
    assert "this planner stands by" in standby.detail
    assert (await second.workers()).decode == (await first.workers()).decode, "it sees what runs all the same"
    await crash(first.store)
    await until(lambda: second.leading and second.store._led)
    client = orchestrator()
    await client.complete(await soon(client.wait()))
    await second.apply(decision(9, 9))
    assert await soon(client.wait()) == VirtualDecision(9, 9, 1)
    assert (await first.apply(decision(1, 1))).outcome is Outcome.STANDBY


async def test_closing_a_planner_hands_over_at_once(planner):
    first = await planner(lease_ttl_s=600)
    second = await planner()
    assert not second.leading
    await first.close()
    await until(lambda: second.leading)


async def test_a_lost_lease_is_no_lost_decision(planner, orchestrator, wire, decision):
    connector = await planner()
    await connector.apply(decision(3, 5))
    client = orchestrator()
    await client.complete(await soon(client.wait()))
    await client.report_workers(prefill=Workers(3), decode=Workers(4, pending=1))
    before = await wire.everything()
    for lease in {lease for _, lease, _ in before.values()}:
        await wire.revoke(lease)
    expected = {name: value for name, (value, _, _) in before.items()}
    await until(lambda: _same(wire, expected))
    after = await wire.everything()
    assert not {lease for _, lease, _ in after.values()} & {lease for _, lease, _ in before.values()}
    assert 0 not in {lease for _, lease, _ in after.values()}
    await until(lambda: _workers(connector, Workers(4, pending=1)))


async def _same(wire, expected):
    return await wire.values() == expected


async def _workers(connector, decode):
    try:
        return (await connector.workers()).decode == decode
    except ConnectorError:
        return False


async def test_a_key_deleted_by_hand_comes_back(planner, wire, decision):
    connector = await planner()
    await connector.apply(decision(3, 5))
    await wire.delete("decision_id")
    await until(lambda: _has(wire, "decision_id", "0"))


async def _has(wire, name, value):
    return (await wire.values()).get(name) == value


async def test_an_acknowledgement_lives_as_long_as_its_client(planner, orchestrator, etcd, namespace, decision):
    connector = await planner()
    await connector.apply(decision(3, 5))
    script = (
        "import sys, time\n"
        "from connectors.virtual import BlockingVirtualClient, VirtualConnectorClient\n"
        "from connectors.virtual.etcd import EtcdAccess\n"
        "access = EtcdAccess(endpoints=[sys.argv[1]])\n"
        "make = lambda: VirtualConnectorClient.etcd(access, namespace=sys.argv[2], lease_ttl_s=2)\n"
        "client = BlockingVirtualClient(make)\n"
        "client.complete(client.wait())\n"
        "print('completed', flush=True)\n"
        "time.sleep(600)"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, etcd.url, namespace), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert await soon(process.stdout.readline()) == b"completed\n"
        other = orchestrator()
        assert await other.get() == VirtualDecision(3, 5, 0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other.wait(), 2.5)
    finally:
        process.kill()
        await process.wait()
    assert await soon(other.wait()) == VirtualDecision(3, 5, 0), "somebody else has to see to it now"
    assert (await connector.store.read()).acknowledged, "the planner remembers"
    await other.complete(VirtualDecision(3, 5, 0))
    assert (await connector.apply(decision(4, 5))).outcome is Outcome.APPLIED


async def test_a_report_lives_as_long_as_its_client(planner, orchestrator):
    connector = await planner()
    client = orchestrator(lease_ttl_s=2)
    await client.report_workers(decode=Workers(4))
    assert (await connector.workers()).decode == Workers(4)
    await crash(client._link._store)
    await until(lambda: _workers(connector, None))


# Outages.


async def test_an_etcd_that_restarts_is_waited_for(planner, orchestrator, etcd_servers, decision):
    (server,) = etcd_servers()
    connector, client = await planner(server.url), orchestrator(server.url)
    await connector.apply(decision(3, 5))
    await client.complete(await soon(client.wait()))
    waiting = asyncio.ensure_future(client.wait())
    await asyncio.sleep(0.1)
    server.stop()
    assert (await connector.workers()).decode == Workers(5), "what was last seen"
    with pytest.raises(ConnectorError, match="does not answer"):
        await connector.apply(decision(4, 5))
    await asyncio.to_thread(server.start)
    await until(lambda: _applied(connector, decision(4, 5)))
    assert await soon(waiting) == VirtualDecision(4, 5, 1)
    await soon(client.complete(VirtualDecision(4, 5, 1)))
    assert (await connector.store.read()).acknowledged


async def _applied(connector, decision):
    with contextlib.suppress(ConnectorError):
        return (await connector.apply(decision)).outcome in {Outcome.APPLIED, Outcome.UNCHANGED}


async def test_an_etcd_that_lost_everything_is_filled_again(planner, orchestrator, etcd_servers, namespace, decision):
    (server,) = etcd_servers()
    connector, client = await planner(server.url), orchestrator(server.url)
    await connector.apply(decision(3, 5))
    await client.complete(await soon(client.wait()))
    server.stop()
    server.wipe()
    await asyncio.to_thread(server.start)
    wire = Wire(server.url, namespace)
    expected = {
        "num_prefill_workers": "3",
        "num_decode_workers": "5",
        "decision_id": "0",
        "scaled_decision_id": "0",
    }
    await until(lambda: _same(wire, expected))
    await wire.http.aclose()


async def test_a_planner_starts_before_its_etcd(planner, orchestrator, etcd_servers, decision):
    (server,) = etcd_servers(started=False)
    client = orchestrator(server.url)
    waiting = asyncio.ensure_future(client.wait())
    connector = await planner(server.url)
    assert "does not answer" in connector.warnings[0]
    with pytest.raises(ConnectorError, match="does not answer"):
        await connector.apply(decision(3, 5))
    await asyncio.to_thread(server.start)
    await until(lambda: _applied(connector, decision(3, 5)))
    assert await soon(waiting) == VirtualDecision(3, 5, 0)


async def test_a_compaction_between_reading_and_watching_is_survived(etcd, namespace, wire):
    class Unlucky(EtcdGateway):
        """Whose every first read is history before its watch begins."""

        unlucky = True

        async def read(self, first, end):
            snapshot = await super().read(first, end)
            if self.unlucky:
                self.unlucky = False
                await wire.put(num_prefill_workers=1, num_decode_workers=2, decision_id=0)
                await wire.put(num_prefill_workers=3, num_decode_workers=4, decision_id=1)
                await wire.compact()
            return snapshot

    store = FollowingStore(Unlucky(EtcdAccess(endpoints=[etcd.url])), namespace)
    await store.start()
    try:
        state = store.state
        while state.decision.decision_id < 1:
            state = await soon(store.changed(state))
        assert state.decision == VirtualDecision(3, 4, 1)
    finally:
        await store.close()


async def test_compaction_of_the_whole_history_disturbs_nobody(planner, orchestrator, wire, decision):
    connector, client = await planner(), orchestrator()
    for number in range(3):
        await connector.apply(decision(number + 1, 5))
        await wire.compact()
        newest = await soon(client.wait())
        assert newest == VirtualDecision(number + 1, 5, number)
        await client.complete(newest)


async def test_a_member_that_fails_is_left_for_another(planner, orchestrator, etcd_servers, decision):
    servers = etcd_servers(3)
    urls = [server.url for server in servers]
    access = EtcdAccess(endpoints=urls, timeout_s=1.0)
    connector, client = await planner(access=access), orchestrator(access=access)
    await connector.apply(decision(3, 5))
    await client.complete(await soon(client.wait()))
    waiting = asyncio.ensure_future(client.wait())
    await asyncio.sleep(0.1)
    servers[0].stop()  # the first endpoint of both, and perhaps the leader
    await until(lambda: _applied(connector, decision(4, 5)))
    assert await soon(waiting) == VirtualDecision(4, 5, 1)
    servers[1].stop()  # no majority: nothing can be decided any more, and nothing breaks
    assert not await _applied(connector, decision(5, 5))
    await asyncio.to_thread(servers[1].start)
    await soon(client.complete(VirtualDecision(4, 5, 1)))
    await until(lambda: _applied(connector, decision(5, 5)))
    assert await soon(client.wait()) == VirtualDecision(5, 5, 2)


async def test_who_waits_asks_nothing(orchestrator, planner, etcd_servers, decision):
    """Waiting is a watch: etcd is not asked again and again."""
    (server,) = etcd_servers()
    connector, client = await planner(server.url, lease_ttl_s=600), orchestrator(server.url, lease_ttl_s=600)
    waiting = asyncio.ensure_future(client.wait())
    await asyncio.sleep(0.3)
    before = await _calls(server.url)
    await asyncio.sleep(1.0)
    assert await _calls(server.url) == before
    await connector.apply(decision(3, 5))
    assert await soon(waiting) == VirtualDecision(3, 5, 0)


async def _calls(url):
    async with httpx.AsyncClient(trust_env=False) as http:
        page = (await http.get(f"{url}/metrics")).text
    return [
        line for line in page.splitlines() if line.startswith("grpc_server_started_total") and not line.endswith(" 0")
    ]


# Who may.


async def test_user_and_password(planner, orchestrator, etcd_servers, namespace, decision):
    (server,) = etcd_servers()
    await _enable_auth(Wire(server.url, namespace), namespace)
    access = EtcdAccess(endpoints=[server.url], username="planner", password="secret")
    connector, client = await planner(access=access), orchestrator(access=access)
    await connector.apply(decision(3, 5))
    await client.complete(await soon(client.wait()))
    server.stop()
    await asyncio.to_thread(server.start)  # forgets every token it gave
    await until(lambda: _applied(connector, decision(4, 5)))
    assert await soon(client.wait()) == VirtualDecision(4, 5, 1)
    assert "etcd 3" in await connector.store.check()
    wrong = EtcdAccess(endpoints=[server.url], username="planner", password="guess")
    with pytest.raises(EtcdError, match="authentication failed"):
        await planner(access=wrong)
    with pytest.raises(VirtualClientError, match="authentication failed"):
        await soon(orchestrator(access=wrong).wait())
    stranger = EtcdAccess(endpoints=[server.url])
    with pytest.raises(VirtualClientError, match="user name is empty"):
        await soon(orchestrator(access=stranger).get())
    other = FollowingStore(EtcdGateway(access), "somebody-elses")
    with pytest.raises(EtcdError, match="permission denied"):
        await other.start()
    await other.close()
    assert "secret" not in repr(access)


async def _enable_auth(wire, namespace):
    await wire.call("auth/user/add", name="root", password="root")
    await wire.call("auth/user/grant", user="root", role="root")
    await wire.call("auth/role/add", name="planner")
    first, end = f"v1/{namespace}/planner-sla/", f"v1/{namespace}/planner0"
    permission = {"permType": "READWRITE", "key": b64(first.encode()), "range_end": b64(end.encode())}
    await wire.call("auth/role/grant", name="planner", perm=permission)
    await wire.call("auth/user/add", name="planner", password="secret")
    await wire.call("auth/user/grant", user="planner", role="planner")
    await wire.call("auth/enable")
    await wire.http.aclose()


async def test_tls_with_client_certificates(planner, orchestrator, etcd_servers, tls, decision):
    (server,) = etcd_servers(scheme="https", options=tls.etcd_options)
    access = EtcdAccess(
        endpoints=[server.url], ca_file=tls.ca_file, cert_file=tls.client_cert_file, key_file=tls.client_key_file
    )
    connector, client = await planner(access=access), orchestrator(access=access)
    await connector.apply(decision(3, 5))
    assert await soon(client.wait()) == VirtualDecision(3, 5, 0)
    missing = EtcdAccess(endpoints=[server.url], ca_file=tls.ca_file, cert_file=tls.ca_file.with_name("none.pem"))
    with pytest.raises(EtcdError, match="cannot be loaded"):
        await planner(access=missing)
