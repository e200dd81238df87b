from __future__ import annotations

import asyncio
import base64
import json

import pytest
from aiohttp import web
from standardwebhooks import Webhook as Verifier

from connectors.virtual import Webhook, webhook
from connectors.virtual.state import VirtualState

SECRET = "whsec_" + base64.b64encode(b"twenty-four secret bytes").decode()


class Receiver:
    """Takes posts, and answers with the statuses given, then with 204."""

    def __init__(self):
        self.received = asyncio.Queue()
        self.statuses = []
        self.headers = {}

    async def start(self):
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"

    async def _take(self, request):
        await self.received.put((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if self.statuses else 204
        return web.Response(status=status, headers=self.headers if status >= 400 else {})

    async def next(self):
        return await asyncio.wait_for(self.received.get(), 10)

    async def stop(self):
        await self._runner.cleanup()


@pytest.fixture
async def receiver():
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def push(store, receiver, make_connector):
    """A started connector that pushes to the receiver."""
    connector = make_connector(store=store, webhook=Webhook(receiver.url, secret=SECRET, store=store, namespace="a/b"))
    await connector.start()
    return connector


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(webhook, "_FIRST_PAUSE_S", 0.02)


async def test_a_decision_is_posted_and_signed(push, receiver, decision, monkeypatch):
    await push.apply(decision(3, 5))
    headers, body = await receiver.next()
    Verifier(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
    assert json.loads(body) == {
        "type": "decision.made",
        "timestamp": "1970-01-12T13:46:40Z",
        "data": {
            "num_prefill_workers": 3,
            "num_decode_workers": 5,
            "decision_id": 0,
            "scaled_decision_id": -1,
            "namespace": "a/b",
        },
    }
    assert headers["Content-Type"] == "application/json"


async def test_a_changed_body_is_found_out(push, receiver, decision):
    await push.apply(decision(3, 5))
    headers, body = await receiver.next()
    with pytest.raises(Exception, match="No matching signature"):
        Verifier(SECRET).verify(body.replace(b"5", b"6"), {name.lower(): value for name, value in headers.items()})


async def test_what_is_not_received_is_sent_again_under_the_same_id(push, receiver, decision, caplog):
    receiver.statuses = [500, 429, 302, 404]
    await push.apply(decision(3, 5))
    attempts = [await receiver.next() for _ in range(5)]
    assert len({headers["webhook-id"] for headers, _ in attempts}) == 1
    await asyncio.sleep(0.1)
    assert receiver.received.empty()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "webhook not received; it is tried again"
    ]


async def test_a_receiver_that_asks_for_time_gets_it(push, receiver, decision):
    receiver.statuses, receiver.headers = [503], {"Retry-After": "1"}
    await push.apply(decision(3, 5))
    await receiver.next()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(receiver.received.get(), 0.5)
    await receiver.next()


async def test_a_newer_decision_takes_the_place_of_one_not_received(push, receiver, decision, monkeypatch):
    monkeypatch.setattr(webhook, "_FIRST_PAUSE_S", 600.0)
    receiver.statuses = [500]
    await push.apply(decision(3, 5))
    await receiver.next()
    await push.store.update(lambda state: state.decide(4, 6, 0.0))
    _, body = await receiver.next()
    assert json.loads(body)["data"]["decision_id"] == 1


async def test_a_decision_completed_meanwhile_is_not_sent_again(push, receiver, decision, monkeypatch):
    monkeypatch.setattr(webhook, "_FIRST_PAUSE_S", 0.2)
    receiver.statuses = [500]
    await push.apply(decision(3, 5))
    await receiver.next()
    await push.store.update(lambda state: state.complete(0))
    await asyncio.sleep(0.4)
    assert receiver.received.empty()


async def test_a_receiver_that_comes_later_is_waited_for(store, decision, make_connector, port):
    url = f"http://127.0.0.1:{port}/hook"
    connector = make_connector(store=store, webhook=Webhook(url, secret=SECRET, store=store, namespace="n"))
    await connector.start()
    await connector.apply(decision(3, 5))
    await asyncio.sleep(0.1)
    got = asyncio.Event()

    async def take(_):
        got.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.wait_for(got.wait(), 10)
    await runner.cleanup()


async def test_what_is_outstanding_at_the_start_is_sent(store, receiver, make_connector):
    await store.update(lambda state: state.decide(3, 5, 0.0))
    connector = make_connector(store=store, webhook=Webhook(receiver.url, secret=SECRET, store=store, namespace="n"))
    await connector.start()
    _, body = await receiver.next()
    assert json.loads(body)["data"]["decision_id"] == 0


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_no base64!"])
def test_a_secret_that_is_none_is_refused(secret):
    with pytest.raises(ValueError, match="secret"):
        webhook.signing_key(secret)


def test_any_text_is_a_secret():
    assert webhook.signing_key("schlüssel") == "schlüssel".encode()


def test_what_may_be_secret_in_an_address_is_not_logged():
    assert webhook._shown("https://user:pass@host:8443/hook?key=1") == "https://host:8443/hook"


async def test_before_the_first_decision_nothing_is_sent(push, receiver):
    assert push.store.state == VirtualState()
    await asyncio.sleep(0.1)
    assert receiver.received.empty()


async def test_a_planner_that_stands_by_posts_nothing_until_it_leads(store, receiver, make_connector, monkeypatch):
    monkeypatch.setattr(webhook, "_LOOK_S", 0.05)
    monkeypatch.setattr(type(store), "standby", "another planner leads")
    await store.update(lambda state: state.decide(3, 5, 0.0))
    hook = Webhook(receiver.url, secret=SECRET, store=store, namespace="n")
    hook.start()
    await asyncio.sleep(0.2)
    assert receiver.received.empty()
    monkeypatch.setattr(type(store), "standby", None)
    await receiver.next()
    await hook.close()
