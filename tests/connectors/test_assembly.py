"""From settings to a virtual connector."""

from __future__ import annotations

import time
import uuid

import httpx
import pytest
from pydantic import ValidationError

from connectors.base import ConnectorError, Outcome
from connectors.virtual.etcd import DecidingStore, FollowingStore
from planner.assembly import make_connector
from planner.settings import Settings


def settings(tmp_path, **options):
    return Settings(environment="virtual", state_dir=tmp_path, virtual_listen="127.0.0.1:0", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"virtual_webhook": "http://here/"}, "--virtual-webhook needs --virtual-webhook-secret-file"),
        ({"virtual_webhook": "here"}, "expected an address such as"),
        ({"virtual_webhook_secret": "a", "virtual_webhook_secret_file": "b"}, "not both"),
        ({"virtual_token": "a", "virtual_token_file": "b"}, "not both"),
        ({"virtual_tls_key_file": "key.pem"}, "needs --virtual-tls-cert-file"),
        ({"virtual_rate_limit": 0}, "greater than 0"),
        ({"virtual_ack_timeout": -1}, "greater than or equal to 0"),
        ({"virtual_store": "redis"}, "'embedded' or 'etcd'"),
        ({"etcd_endpoints": "10.0.0.5:2379"}, "expected an address such as"),
        ({"etcd_endpoints": ()}, "at least one address"),
        ({"etcd_username": "planner"}, "--etcd-username and --etcd-password together"),
        ({"etcd_key_file": "key.pem"}, "--etcd-key-file needs --etcd-cert-file"),
        ({"etcd_lease_ttl": 1}, "greater than or equal to 2"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, options, message):
    with pytest.raises(ValidationError, match=message):
        settings(tmp_path, **options)


@pytest.mark.parametrize("content", [None, "", "\n"])
@pytest.mark.parametrize("option", ["virtual_token_file", "virtual_webhook_secret_file"])
def test_a_secret_file_that_holds_none_is_named(tmp_path, option, content):
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ConnectorError, match=f"--{option.replace('_', '-')} .*secret"):
        make_connector(settings(tmp_path, **{option: file, "virtual_webhook": None}), time.time)


def test_a_webhook_secret_that_is_no_base64_is_named(tmp_path):
    options = {"virtual_webhook": "http://127.0.0.1:9/", "virtual_webhook_secret": "whsec_?"}
    with pytest.raises(ConnectorError, match="whsec_"):
        make_connector(settings(tmp_path, **options), time.time)


async def test_the_interface_is_as_the_settings_say(tmp_path, tls):
    token = tmp_path / "token"
    token.write_text("the-token\n", encoding="utf-8")
    options = {
        "virtual_token_file": token,
        "virtual_tls_cert_file": tls.cert_file,
        "virtual_tls_key_file": tls.key_file,
        "virtual_rate_limit": 0.5,
    }
    connector = make_connector(settings(tmp_path, **options), time.time)
    await connector.start()
    async with httpx.AsyncClient(base_url=connector.url, verify=False) as http:
        assert (await http.get("/api/v1/decision", headers={"Authorization": "Bearer the-token"})).status_code == 200
        assert (await http.get("/api/v1/decision")).status_code == 429
    await connector.close()


async def test_etcd_is_where_decisions_are_kept(tmp_path, etcd, decision):
    options = {"virtual_store": "etcd", "etcd_endpoints": etcd.url, "namespace": uuid.uuid4().hex}
    watching = make_connector(settings(tmp_path, no_operation=True, **options), time.time)
    await watching.start()
    deciding = make_connector(settings(tmp_path, **options), time.time)
    await deciding.start()
    assert isinstance(deciding.store, DecidingStore)
    assert (await deciding.apply(decision(3, 5))).outcome is Outcome.APPLIED, "who only watches leads nothing"
    assert (await watching.apply(decision(1, 1))).outcome is Outcome.SKIPPED
    follower = FollowingStore(deciding.store._gateway, options["namespace"])
    assert (await follower.read()).decision.targets == (3, 5)
    await watching.close()
    await deciding.close()
