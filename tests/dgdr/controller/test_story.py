"""Requests from their creation to what becomes of them, on an API server in the test's process."""

from __future__ import annotations

import asyncio

import pytest

from connectors.kubernetes import KubernetesApi
from connectors.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS
from planner.dgdr.issues import GenerationError
from planner.dgdr.ownership import CONTROLLER, NAME, Owner, labels_of
from planner.dgdr.result import ResultStore
from tests.dgdr.controller.world import alpha, beta, estimate, generated

SHAPES = pytest.mark.parametrize(("shape", "ready"), [(alpha, "Ready"), (beta, "Deployed")])


@SHAPES
@pytest.mark.parametrize("online", [False, True])
async def test_from_a_request_to_a_deployment(world, shape, ready, online):
    world.controller()
    await world.create(shape(online=online))
    body = await world.until(ready)
    status = body["status"]
    assert status["observedGeneration"] == 1
    assert {one["type"]: one["status"] for one in status["conditions"]}.items() >= {
        "Validation": "True",
        "Profiling": "True",
        "SpecGenerated": "True",
        "DeploymentReady": "True",
    }.items()
    dgd = await world.api.get(DEPLOYMENTS, world.namespace, "llama-dgd")
    assert labels_of(dgd)[NAME] == "llama"
    assert "ownerReferences" not in dgd["metadata"], "it outlives the request"
    if shape is alpha:
        assert status["profilingResults"] == "configmap/dgdr-output-llama"
        assert status["generatedDeployment"]["spec"] == dgd["spec"]
        assert status["deployment"] == {
            "name": "llama-dgd",
            "namespace": world.namespace,
            "state": "successful",
            "created": True,
        }
    else:
        assert status["dgdName"] == "llama-dgd"
        assert status["profilingPhase"] == "Done"
        assert status["deploymentInfo"]["replicas"] == 3
        assert status.get("profilingJobName", "") == ("profile-llama" if online else "")
        assert (await world.condition("Succeeded"))["status"] == "True"
    assert await world.names(JOBS) == (["profile-llama"] if online else [])
    reasons = [reason for reason, _ in await world.events()]
    assert len(set(reasons)) == len(reasons)
    assert {"Initialized", "ProfilingCompleted", "DeploymentCreated", "DeploymentReady"} <= set(reasons)


@SHAPES
async def test_without_auto_apply_it_ends_with_manifests(world, shape, ready):
    world.controller()
    await world.create(shape(auto_apply=False))
    await world.until("Ready")
    await asyncio.sleep(0.2)
    assert await world.state() == "Ready"
    assert await world.names(DEPLOYMENTS) == []
    assert "kubectl -n ml get configmap dgdr-output-llama" in (await world.condition("SpecGenerated"))["message"]


@SHAPES
async def test_a_deployment_that_is_deleted_is_not_made_anew(world, shape, ready):
    world.controller()
    await world.create(shape())
    await world.until(ready)
    await world.api.delete(DEPLOYMENTS, world.namespace, "llama-dgd")
    body = await world.until("DeploymentDeleted" if shape is alpha else "Failed")
    await asyncio.sleep(0.2)
    assert await world.names(DEPLOYMENTS) == []
    assert "delete the request and create it again" in (await world.condition("DeploymentReady"))["message"]
    assert "dgdName" not in body["status"]


@SHAPES
async def test_a_deployment_that_ails_is_told_of(world, shape, ready):
    world.controller()
    await world.create(shape())
    await world.until(ready)
    world.ready, world.fails = False, "0/8 nodes are available"
    await world.until("Deploying")
    assert "0/8 nodes" in (await world.condition("DeploymentReady"))["message"]
    world.ready = True
    await world.until(ready)


async def test_a_change_is_refused_once_profiling_has_begun(world):
    begun, seen = asyncio.Event(), []

    async def slow(request, *, base=None, on_progress=None, planner_image=None):
        seen.append(request.model)
        await begun.wait()
        return generated(request)

    first = world.controller(estimate=slow)
    await world.create(alpha())
    await world.until("Profiling")
    await world.api.patch(world.requests, world.namespace, "llama", {"spec": {"model": "other/model"}})

    async def refused():
        return any(reason == "SpecChangeRejected" for reason, _ in await world.events())

    await world.wait(refused, "the change is refused")
    first.cancel()
    begun.set()
    world.controller(estimate=slow)
    body = await world.until("Ready")
    assert set(seen) == {"Qwen/Qwen3-32B"}, "what was accepted is what is profiled, also after a restart"
    assert body["status"]["observedGeneration"] == 1
    [message] = [message for reason, message in await world.events() if reason == "SpecChangeRejected"]
    assert "delete the request and create it again" in message


@pytest.mark.parametrize("online", [False, True])
async def test_deleting_a_request_ends_its_work_and_leaves_its_deployment(world, online):
    started, stopped = asyncio.Event(), asyncio.Event()

    async def endless(request, *, base=None, on_progress=None, planner_image=None):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    world.job_succeeds = None
    await world.stop()
    world.operate()
    world.controller(estimate=endless)
    body = await world.create(alpha(online=online))
    await world.until("Profiling")
    if not online:
        await asyncio.wait_for(started.wait(), 60)
    await world.trial(Owner.of(body))
    await world.api.delete(world.requests, world.namespace, "llama")
    await world.gone(DEPLOYMENTS, "left-over")
    if online:
        await world.gone(JOBS, "profile-llama")
    else:
        await asyncio.wait_for(stopped.wait(), 60)

    await world.create(alpha("other"))
    await world.stop()
    world.operate()
    world.controller()
    await world.until("Ready", "other")
    await world.api.delete(world.requests, world.namespace, "other")
    await asyncio.sleep(0.3)
    assert await world.names(DEPLOYMENTS) == ["other-dgd"]


async def test_what_a_job_left_is_removed_when_the_request_has_ended_or_is_gone(world):
    body = await world.create(alpha(online=True))
    await world.trial(Owner.of(body), "of-this")
    await world.trial(Owner(name="gone", namespace=world.namespace, uid="0"), "of-none")
    world.controller()
    await world.until("Ready")
    await world.gone(DEPLOYMENTS, "of-this")
    await world.gone(DEPLOYMENTS, "of-none")


async def test_only_requests_that_name_the_controller_are_taken(world):
    world.controller()
    await world.create(alpha("not-ours", annotations={CONTROLLER: "somebody"}))
    await world.create(alpha("nobodys", annotations={"some": "note"}))
    await world.create(alpha("ours"))
    await world.until("Ready", "ours")
    assert [await world.state(name) for name in ("not-ours", "nobodys")] == ["", ""]
    await world.stop()
    world.operate()
    world.controller(takes_all=True)
    await world.until("Ready", "nobodys")
    assert await world.state("not-ours") == ""


async def test_an_invalid_request_fails_at_once(world):
    world.controller()
    reference = {"profilerImage": "x", "config": {}, "configMapRef": {"name": "nowhere", "key": "disagg.yaml"}}
    await world.create(alpha(profilingConfig=reference))
    await world.until("Failed")
    condition = await world.condition("Validation")
    assert (condition["status"], condition["reason"]) == ("False", "ValidationFailed")
    assert "refers to ConfigMap nowhere, which namespace ml does not have: create it" in condition["message"]


async def test_an_estimate_that_is_impossible_fails_with_its_reason(world):
    async def impossible(request, *, base=None, on_progress=None, planner_image=None):
        raise GenerationError("the SLA cannot be met: raise ttft to 500 ms")

    world.controller(estimate=impossible)
    await world.create(alpha())
    await world.until("Failed")
    assert (await world.condition("Profiling"))["message"] == "the SLA cannot be met: raise ttft to 500 ms"


async def test_a_job_that_failed_is_told_with_its_last_lines(world):
    ended = {"exitCode": 1, "reason": "Error", "message": "RuntimeError: engine died\n"}
    world.job_succeeds = False
    world.job_pod = {"containerStatuses": [{"name": "profiler", "state": {"terminated": ended}}]}
    world.controller()
    await world.create(alpha(online=True))
    await world.until("Failed")
    message = (await world.condition("Profiling"))["message"]
    assert "BackoffLimitExceeded: 3 pods failed" in message
    assert "ended with code 1: RuntimeError: engine died" in message


async def test_how_far_a_job_is_shows_in_the_status(world):
    await world.stop()
    world.controller()
    body = await world.create(beta(online=True))
    await world.until("Profiling")
    await ResultStore(world.api, Owner.of(body)).tell({"phase": "SweepingDecode", "message": "3 of 7 points"})

    async def told():
        return (await world.condition("Profiling")).get("message") == "3 of 7 points"

    await world.wait(told, "its progress is told")
    assert (await world.request())["status"]["profilingPhase"] == "SweepingDecode"


async def test_a_job_that_is_deleted_is_told(world):
    await world.stop()
    world.controller()
    await world.create(alpha(online=True))
    await world.until("Profiling")
    await world.api.delete(JOBS, world.namespace, "profile-llama")
    await world.until("Failed")
    assert "job profile-llama was deleted" in (await world.condition("Profiling"))["message"]


async def test_without_the_account_of_jobs_it_says_how_to_make_it(world):
    from connectors.kubernetes.resources import SERVICE_ACCOUNTS

    await world.api.delete(SERVICE_ACCOUNTS, world.namespace, "dgdr-profiling-job")
    world.controller()
    await world.create(alpha(online=True))
    await world.until("Failed")
    assert (
        "kubectl apply -n ml -f examples/kubernetes/dgdr/profiling-job.yaml"
        in (await world.condition("Validation"))["message"]
    )


async def test_what_a_request_refers_to_has_to_be_there(world):
    world.controller()
    await world.api.create(CONFIG_MAPS, world.namespace, {"metadata": {"name": "base"}, "data": {"other.yaml": ""}})
    config = alpha(online=True)["spec"]["profilingConfig"]
    await world.create(alpha("key", profilingConfig={**config, "configMapRef": {"name": "base", "key": "disagg.yaml"}}))
    await world.create(alpha("claim", profilingConfig={**config, "outputPVC": "profiles"}))
    for name, complaint in (
        ("key", "key disagg.yaml of ConfigMap base, which does not have it; it has other.yaml: name one of these"),
        ("claim", "PersistentVolumeClaim profiles, which namespace ml does not have: create it"),
    ):
        await world.until("Failed", name)
        assert complaint in (await world.condition("Validation", name))["message"]


async def test_without_an_image_of_this_planner_nothing_can_be_measured(world):
    world.controller()
    config = alpha(online=True)["spec"]["profilingConfig"]
    image = {"profilerImage": "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.1"}
    await world.create(alpha("without", profilingConfig={**config, **image}))
    await world.until("Failed", "without")
    assert "start the controller with --profiler-image" in (await world.condition("Profiling", "without"))["message"]
    await world.stop()
    world.operate()
    world.kubelet()
    world.controller(image="sla-planner:ours")
    await world.create(alpha("with", profilingConfig={**config, **image}))
    await world.until("Ready", "with")
    [container] = (await world.api.get(JOBS, world.namespace, "profile-with"))["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "sla-planner:ours"


async def test_jobs_that_are_none_of_its_own_or_leave_nothing_are_told(world):
    await world.stop()
    world.controller()
    taken = {"metadata": {"name": "profile-taken"}, "spec": {"template": {}}}
    await world.api.create(JOBS, world.namespace, taken)
    await world.create(alpha("taken", online=True))
    await world.until("Failed", "taken")
    assert "job profile-taken is there already" in (await world.condition("Profiling", "taken"))["message"]
    await world.create(alpha("empty", online=True))
    await world.until("Profiling", "empty")
    done = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    await world.api.patch(JOBS, world.namespace, "profile-empty", done, subresource="status")
    await world.until("Failed", "empty")
    message = (await world.condition("Profiling", "empty"))["message"]
    assert "left no result in ConfigMap dgdr-output-empty: have it run an image of this planner" in message


async def test_a_result_or_a_profile_that_is_not_as_it_was_left_is_told(world, fake):
    foreign = {"metadata": {"name": "taken-profile"}, "data": {}}
    await world.api.create(CONFIG_MAPS, world.namespace, foreign)
    world.controller()
    await world.create(alpha("taken"))
    await world.until("Failed", "taken")
    assert "ConfigMap taken-profile in namespace ml" in (await world.condition("DeploymentReady", "taken"))["message"]
    fake.forbid("create dynamographdeployments")
    await world.create(alpha("gone"))
    await world.until("Deploying", "gone")
    await world.api.delete(CONFIG_MAPS, world.namespace, "dgdr-output-gone")
    await world.until("Failed", "gone")
    message = (await world.condition("DeploymentReady", "gone"))["message"]
    assert "ConfigMap dgdr-output-gone was deleted before what it holds was deployed" in message


async def test_a_deployment_of_somebody_else_is_left_alone(world):
    foreign = generated(await _request(world)).dgd
    await world.api.create(DEPLOYMENTS, world.namespace, foreign)
    world.controller()
    await world.create(alpha())
    await world.until("Failed")
    message = (await world.condition("DeploymentReady"))["message"]
    assert "llama-dgd in namespace ml is there already and is not of this request" in message
    assert labels_of(await world.api.get(DEPLOYMENTS, world.namespace, "llama-dgd")) == {}


async def test_a_deployment_of_an_earlier_request_of_the_name_is_taken_as_it_is(world):
    world.controller()
    await world.create(alpha())
    await world.until("Ready")
    await world.api.delete(world.requests, world.namespace, "llama")
    changed = {"spec": {"services": {"Frontend": {"envs": [{"name": "A", "value": "1"}]}}}}
    await world.api.patch(DEPLOYMENTS, world.namespace, "llama-dgd", changed)

    async def other(request, *, base=None, on_progress=None, planner_image=None):
        made = await estimate(request)
        made.dgd["spec"]["services"]["Frontend"]["replicas"] = 5
        made.dgd["spec"]["services"]["Frontend"]["envs"] = [{"name": "A", "value": "2"}]
        made.additional[0]["data"]["prefill_raw_data.json"] = "{1}"
        return made

    await world.stop()
    world.operate()
    world.controller(estimate=other)
    await world.create(alpha())
    await world.until("Ready")
    assert any(reason == "DeploymentAdopted" for reason, _ in await world.events())
    kept = await world.api.get(DEPLOYMENTS, world.namespace, "llama-dgd")
    assert kept["spec"]["services"]["Frontend"]["envs"] == [{"name": "A", "value": "1"}]
    profile = await world.api.get(CONFIG_MAPS, world.namespace, "llama-profile")
    assert profile["data"] == {"prefill_raw_data.json": "{1}"}, "its planner is given the new profile"


async def test_what_may_pass_is_waited_for(world, fake):
    fake.forbid("create dynamographdeployments")
    world.controller()
    await world.create(alpha())

    async def told():
        return (await world.condition("DeploymentReady")).get("reason") == "DeploymentPostponed"

    await world.wait(told, "it says that it may not")
    fake.forbidden.clear()
    await world.until("Ready")


async def test_an_api_server_with_the_hiccups(world, fake):
    world.controller()
    for method, part in (("PUT", "/status"), ("POST", "dynamographdeployments"), ("POST", "configmaps")):
        fake.fail(method, part, times=2, way="after")
        fake.fail(method, part, times=2, status=500)
    await world.create(alpha())
    await world.until("Ready")
    assert await world.names(DEPLOYMENTS) == ["llama-dgd"]


async def test_a_server_that_drops_what_it_does_not_know_is_told_of(world, caplog):
    class Dropping(KubernetesApi):
        async def replace(self, *args, **options):
            body = await super().replace(*args, **options)
            del body["status"]["state"]
            return body

    world.controller(Dropping(world.access))
    await world.create(alpha())

    async def said():
        complaints = [getattr(record, "detail", "") for record in caplog.records]
        return any("the server drops the state of requests that are written as v1alpha1" in one for one in complaints)

    await world.wait(said, "it says what is wrong")


async def _request(world):
    from types import SimpleNamespace

    return SimpleNamespace(name="llama")
