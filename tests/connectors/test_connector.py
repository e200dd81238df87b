import asyncio
import socket

import httpx
import pytest

from connectors import Connector, ConnectorError, Outcome, WorkerCounts
from connectors.none import NoOperationConnector
from connectors.virtual import EmbeddedStore, Listen
from planner import Workers
from planner.finding import Finding, Health

NOBODY = WorkerCounts()


async def complete(connector, number):
    await connector.store.update(lambda state: state.complete(number))


async def report(connector, prefill=None, decode=None):
    await connector.store.update(lambda state: state.report(prefill, decode))


def newest(connector):
    return connector.store.state.decision.decision_id


@pytest.fixture
async def virtual(make_connector):
    """A started connector that only this process sees."""
    virtual = make_connector()
    await virtual.start()
    return virtual


async def test_the_first_decision_is_published(virtual, decision, clock):
    applied = await virtual.apply(decision(3, 5))
    assert (applied.outcome, applied.overdue) == (Outcome.APPLIED, False)
    assert "decision 0 published" in applied.detail
    assert virtual.store.state.decision.targets == (3, 5)
    assert newest(virtual) == 0
    assert virtual.store.state.decided_at == clock.now()


async def test_the_same_targets_again_are_no_new_decision(virtual, decision):
    await virtual.apply(decision(3, 5))
    assert (await virtual.apply(decision(3, 5))).outcome is Outcome.UNCHANGED
    await complete(virtual, 0)
    assert (await virtual.apply(decision(3, 5))).outcome is Outcome.UNCHANGED
    assert newest(virtual) == 0


async def test_a_decision_waits_while_the_one_before_is_not_acknowledged(virtual, decision, clock):
    await virtual.apply(decision(3, 5))
    clock.time += 599.0
    applied = await virtual.apply(decision(4, 6))
    assert (applied.outcome, applied.overdue) == (Outcome.WAITING, False)
    assert "decision 0 unacknowledged for 599 s" in applied.detail
    assert virtual.store.state.decision.targets == (3, 5)
    assert newest(virtual) == 0


async def test_a_decision_goes_ahead_once_the_one_before_is_overdue(virtual, decision, clock):
    await virtual.apply(decision(3, 5))
    clock.time += 600.0
    applied = await virtual.apply(decision(4, 6))
    assert (applied.outcome, applied.overdue) == (Outcome.APPLIED, True)
    assert "decision 0 unacknowledged for 600 s, given up; decision 1 published" in applied.detail
    assert virtual.store.state.decision.targets == (4, 6)
    assert newest(virtual) == 1


async def test_the_wait_starts_anew_with_every_decision(virtual, decision, clock):
    await virtual.apply(decision(3, 5))
    clock.time += 600.0
    await virtual.apply(decision(4, 6))
    clock.time += 599.0
    assert (await virtual.apply(decision(5, 7))).outcome is Outcome.WAITING
    clock.time += 1.0
    assert (await virtual.apply(decision(5, 7))).overdue
    assert newest(virtual) == 2


async def test_a_decision_is_published_once_the_one_before_is_completed(virtual, decision):
    await virtual.apply(decision(3, 5))
    await complete(virtual, 0)
    applied = await virtual.apply(decision(4, 6))
    assert (applied.outcome, applied.overdue) == (Outcome.APPLIED, False)
    assert newest(virtual) == 1


async def test_a_decision_that_waited_a_restart_out_is_still_waited_for(make_connector, decision, state_file, clock):
    first = make_connector(store=EmbeddedStore(state_file))
    await first.start()
    await first.apply(decision(3, 5))
    await first.close()
    clock.time += 500.0
    second = make_connector(store=EmbeddedStore(state_file))
    await second.start()
    assert (await second.apply(decision(3, 5))).outcome is Outcome.UNCHANGED
    assert (await second.apply(decision(4, 6))).outcome is Outcome.WAITING
    clock.time += 100.0
    assert (await second.apply(decision(4, 6))).overdue
    assert newest(second) == 1


async def test_a_state_that_cannot_be_kept_is_a_connector_error(make_connector, decision, state_file):
    connector = make_connector(store=EmbeddedStore(state_file))
    await connector.start()
    state_file.mkdir()
    with pytest.raises(ConnectorError, match="cannot be written"):
        await connector.apply(decision(3, 5))
    assert newest(connector) == -1


async def test_blocking_waits_for_the_acknowledgement(make_connector, decision):
    connector = make_connector(blocking=True, ack_timeout_s=10.0)
    await connector.start()
    applying = asyncio.ensure_future(connector.apply(decision(3, 5)))
    await asyncio.sleep(0.05)
    assert not applying.done()
    assert newest(connector) == 0
    await report(connector, prefill=Workers(1))
    await asyncio.sleep(0.05)
    assert not applying.done()
    await complete(connector, 0)
    applied = await asyncio.wait_for(applying, 1)
    assert (applied.outcome, applied.overdue) == (Outcome.APPLIED, False)


async def test_blocking_gives_up_after_the_limit(make_connector, decision):
    connector = make_connector(blocking=True, ack_timeout_s=0.1)
    await connector.start()
    applied = await asyncio.wait_for(connector.apply(decision(3, 5)), 5)
    assert (applied.outcome, applied.overdue) == (Outcome.APPLIED, True)
    assert "not acknowledged in time" in applied.detail
    assert newest(connector) == 0


async def test_blocking_does_not_wait_for_a_decision_that_stands_already(make_connector, decision):
    connector = make_connector(blocking=True, ack_timeout_s=0.1)
    await connector.start()
    await connector.apply(decision(3, 5))
    applied = await asyncio.wait_for(connector.apply(decision(3, 5)), 1)
    assert applied.outcome is Outcome.UNCHANGED


async def test_a_blocking_apply_can_be_cancelled(make_connector, decision):
    connector = make_connector(blocking=True)
    await connector.start()
    applying = asyncio.ensure_future(connector.apply(decision(3, 5)))
    await asyncio.sleep(0.05)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert newest(connector) == 0
    await complete(connector, 0)
    assert connector.store.state.acknowledged
    await asyncio.wait_for(connector.close(), 1)


async def test_before_anything_no_workers_are_known(virtual):
    assert await virtual.workers() == NOBODY


async def test_while_the_first_decision_is_outstanding_no_workers_are_known(virtual, decision):
    await virtual.apply(decision(3, 5))
    assert await virtual.workers() == NOBODY


async def test_without_a_report_a_completed_decision_is_what_runs(virtual, decision):
    await virtual.apply(decision(3, 5))
    await complete(virtual, 0)
    assert await virtual.workers() == WorkerCounts(prefill=Workers(3), decode=Workers(5))


async def test_workers_come_and_go_while_a_decision_is_outstanding(virtual, decision):
    await virtual.apply(decision(3, 5))
    await complete(virtual, 0)
    await virtual.apply(decision(7, 2))
    assert await virtual.workers() == WorkerCounts(prefill=Workers(3, pending=4), decode=Workers(2, draining=3))
    await complete(virtual, 1)
    assert await virtual.workers() == WorkerCounts(prefill=Workers(7), decode=Workers(2))


async def test_what_was_reported_is_what_runs(virtual, decision):
    await report(virtual, prefill=Workers(2, 1, 1))
    assert await virtual.workers() == WorkerCounts(prefill=Workers(2, 1, 1))
    await report(virtual, decode=Workers(4))
    assert await virtual.workers() == WorkerCounts(prefill=Workers(2, 1, 1), decode=Workers(4))
    await virtual.apply(decision(3, 5))
    await complete(virtual, 0)
    assert await virtual.workers() == WorkerCounts(prefill=Workers(2, 1, 1), decode=Workers(4))


async def test_reported_workers_come_and_go_while_a_decision_is_outstanding(virtual, decision):
    await report(virtual, prefill=Workers(2, draining=1), decode=Workers(4, draining=1))
    await virtual.apply(decision(3, 1))
    assert await virtual.workers() == WorkerCounts(
        prefill=Workers(2, pending=1, draining=1), decode=Workers(1, draining=4)
    )
    await report(virtual, prefill=Workers(3))
    assert (await virtual.workers()).prefill == Workers(3)


async def test_what_is_requested_while_a_decision_is_outstanding_is_what_was_decided(virtual, decision):
    await report(virtual, prefill=Workers(2, pending=9), decode=Workers(8))
    await virtual.apply(decision(3, 5))
    counts = await virtual.workers()
    assert (counts.prefill.requested, counts.decode.requested) == (3, 5)


async def test_closing_twice_and_closing_without_starting_is_fine(make_connector, state_file):
    connector = make_connector(store=EmbeddedStore(state_file), listen=Listen("127.0.0.1", 0))
    await connector.close()
    await connector.start()
    assert connector.url is not None
    await connector.close()
    assert connector.url is None
    await connector.close()


async def test_a_connector_that_was_closed_can_start_again(make_connector, decision, state_file):
    connector = make_connector(store=EmbeddedStore(state_file), listen=Listen("127.0.0.1", 0))
    await connector.start()
    await connector.apply(decision(3, 5))
    await connector.close()
    await connector.start()
    assert newest(connector) == 0
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        assert (await http.get(f"{connector.url}/api/v1/decision")).json()["decision_id"] == 0


async def test_a_connector_that_does_not_listen_has_no_url(virtual):
    assert virtual.url is None


async def test_the_url_names_the_port_that_was_taken(connector):
    assert connector.url.startswith("http://127.0.0.1:")
    assert not connector.url.endswith(":0")


async def test_ipv6_is_listened_to(make_connector):
    connector = make_connector(listen=Listen.parse("[::1]:0"))
    try:
        await connector.start()
    except ConnectorError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert connector.url.startswith("http://[::1]:")
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        assert (await http.get(f"{connector.url}/api/v1/decision")).status_code == 200


async def test_a_port_that_is_taken_is_a_connector_error(make_connector, state_file):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        connector = make_connector(store=EmbeddedStore(state_file), listen=Listen("127.0.0.1", port))
        with pytest.raises(ConnectorError, match=f"--virtual-listen 127.0.0.1:{port} cannot be had"):
            await connector.start()
        assert connector.url is None
        await connector.close()
    await connector.start()


async def test_a_host_that_nobody_has_is_a_connector_error(make_connector):
    connector = make_connector(listen=Listen("192.0.2.1", 0), token="secret")
    with pytest.raises(ConnectorError, match=r"192\.0\.2\.1:0 cannot be had"):
        await connector.start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "planner.example"])
@pytest.mark.parametrize("token", [None, ""])
async def test_listening_beyond_this_machine_without_a_token_is_refused(make_connector, state_file, host, token):
    connector = make_connector(store=EmbeddedStore(state_file), listen=Listen(host, 0), token=token)
    with pytest.raises(ConnectorError, match="--virtual-token-file or --virtual-token") as refusal:
        await connector.start()
    assert f"--virtual-listen {host}:0" in str(refusal.value)
    assert not state_file.parent.exists()


async def test_listening_beyond_this_machine_with_a_token_is_fine(make_connector):
    connector = make_connector(listen=Listen("0.0.0.0", 0), token="secret")
    await connector.start()
    assert connector.url.startswith("http://0.0.0.0:")


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:9086", Listen("127.0.0.1", 9086)),
        ("localhost:0", Listen("localhost", 0)),
        ("[::1]:9086", Listen("::1", 9086)),
        ("[2001:db8::5]:80", Listen("2001:db8::5", 80)),
        ("planner.example:443", Listen("planner.example", 443)),
    ],
)
def test_listen_is_read_from_text(text, listen):
    assert Listen.parse(text) == listen


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http"])
def test_listen_without_a_port_is_refused(text):
    with pytest.raises(ValueError, match="invalid literal"):
        Listen.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_known(host):
    assert Listen(host, 1).loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "2001:db8::5", "", "localhost.example", "planner"])
def test_everything_else_is_not_loopback(host):
    assert not Listen(host, 1).loopback


async def test_a_check_finds_that_all_is_well(make_connector, state_file, port):
    connector = make_connector(store=EmbeddedStore(state_file), listen=Listen("127.0.0.1", port))
    assert await connector.check() == [
        Finding(subject="virtual state", health=Health.OK, detail=f"will be kept in {state_file}"),
        Finding(subject="virtual interface", health=Health.OK, detail=f"127.0.0.1:{port} is free"),
    ]
    assert not state_file.parent.exists()
    assert connector.url is None


async def test_a_check_in_this_process_only_is_well(make_connector):
    assert [(finding.health, finding.detail) for finding in await make_connector().check()] == [
        (Health.OK, "kept in memory"),
        (Health.OK, "in this process only"),
    ]


async def test_a_check_finds_a_port_that_is_taken(make_connector):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other_port = other.getsockname()[1]
        connector = make_connector(listen=Listen("127.0.0.1", other_port))
        state, interface = await connector.check()
    assert state.health is Health.OK
    assert interface.health is Health.FAILED
    assert interface.remedy
    assert f"127.0.0.1:{other_port} cannot be listened to: Address already in use" in interface.detail
    assert "--virtual-listen" in interface.detail


async def test_a_check_beside_the_planner_that_is_checked_is_no_failure(make_connector, state_file):
    running = make_connector(store=EmbeddedStore(state_file), listen=Listen("127.0.0.1", 0))
    await running.start()
    port = int(running.url.rpartition(":")[2])
    findings = await make_connector(store=EmbeddedStore(state_file), listen=Listen("127.0.0.1", port)).check()
    assert [finding.health for finding in findings] == [Health.WARNING] * 2
    assert all(finding.remedy.startswith("none if that is the one that is checked") for finding in findings)
    await running.close()


async def test_a_check_finds_an_open_door(make_connector):
    _, interface = await make_connector(listen=Listen("0.0.0.0", 0)).check()
    assert interface.health is Health.FAILED
    assert "--virtual-token" in interface.detail


async def test_a_check_finds_a_state_that_cannot_be_kept(make_connector, state_file, monkeypatch):
    monkeypatch.setattr("connectors.virtual.store.os.access", lambda path, mode: False)
    state, interface = await make_connector(store=EmbeddedStore(state_file)).check()
    assert state.health is Health.FAILED
    assert "--state-dir" in state.detail
    assert interface.health is Health.OK


class Inner(Connector):
    """Is seen through, and must never be asked to scale."""

    def __init__(self):
        self.life = []

    async def start(self):
        self.life.append("start")

    async def workers(self):
        return WorkerCounts(prefill=Workers(2))

    async def apply(self, decision):
        raise AssertionError("nothing was to be scaled")

    async def check(self):
        return [Finding(subject="inner", health=Health.WARNING, detail="so so")]

    async def close(self):
        self.life.append("close")


async def test_no_operation_skips(decision):
    connector = NoOperationConnector()
    await connector.start()
    applied = await connector.apply(decision(3, 5))
    assert applied.outcome is Outcome.SKIPPED
    assert "prefill=3, decode=5" in applied.detail
    assert await connector.workers() == NOBODY
    assert [finding.health for finding in await connector.check()] == [Health.OK]
    await connector.close()


async def test_no_operation_looks_through(decision):
    inner = Inner()
    connector = NoOperationConnector(inner)
    await connector.start()
    assert (await connector.apply(decision(3, 5))).outcome is Outcome.SKIPPED
    assert await connector.workers() == WorkerCounts(prefill=Workers(2))
    assert [finding.subject for finding in await connector.check()] == ["connector", "inner"]
    await connector.close()
    assert inner.life == ["start", "close"]


async def test_a_clock_that_was_set_back_does_not_make_it_wait_for_ever(make_connector, decision, clock):
    connector = make_connector()
    await connector.start()
    await connector.apply(decision(1, 1))
    clock.time -= 86_400
    assert (await connector.apply(decision(2, 2))).overdue


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(ValueError, match="between 0 and 65535"):
        Listen("127.0.0.1", port)
