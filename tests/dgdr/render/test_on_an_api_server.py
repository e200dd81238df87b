"""Requests and what is generated for them, applied to a real API server with kubectl."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest

from planner.dgdr.generate import from_profile
from planner.dgdr.request import Request
from profiles.writing import to_yaml
from tests.dgdr.render.conftest import DGDS, REQUESTS, load

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def namespace(kube_api_server):
    return kube_api_server.namespace(f"dgdr-{uuid.uuid4().hex[:6]}")


def generated(manifest, profile):
    request = Request.parse({**manifest, "metadata": {**manifest["metadata"], "namespace": None}})
    base = load(DGDS / "vllm-v1alpha1.yaml")[0] if request.config_map_ref else None
    return asyncio.run(from_profile(request, profile, base))


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_the_server_takes_requests_and_what_comes_of_them(kube_api_server, namespace, profile, path):
    (manifest,) = load(path)
    kube_api_server.kubectl("apply", "-n", namespace, "-f", "-", text=path.read_text(encoding="utf-8"))
    version = manifest["apiVersion"].partition("/")[2]
    kinds = f"/apis/nvidia.com/{version}/namespaces/{namespace}"
    name = manifest["metadata"]["name"]
    kept = kube_api_server.request("GET", f"{kinds}/dynamographdeploymentrequests/{name}").json()
    if version == "v1alpha1":
        # Of the other version this server keeps what v1alpha1 has, as nothing converts.
        wanted = {**manifest, "metadata": kept["metadata"]}
        assert Request.parse(kept) == Request.parse(wanted), "what the server fills in changes nothing"
    backend = manifest["spec"]["backend"]
    told = replace(profile.provenance, backend="vllm" if backend == "auto" else backend)
    result = generated(manifest, replace(profile, provenance=told))
    dgd = result.dgd
    dgd["metadata"].pop("namespace", None)
    for one in result.additional:
        one["metadata"].pop("namespace", None)
    text = "---\n".join(map(to_yaml, (*result.additional, dgd)))
    shown = kube_api_server.kubectl("apply", "-n", namespace, "-f", "-", text=text)
    assert len(shown.splitlines()) == 2
    where = f"/apis/{dgd['apiVersion']}/namespaces/{namespace}/dynamographdeployments/{dgd['metadata']['name']}"
    found = kube_api_server.request("GET", where).json()
    assert found["spec"] == dgd["spec"], "nothing was dropped or defaulted"
    assert dgd["metadata"]["annotations"].items() <= found["metadata"]["annotations"].items()
    for address in (where, f"{kinds}/dynamographdeploymentrequests/{name}"):
        kube_api_server.request("DELETE", address)
