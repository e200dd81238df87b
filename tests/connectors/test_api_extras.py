"""What autoscalers, patient clients and clients beyond this machine need of the interface."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import httpx
import pytest
import yaml

from connectors.base import ConnectorError, Outcome
from connectors.virtual import Listen, VirtualClientError, VirtualConnectorClient, VirtualDecision
from connectors.virtual import server as server_module
from planner import Workers

DECISION = "/api/v1/decision"
DESIRED = "/api/v1/desired"
SCALED_OBJECT = Path(__file__).parents[2] / "examples/kubernetes/keda-scaledobject.yaml"


async def test_what_was_seen_is_not_sent_again(http, connector, decision):
    await connector.apply(decision(3, 5))
    first = await http.get(DECISION)
    again = await http.get(DECISION, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert (await http.get(DECISION, headers={"If-None-Match": '"another"'})).status_code == 200
    assert (await http.get(DECISION, headers={"If-None-Match": "*"})).status_code == 304
    both = f'"another", W/{first.headers["ETag"]}'
    assert (await http.get(DECISION, headers={"If-None-Match": both})).status_code == 304


@pytest.mark.parametrize("path", [DECISION, DESIRED])
async def test_who_has_seen_a_decision_waits_for_the_next(http, connector, decision, path):
    await connector.apply(decision(3, 5))
    tag = (await http.get(path)).headers["ETag"]
    waiting = asyncio.ensure_future(http.get(path, params={"timeout": 30}, headers={"If-None-Match": tag}))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await connector.store.update(lambda state: state.decide(4, 6, 0.0))
    answer = await asyncio.wait_for(waiting, 10)
    assert (answer.status_code, answer.json()["decision_id"]) == (200, 1)
    assert answer.headers["ETag"] != tag


async def test_an_acknowledgement_is_news_too(http, connector, decision):
    await connector.apply(decision(3, 5))
    tag = (await http.get(DECISION)).headers["ETag"]
    waiting = asyncio.ensure_future(http.get(DECISION, params={"timeout": 30}, headers={"If-None-Match": tag}))
    await asyncio.sleep(0.1)
    await http.post(f"{DECISION}/0/complete")
    assert (await asyncio.wait_for(waiting, 10)).json()["scaled_decision_id"] == 0


async def test_waiting_in_vain_ends_with_not_modified(http, connector, decision):
    await connector.apply(decision(3, 5))
    tag = (await http.get(DECISION)).headers["ETag"]
    answer = await http.get(DECISION, params={"timeout": 0.1}, headers={"If-None-Match": tag})
    assert answer.status_code == 304


async def test_a_timeout_without_a_tag_waits_for_nothing(http):
    assert (await asyncio.wait_for(http.get(DECISION, params={"timeout": 30}), 5)).status_code == 200
    assert (await http.get(DECISION, params={"timeout": "soon"})).status_code == 400


async def test_before_the_first_decision_nothing_is_desired(http):
    """An autoscaler must not scale to -1, nor to 0."""
    answer = await http.get(DESIRED)
    assert answer.status_code == 404
    assert answer.json()["detail"] == "no decision was made yet"


async def test_what_is_desired_suits_keda_and_the_external_metrics_of_kubernetes(http, connector, decision):
    await connector.apply(decision(3, 5))
    body = (await http.get(DESIRED)).json()
    assert (body["prefill"]["replicas"], body["decode"]["replicas"]) == (3, 5)
    assert body["kind"] == "ExternalMetricValueList"
    values = {item["metricLabels"]["pool"]: item["value"] for item in body["items"]}
    assert values == {"prefill": "3", "decode": "5"}
    assert {item["timestamp"] for item in body["items"]} == {"1970-01-12T13:46:40Z"}


async def test_the_scaled_objects_of_the_example_read_what_is_served(http, connector, decision):
    await connector.apply(decision(3, 5))
    read = {}
    for document in yaml.safe_load_all(SCALED_OBJECT.read_text(encoding="utf-8")):
        if document["kind"] == "ScaledObject":
            (trigger,) = document["spec"]["triggers"]
            value = (await http.get(httpx.URL(trigger["metadata"]["url"]).path)).json()
            for name in trigger["metadata"]["valueLocation"].split("."):
                value = value[name]
            assert trigger["metadata"]["targetValue"] == "1"
            read[document["spec"]["scaleTargetRef"]["name"]] = value
    assert read == {"prefill": 3, "decode": 5}


async def test_without_acknowledgements_every_decision_counts_as_carried_out(make_connector, decision):
    connector = make_connector(ack_timeout_s=0.0)
    await connector.start()
    assert (await connector.workers()).prefill is None
    await connector.apply(decision(3, 5))
    assert (await connector.workers()).prefill == Workers(3)
    applied = await connector.apply(decision(4, 5))
    assert (applied.outcome, applied.overdue) == (Outcome.APPLIED, False)
    assert (await connector.workers()).prefill == Workers(4)


async def test_without_acknowledgements_reports_still_tell_what_runs(make_connector, decision):
    connector = make_connector(ack_timeout_s=0.0)
    await connector.start()
    await connector.apply(decision(3, 5))
    await connector.store.update(lambda state: state.report(Workers(1), None))
    counts = await connector.workers()
    assert (counts.prefill, counts.decode) == (Workers(1, pending=2), Workers(5))


@pytest.fixture
async def busy(make_connector):
    """The address of a connector that serves five requests a second."""
    connector = make_connector(listen=Listen("127.0.0.1", 0), rate_limit_rps=5.0)
    await connector.start()
    return connector.url


async def test_who_asks_too_often_is_put_off(busy):
    async with httpx.AsyncClient(base_url=busy) as http:
        answers = [await http.get(DECISION) for _ in range(30)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:10] == [200] * 10
        refused = answers[statuses.index(429)]
        assert refused.headers["Content-Type"].startswith("application/problem+json")
        assert int(refused.headers["Retry-After"]) >= 1
        await asyncio.sleep(0.5)
        assert (await http.get(DECISION)).status_code == 200


async def test_tls(make_connector, tls, decision):
    listen = Listen("127.0.0.1", 0, cert_file=tls.cert_file, key_file=tls.key_file)
    connector = make_connector(listen=listen, token="secret")
    await connector.start()
    assert connector.url.startswith("https://")
    await connector.apply(decision(3, 5))
    async with VirtualConnectorClient.connect(connector.url, token="secret", ca_file=tls.ca_file) as client:
        assert await asyncio.wait_for(client.wait(), 10) == VirtualDecision(3, 5, 0)
    async with VirtualConnectorClient.connect(connector.url, token="secret") as client:
        with pytest.raises(VirtualClientError, match="ca_file"):
            await asyncio.wait_for(client.get(), 10)
    with pytest.raises(OSError, match="No such file"):
        VirtualConnectorClient.connect(connector.url, ca_file=tls.ca_file.with_name("none.pem"))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(tls.ca_file)
    assert connector.url
    async with httpx.AsyncClient(verify=old) as http:
        assert (await http.get(f"{connector.url}{DECISION}")).status_code == 401


async def test_a_renewed_certificate_is_served_without_a_restart(make_connector, tls, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(server_module, "_RENEW_EVERY_S", 0.02)
    cert_file = tmp_path / "tls.pem"
    old = tls.key_file.read_bytes() + tls.cert_file.read_bytes()
    new = tls.client_key_file.read_bytes() + tls.client_cert_file.read_bytes()
    cert_file.write_bytes(old)
    connector = make_connector(listen=Listen("127.0.0.1", 0, cert_file=cert_file))
    await connector.start()
    address = ("127.0.0.1", httpx.URL(connector.url).port)
    served = await asyncio.to_thread(ssl.get_server_certificate, address)
    cert_file.write_bytes(b"half a certif")
    async with asyncio.timeout(10):
        while "certificate not renewed" not in caplog.text:
            await asyncio.sleep(0.02)
    assert await asyncio.to_thread(ssl.get_server_certificate, address) == served
    cert_file.write_bytes(new)
    async with asyncio.timeout(10):
        while await asyncio.to_thread(ssl.get_server_certificate, address) == served:
            await asyncio.sleep(0.02)


async def test_a_certificate_that_cannot_be_loaded_is_a_connector_error(make_connector, tls):
    connector = make_connector(listen=Listen("127.0.0.1", 0, cert_file=tls.ca_file))
    with pytest.raises(ConnectorError, match=r"--virtual-tls-cert-file .* cannot be loaded"):
        await connector.start()
    findings = await connector.check()
    assert any("--virtual-tls-cert-file" in finding.detail for finding in findings)


async def test_the_planner_is_on_time_whatever_wait_is_asked_for(http, connector, decision):
    """A wait that ends is answered at once, not at the next look."""
    waiting = [asyncio.ensure_future(http.get(f"{DECISION}/wait")) for _ in range(20)]
    await asyncio.sleep(0.3)
    before = time.monotonic()
    await connector.apply(decision(3, 5))
    await asyncio.gather(*waiting)
    assert time.monotonic() - before < 2
