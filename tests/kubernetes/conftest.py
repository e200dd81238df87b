from __future__ import annotations

import asyncio
import uuid

import pytest

from connectors.kubernetes import Access, KubernetesApi
from connectors.kubernetes.resources import ADAPTERS, DEPLOYMENTS
from tests.kubernetes.fake import FakeApiServer
from tests.kubernetes.shapes import SHAPES


@pytest.fixture
async def fake():
    server = FakeApiServer()
    await server.start()
    yield server
    await server.stop()


async def _instant(_):
    return None


@pytest.fixture
async def api(fake, tmp_path):
    """The fake server's API as its administrator; repetitions do not wait."""
    api = KubernetesApi(Access(kubeconfig=fake.kubeconfig(tmp_path)), timeout_s=0.5, sleep=_instant)
    await api.start()
    yield api
    await api.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.live)])
async def cluster(request, tmp_path):
    """An API and a fresh namespace, of the fake server and of a real one."""
    if request.param == "fake":
        fake = await request.getfixturevalue("_fake_without_loop")()
        kubeconfig, namespace = fake.kubeconfig(tmp_path, "conformance"), "conformance"
    else:
        server, fake = request.getfixturevalue("kube_api_server"), None
        namespace = server.namespace(f"conformance-{uuid.uuid4().hex[:8]}")
        kubeconfig = server.kubeconfig(namespace=namespace)
    api = KubernetesApi(Access(kubeconfig=kubeconfig))
    await api.start()
    yield api, namespace
    await api.close()
    if fake is not None:
        await fake.stop()
    else:
        # The last words of TLS connections are still being said.
        await asyncio.sleep(0.1)


@pytest.fixture
def _fake_without_loop():
    async def make():
        server = FakeApiServer()
        await server.start()
        return server

    return make


@pytest.fixture
def deploy(api):
    """Makes a deployment in the fake cluster, with or without scaling adapters."""

    async def make(version="v1alpha1", *, namespace="default", name="graph", adapters=False, **how):
        spec = SHAPES[version](adapters=adapters, **how)
        resource = DEPLOYMENTS.at(version)
        body = await api.create(resource, namespace, {"metadata": {"name": name}, "spec": spec})
        if adapters:
            for component, replicas in _workers(spec).items():
                reference = {"name": name, "serviceName": component}
                adapter = {"replicas": replicas, "dgdRef": reference}
                metadata = {"name": f"{name}-{component.lower()}"}
                await api.create(ADAPTERS, namespace, {"metadata": metadata, "spec": adapter})
        return body

    return make


def _workers(spec):
    named = spec.get("services") or {one["name"]: one for one in spec["components"]}
    return {name: one["replicas"] for name, one in named.items() if "Worker" in name}
