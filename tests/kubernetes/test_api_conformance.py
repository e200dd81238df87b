"""What the planner relies on of an API server, asked of the fake one and of a real one alike."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from connectors.kubernetes.errors import ConflictError, ExpiredError, InvalidError, NotFoundError
from connectors.kubernetes.mirror import Mirror
from connectors.kubernetes.resources import ADAPTERS, CONFIG_MAPS, DEPLOYMENTS, EVENTS, LEASES, PODS, Resource
from tests.kubernetes.shapes import components, services
from tests.waiting import until


def named(name, spec, **metadata):
    return {"metadata": {"name": name, **metadata}, "spec": spec}


async def test_the_newest_version_served_is_found(cluster):
    api, _ = cluster
    assert await api.served(DEPLOYMENTS) == DEPLOYMENTS.at("v1beta1")
    assert await api.served(Resource("nvidia.com", "v1alpha1", "nothings", "Nothing")) is None


async def test_created_read_listed_deleted(cluster):
    api, namespace = cluster
    made = await api.create(DEPLOYMENTS, namespace, named("one", services(), labels={"team": "a"}))
    assert made["metadata"]["uid"]
    assert made["metadata"]["generation"] == 1
    await api.create(DEPLOYMENTS, namespace, named("two", services()))
    assert (await api.get(DEPLOYMENTS, namespace, "one"))["metadata"]["uid"] == made["metadata"]["uid"]
    items, version = await api.list_all(DEPLOYMENTS, namespace)
    assert {item["metadata"]["name"] for item in items} == {"one", "two"}
    assert version
    for selectors in ({"labels": "team=a"}, {"fields": "metadata.name=one"}):
        items, _ = await api.list_all(DEPLOYMENTS, namespace, **selectors)
        assert [item["metadata"]["name"] for item in items] == ["one"]
    await api.delete(DEPLOYMENTS, namespace, "one")
    await api.delete(DEPLOYMENTS, namespace, "one")
    with pytest.raises(NotFoundError):
        await api.get(DEPLOYMENTS, namespace, "one")


async def test_a_name_is_taken_once(cluster):
    api, namespace = cluster
    await api.create(CONFIG_MAPS, namespace, {"metadata": {"name": "one"}, "data": {"a": "1"}})
    with pytest.raises(ConflictError):
        await api.create(CONFIG_MAPS, namespace, {"metadata": {"name": "one"}})


async def test_the_shape_stays_whatever_version_it_is_read_in(cluster):
    api, namespace = cluster
    await api.create(DEPLOYMENTS, namespace, named("one", services()))
    read = await api.get(DEPLOYMENTS.at("v1beta1"), namespace, "one")
    assert read["apiVersion"] == "nvidia.com/v1beta1"
    assert "services" in read["spec"]


async def test_a_merge_patch_changes_what_it_names(cluster):
    api, namespace = cluster
    await api.create(DEPLOYMENTS, namespace, named("one", services(prefill=1, decode=2)))
    patch = {"spec": {"services": {"VllmPrefillWorker": {"replicas": 5}}}}
    changed = await api.patch(DEPLOYMENTS, namespace, "one", patch)
    assert changed["metadata"]["generation"] == 2
    assert {name: one["replicas"] for name, one in changed["spec"]["services"].items()} == {
        "Frontend": 1,
        "VllmPrefillWorker": 5,
        "VllmDecodeWorker": 2,
    }
    again = await api.patch(DEPLOYMENTS, namespace, "one", patch)
    assert again["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"], "nothing was to be changed"


async def test_a_json_patch_tests_before_it_changes(cluster):
    api, namespace = cluster
    resource = DEPLOYMENTS.at("v1beta1")
    await api.create(resource, namespace, named("one", components()))

    def patch(name):
        return [
            {"op": "test", "path": "/spec/components/1/name", "value": name},
            {"op": "add", "path": "/spec/components/1/replicas", "value": 4},
        ]

    with pytest.raises(InvalidError):
        await api.patch(resource, namespace, "one", patch("Frontend"))
    changed = await api.patch(resource, namespace, "one", patch("VllmPrefillWorker"))
    assert [one["replicas"] for one in changed["spec"]["components"]] == [1, 4, 1]


async def test_values_out_of_bounds_are_refused(cluster):
    api, namespace = cluster
    await api.create(DEPLOYMENTS, namespace, named("one", services()))
    with pytest.raises(InvalidError, match="replicas"):
        await api.patch(DEPLOYMENTS, namespace, "one", {"spec": {"services": {"Frontend": {"replicas": -1}}}})


async def test_specification_and_status_are_changed_apart(cluster):
    api, namespace = cluster
    await api.create(DEPLOYMENTS, namespace, {**named("one", services()), "status": {"state": "successful"}})
    assert "state" not in ((await api.get(DEPLOYMENTS, namespace, "one")).get("status") or {})
    both = {"spec": {"backendFramework": "sglang"}, "status": {"state": "failed"}}
    changed = await api.patch(DEPLOYMENTS, namespace, "one", both, "status")
    assert changed["status"]["state"] == "failed"
    assert changed["spec"]["backendFramework"] == "vllm"
    assert changed["metadata"]["generation"] == 1
    changed = await api.patch(DEPLOYMENTS, namespace, "one", {**both, "status": {"state": "pending"}})
    assert changed["status"]["state"] == "failed"
    assert changed["spec"]["backendFramework"] == "sglang"


async def test_the_scale_of_an_adapter(cluster):
    api, namespace = cluster
    spec = {"replicas": 2, "dgdRef": {"name": "one", "serviceName": "A"}}
    await api.create(ADAPTERS, namespace, named("one-a", spec))
    scale = await api.get(ADAPTERS, namespace, "one-a", "scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 2)
    changed = await api.patch(ADAPTERS, namespace, "one-a", {"spec": {"replicas": 7}}, "scale")
    assert changed["spec"]["replicas"] == 7
    assert (await api.get(ADAPTERS, namespace, "one-a"))["spec"] == {**spec, "replicas": 7}
    for call in (
        api.get(ADAPTERS, namespace, "one-b", "scale"),
        api.patch(ADAPTERS, namespace, "one-b", {"spec": {"replicas": 7}}, "scale"),
        api.get(DEPLOYMENTS, namespace, "one", "scale"),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_a_lease_is_replaced_only_from_the_state_it_was_read_in(cluster):
    api, namespace = cluster
    body = {"metadata": {"name": "lease"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 5}}
    first = await api.create(LEASES, namespace, body)
    second = await api.replace(LEASES, namespace, "lease", {**first, "spec": {**first["spec"], "holderIdentity": "b"}})
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    with pytest.raises(ConflictError):
        await api.replace(LEASES, namespace, "lease", first)
    assert (await api.get(LEASES, namespace, "lease"))["spec"]["holderIdentity"] == "b"


async def test_pods_and_events_are_kept(cluster):
    api, namespace = cluster
    labels = {"nvidia.com/dynamo-component": "A"}
    spec = {"containers": [{"name": "main", "image": "engine"}]}
    await api.create(PODS, namespace, {"metadata": {"name": "pod", "labels": labels}, "spec": spec})
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    pod = await api.patch(PODS, namespace, "pod", status, "status")
    assert pod["status"]["conditions"][0]["type"] == "Ready"
    event = {
        "metadata": {"name": "one.1"},
        "involvedObject": {"kind": "Pod", "name": "pod", "namespace": namespace, "uid": pod["metadata"]["uid"]},
        "type": "Normal",
        "reason": "Tried",
        "message": "It was tried.",
    }
    assert (await api.create(EVENTS, namespace, event))["reason"] == "Tried"


async def test_a_watch_tells_every_change_since_a_version(cluster):
    api, namespace = cluster
    await api.create(CONFIG_MAPS, namespace, {"metadata": {"name": "before"}})
    _, version = await api.list_all(CONFIG_MAPS, namespace)
    await api.create(CONFIG_MAPS, namespace, {"metadata": {"name": "one"}, "data": {"a": "1"}})
    await api.patch(CONFIG_MAPS, namespace, "one", {"data": {"a": "2"}})
    await api.delete(CONFIG_MAPS, namespace, "one")
    seen = []
    async with aclosing(api.watch(CONFIG_MAPS, namespace, version, for_s=10)) as events:
        async for event in events:
            if event["type"] != "BOOKMARK" and event["object"]["metadata"]["name"] == "one":
                seen.append((event["type"], event["object"]["data"]["a"]))
            if len(seen) == 3:
                break
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


async def test_a_watch_ends_when_its_time_is_over(cluster):
    api, namespace = cluster
    _, version = await api.list_all(CONFIG_MAPS, namespace)
    kinds = [event["type"] async for event in api.watch(CONFIG_MAPS, namespace, version, for_s=1)]
    assert set(kinds) <= {"BOOKMARK"}


async def test_a_version_that_is_too_old_must_be_listed_anew(cluster):
    api, namespace = cluster
    with pytest.raises(ExpiredError):
        async for _ in api.watch(DEPLOYMENTS, namespace, "1", for_s=1):
            pass


async def test_a_watch_of_a_kind_that_is_not_there(cluster):
    api, namespace = cluster
    with pytest.raises(NotFoundError):
        async for _ in api.watch(Resource("nvidia.com", "v1alpha1", "nothings", "Nothing"), namespace, "1", for_s=1):
            pass


async def test_a_mirror_follows(cluster):
    api, namespace = cluster
    mirror = Mirror(api, DEPLOYMENTS, namespace, fields="metadata.name=one")
    task = asyncio.create_task(mirror.run())
    try:
        await api.create(DEPLOYMENTS, namespace, named("other", services()))
        await api.create(DEPLOYMENTS, namespace, named("one", services()))
        await until(lambda: (namespace, "one") in mirror.objects)
        await api.patch(DEPLOYMENTS, namespace, "one", {"spec": {"backendFramework": "sglang"}})
        await until(lambda: mirror.objects[namespace, "one"]["spec"]["backendFramework"] == "sglang")
        assert set(mirror.objects) == {(namespace, "one")}
        await api.delete(DEPLOYMENTS, namespace, "one")
        await until(lambda: not mirror.objects)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_oneself_may_do_is_told(cluster):
    api, namespace = cluster
    assert await api.allowed({"namespace": namespace, "verb": "get", "group": "", "resource": "pods"})
