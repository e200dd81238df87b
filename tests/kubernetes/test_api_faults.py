"""A server that is busy, failing, slow, or gone: what is asked again, and what never."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from connectors.base import ConnectorError
from connectors.election import FencedError
from connectors.kubernetes import Access, KubernetesApi
from connectors.kubernetes.errors import ForbiddenError, InvalidError, KubernetesError, UnreachableError
from connectors.kubernetes.mirror import Mirror
from connectors.kubernetes.resources import CONFIG_MAPS, LEASES
from tests.kubernetes.fake import TOKEN, FakeApiServer
from tests.waiting import until

BODY = {"metadata": {"name": "one"}, "data": {"a": "1"}}
WAYS = {
    "429": {"status": 429, "headers": {"Retry-After": "7"}},
    "500": {"status": 500},
    "503 in plain text": {"status": 503, "text": "upstream connect error"},
    "a broken connection": {"way": "reset"},
    "no answer": {"way": "hang"},
    "half an answer": {"way": "truncate"},
}


def made(fake, method):
    return sum(request[0] == method for request in fake.requests)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_reads_are_asked_again(fake, api, way):
    await api.create(CONFIG_MAPS, "default", BODY)
    fake.fail("GET", "configmaps", 3 if way.get("way") != "hang" else 1, **way)
    assert (await api.get(CONFIG_MAPS, "default", "one"))["data"] == {"a": "1"}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_patches_that_say_what_shall_be_are_asked_again(fake, api, way):
    await api.create(CONFIG_MAPS, "default", BODY)
    fake.fail("PATCH", "configmaps", 1, **way)
    assert (await api.patch(CONFIG_MAPS, "default", "one", {"data": {"a": "2"}}))["data"] == {"a": "2"}


@pytest.mark.parametrize(
    "way", [*list(WAYS.values())[1:], {"way": "after"}], ids=[*list(WAYS)[1:], "done, then broken"]
)
async def test_what_may_have_been_done_is_not_done_again(fake, api, way):
    fake.fail("POST", "configmaps", 1, **way)
    with pytest.raises(UnreachableError):
        await api.create(CONFIG_MAPS, "default", BODY)
    assert made(fake, "POST") == 1


async def test_what_was_refused_unseen_is_done_again(fake, api):
    fake.fail("POST", "configmaps", 2, **WAYS["429"])
    await api.create(CONFIG_MAPS, "default", BODY)
    assert made(fake, "POST") == 3


async def test_it_waits_as_long_as_it_is_asked_to(fake, tmp_path):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    api = KubernetesApi(Access(kubeconfig=fake.kubeconfig(tmp_path)), sleep=sleep)
    await api.start()
    fake.fail("GET", "configmaps", 1, **WAYS["429"])
    fake.fail("GET", "configmaps", 2, status=500)
    await api.list_all(CONFIG_MAPS, "default")
    await api.close()
    assert waits[0] == 7
    assert all(0 <= wait <= 5 for wait in waits[1:])
    assert len(waits) == 3


async def test_it_gives_up_and_says_what_it_wanted(fake, api):
    fake.fail("GET", "configmaps", 100, status=500)
    with pytest.raises(UnreachableError, match=r"GET /api/v1/namespaces/default/configmaps: .*\(500\)"):
        await api.list_all(CONFIG_MAPS, "default")
    assert made(fake, "GET") == 5


@pytest.mark.parametrize(
    ("status", "error"), [(400, InvalidError), (403, ForbiddenError), (422, InvalidError), (418, KubernetesError)]
)
async def test_refusals_are_not_asked_again(fake, api, status, error):
    fake.fail("GET", "configmaps", 100, status=status)
    with pytest.raises(error):
        await api.list_all(CONFIG_MAPS, "default")
    assert made(fake, "GET") == 1


async def test_with_a_time_limit_of_the_callers_own_it_is_tried_once(fake, api):
    fake.fail("POST", "leases", 1, way="hang")
    begun = asyncio.get_running_loop().time()
    with pytest.raises(UnreachableError, match=r"no answer within 0\.1 s"):
        await api.create(LEASES, "default", {"metadata": {"name": "lease"}}, timeout_s=0.1)
    assert asyncio.get_running_loop().time() - begun < 5
    assert made(fake, "POST") == 1


class Fence:
    def __init__(self, *within):
        self.within = list(within)

    @property
    def write_within_s(self):
        return self.within.pop(0) if len(self.within) > 1 else self.within[0]


async def test_a_fence_is_asked_before_every_attempt(fake, api):
    await api.create(CONFIG_MAPS, "default", BODY)
    fake.fail("PATCH", "configmaps", 2, status=500)
    with pytest.raises(FencedError):
        await api.patch(CONFIG_MAPS, "default", "one", {"data": {"a": "2"}}, fence=Fence(5.0, 5.0, 0.0))
    assert made(fake, "PATCH") == 2
    assert fake.find("configmaps", "default", "one")["data"] == {"a": "1"}


async def test_a_write_ends_before_another_may_lead(fake, api):
    await api.create(CONFIG_MAPS, "default", BODY)
    fake.fail("PATCH", "configmaps", 1, way="hang")
    with pytest.raises(FencedError):
        await api.patch(CONFIG_MAPS, "default", "one", {"data": {"a": "2"}}, fence=Fence(0.1, 0.0))


async def test_a_renewed_token_is_read(tls, tmp_path, monkeypatch):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.cert_file, tls.key_file)
    fake = FakeApiServer()
    await fake.start(context)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text("serving\n")
    (tmp_path / "ca.crt").write_bytes(tls.ca_file.read_bytes())
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", fake.url.rpartition(":")[2])
    api = KubernetesApi(Access(service_account_dir=tmp_path))
    try:
        await api.start()
        assert api.credentials.namespace == "serving"
        await api.list_all(CONFIG_MAPS, "default")
        fake.tokens = {"renewed"}
        with pytest.raises(KubernetesError, match="401"):
            await api.list_all(CONFIG_MAPS, "default")
        (tmp_path / "token").write_text("renewed")
        await api.list_all(CONFIG_MAPS, "default")
    finally:
        await api.close()
        await fake.stop()


@pytest.mark.parametrize("missing", ["ca.crt", "token"])
async def test_a_service_account_without_what_it_needs_is_told(tmp_path, monkeypatch, missing):
    for name in {"token", "ca.crt"} - {missing}:
        (tmp_path / name).write_text("x")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConnectorError, match=f"service account in {tmp_path}"):
        await KubernetesApi(Access(service_account_dir=tmp_path)).start()


class TestMirror:
    @pytest.fixture
    async def mirror(self, api, monkeypatch):
        from connectors.kubernetes import mirror as module

        monkeypatch.setattr(module, "_FIRST_WAIT_S", 0.01)
        mirror = Mirror(api, CONFIG_MAPS, "default", poll_s=0.05)
        task = asyncio.create_task(mirror.run())
        yield mirror
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @staticmethod
    async def until(mirror, name):
        await until(lambda: ("default", name) in mirror.objects)

    async def test_it_lists_anew_when_the_past_is_forgotten(self, fake, api, mirror):
        await api.create(CONFIG_MAPS, "default", BODY)
        await self.until(mirror, "one")
        fake.compact()
        fake.fail("GET", "watch=true", 1, status=410)
        await api.create(CONFIG_MAPS, "default", {"metadata": {"name": "two"}})
        await self.until(mirror, "two")

    @pytest.mark.parametrize("way", [{"status": 500}, {"way": "reset"}, {"way": "truncate"}], ids=str)
    async def test_it_survives_what_breaks_it(self, fake, api, mirror, way):
        await api.create(CONFIG_MAPS, "default", BODY)
        await self.until(mirror, "one")
        fake.fail("GET", "configmaps", 12, **way)
        await api.create(CONFIG_MAPS, "default", {"metadata": {"name": "two"}})
        await self.until(mirror, "two")

    async def test_it_reads_now_and_then_where_it_may_not_watch(self, fake, api, mirror):
        fake.forbid("watch configmaps")
        await api.create(CONFIG_MAPS, "default", BODY)
        await self.until(mirror, "one")
        await api.create(CONFIG_MAPS, "default", {"metadata": {"name": "two"}})
        await self.until(mirror, "two")
        assert mirror.age_s < 5
