"""The connector on a cluster that does what tests want."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from connectors.base import ConnectorError, Outcome
from connectors.election import FencedError
from connectors.kubernetes import KubernetesConnector, Wanted
from connectors.kubernetes.resources import ADAPTERS, DEPLOYMENTS
from planner.core.observation import Workers
from planner.finding import Health
from tests.kubernetes.operator import Operator
from tests.waiting import until

VERSIONS = ["v1alpha1", "v1beta1"]


@pytest.fixture
def connected(api):
    @asynccontextmanager
    async def connect(*, now=lambda: 1_000.0, fence=None, clocks=None, **wanted):
        wanted = Wanted(**{"name": "graph", **wanted})
        connector = KubernetesConnector(api, wanted, now=now, fence=fence, **(clocks or {}))
        await connector.start()
        try:
            yield connector
        finally:
            if connector._following:
                connector._following.cancel()
                await asyncio.gather(connector._following, return_exceptions=True)

    return connect


def replicas(fake, namespace="default"):
    spec = fake.find("dynamographdeployments", namespace, "graph")["spec"]
    named = spec.get("services") or {one["name"]: one for one in spec["components"]}
    return named["VllmPrefillWorker"]["replicas"], named["VllmDecodeWorker"]["replicas"]


def adapters(fake):
    return tuple(
        fake.find("dynamographdeploymentscalingadapters", "default", f"graph-vllm{role}worker")["spec"]["replicas"]
        for role in ("prefill", "decode")
    )


def events(fake):
    return [o["reason"] for k, o in fake.objects.items() if k[1] == "events"]


def patches(fake):
    return [path for method, path in fake.requests if method == "PATCH"]


@pytest.mark.parametrize("version", VERSIONS)
class TestScaling:
    async def test_through_adapters_where_there_are_some(self, fake, deploy, connected, version, decision):
        await deploy(version, adapters=True)
        async with connected() as connector:
            applied = await connector.apply(decision(3, 2))
        assert applied.outcome is Outcome.APPLIED
        assert applied.detail == "VllmPrefillWorker 1 to 3, VllmDecodeWorker 1 to 2"
        assert adapters(fake) == (3, 2)
        assert replicas(fake) == (1, 1), "the operator follows its adapters"
        assert all("fieldManager=sla-planner" in path for path in patches(fake))
        assert events(fake) == ["Scaled"]

    async def test_through_the_deployment_where_there_are_none(self, fake, deploy, connected, version, decision):
        await deploy(version)
        async with connected() as connector:
            await connector.apply(decision(3, 2))
            assert replicas(fake) == (3, 2)
            again = await connector.apply(decision(3, 2))
        assert again.outcome is Outcome.UNCHANGED
        assert len([path for path in patches(fake) if "dynamographdeployments/" in path]) == 2

    async def test_one_pool_of_each_kind(self, fake, api, deploy, connected, version, decision):
        await deploy(version, adapters=True)
        await api.delete(ADAPTERS, "default", "graph-vllmdecodeworker")
        async with connected() as connector:
            await connector.apply(decision(3, 2))
        assert replicas(fake) == (1, 2)

    async def test_the_shrinking_pool_goes_first(self, fake, api, deploy, connected, version, decision):
        await deploy(version, prefill=1, decode=4, adapters=True)
        async with connected() as connector, Operator(api, "default", "graph"):
            await connector.apply(decision(3, 2))
        scaled = [path for path in patches(fake) if "scale" in path]
        assert ["decode" in path for path in scaled] == [True, False]

    async def test_the_other_grows_once_the_deployment_itself_has_shrunk(
        self, fake, api, deploy, connected, version, decision
    ):
        await deploy(version, prefill=1, decode=4, adapters=True)
        async with connected(clocks={"followed_within_s": 0.2}) as connector:
            for _ in range(2):
                applied = await connector.apply(decision(3, 2))
                assert applied.outcome is Outcome.WAITING
                assert adapters(fake) == (1, 2), "nobody follows the adapter that shrank"
            assert events(fake) == ["ScalingPostponed", "ScalingPostponed"], "with and without what shrank"
            async with Operator(api, "default", "graph"):
                await until(lambda: _true(replicas(fake) == (1, 2)))
                applied = await connector.apply(decision(3, 2))
        assert applied.outcome is Outcome.APPLIED
        assert adapters(fake) == (3, 2)

    async def test_a_half_applied_decision_is_told_and_completed(self, fake, api, deploy, connected, version, decision):
        await deploy(version, prefill=1, decode=4, adapters=True)
        async with connected() as connector, Operator(api, "default", "graph"):
            fake.fail("PATCH", "prefillworker/scale", 10, status=500)
            with pytest.raises(ConnectorError):
                await connector.apply(decision(3, 2))
            assert adapters(fake) == (1, 2), "what shrank has shrunk"
            assert events(fake) == ["ScalingFailed"]
            fake.faults.clear()
            await connector.apply(decision(3, 2))
        assert adapters(fake) == (3, 2)

    async def test_a_shrink_that_fails_lets_nothing_grow(self, fake, deploy, connected, version, decision):
        await deploy(version, prefill=1, decode=4, adapters=True)
        async with connected() as connector:
            fake.fail("PATCH", "decodeworker/scale", 10, status=403)
            with pytest.raises(ConnectorError, match="dynamographdeploymentscalingadapters/scale"):
                await connector.apply(decision(3, 2))
        assert adapters(fake) == (1, 4)

    async def test_storms_of_conflicts_are_outlived(self, fake, deploy, connected, version, decision):
        await deploy(version)
        async with connected() as connector:
            fake.fail("PATCH", "dynamographdeployments/graph", 4, status=409)
            await connector.apply(decision(3, 2))
        assert replicas(fake) == (3, 2)

    async def test_a_rolling_update_loses_no_workers(self, fake, api, deploy, connected, version, decision):
        await deploy(version, prefill=2, decode=2)
        status = {"status": {"rollingUpdate": {"phase": "InProgress"}}}
        await api.patch(DEPLOYMENTS, "default", "graph", status, "status")
        async with connected() as connector:
            waiting = await connector.apply(decision(1, 3))
            assert waiting.outcome is Outcome.WAITING
            assert replicas(fake) == (2, 2)
            grown = await connector.apply(decision(2, 3))
            assert grown.outcome is Outcome.APPLIED
            status["status"]["rollingUpdate"]["phase"] = "Completed"
            await api.patch(DEPLOYMENTS, "default", "graph", status, "status")
            await connector.apply(decision(1, 3))
        assert replicas(fake) == (1, 3)

    async def test_a_rolling_update_that_never_ends_holds_up_nothing(
        self, fake, api, deploy, connected, version, decision
    ):
        time = [0.0]
        await deploy(version, prefill=2, decode=2)
        status = {"status": {"rollingUpdate": {"phase": "InProgress"}}}
        await api.patch(DEPLOYMENTS, "default", "graph", status, "status")
        async with connected(clocks={"monotonic": lambda: time[0]}) as connector:
            assert (await connector.apply(decision(1, 2))).outcome is Outcome.WAITING
            time[0] = 3600.0
            assert (await connector.apply(decision(1, 2))).outcome is Outcome.APPLIED


async def test_a_refusal_by_an_admission_webhook_is_not_taken_for_a_missing_right(fake, deploy, connected, decision):
    await deploy()
    told = 'admission webhook "vdgd.nvidia.com" denied the request: spec.replicas cannot be modified directly'
    async with connected() as connector:
        fake.fail("PATCH", "dynamographdeployments/graph", status=403, text=json.dumps({"message": told}))
        with pytest.raises(ConnectorError, match="planner-serviceaccount") as refused:
            await connector.apply(decision(2, 1))
    assert told in str(refused.value)
    assert "no right to" not in str(refused.value)


async def test_a_trial_needs_no_rights_to_write_and_tells_nothing(fake, api, deploy, connected):
    fake.forbid("patch dynamographdeployments", "patch dynamographdeploymentscalingadapters/scale", "create events")
    await deploy(adapters=True)
    async with connected(scales=False) as connector, Operator(api, "default", "graph"):
        assert connector.warnings == ()
        await connector.workers()
        fake.forbidden.clear()
        await api.patch(ADAPTERS, "default", "graph-vllmdecodeworker", {"spec": {"replicas": 5}}, "scale")
        await connector.workers()
    assert events(fake) == []


async def test_a_list_that_is_reordered_meanwhile_gets_no_wrong_component_scaled(fake, api, deploy, connected):
    await deploy("v1beta1")
    async with connected() as connector:
        deployment = await connector._attached.scaling.deployment()
        body = fake.find("dynamographdeployments", "default", "graph")
        order = body["spec"]["components"]
        await api.patch(
            DEPLOYMENTS, "default", "graph", [{"op": "replace", "path": "/spec/components", "value": order[::-1]}]
        )
        await connector._attached.scaling.set(deployment.components["VllmPrefillWorker"], 7)
    named = {
        one["name"]: one["replicas"]
        for one in fake.find("dynamographdeployments", "default", "graph")["spec"]["components"]
    }
    assert named == {"VllmDecodeWorker": 1, "VllmPrefillWorker": 7, "Frontend": 1}


class TestWorkers:
    async def test_they_come_serve_and_drain(self, fake, api, deploy, connected, decision):
        await deploy(adapters=True)
        async with connected() as connector, Operator(api, "default", "graph", startup_s=0.3, drain_s=0.5):

            async def are(prefill, decode):
                counts = await connector.workers()
                return (counts.prefill, counts.decode) == (prefill, decode)

            await until(lambda: are(Workers(1), Workers(1)))
            await connector.apply(decision(1, 3))
            assert await are(Workers(1), Workers(1, pending=2)), "asked for, and known to be"
            await until(lambda: are(Workers(1), Workers(3)))
            await connector.apply(decision(1, 1))
            await until(lambda: are(Workers(1), Workers(1, draining=2)))
            await until(lambda: are(Workers(1), Workers(1)))

    async def test_own_writes_are_known_before_the_copy_knows_them(self, fake, deploy, api, connected, decision):
        await deploy()
        status = {"status": {"services": {f"Vllm{role}Worker": {"readyReplicas": 1} for role in ("Prefill", "Decode")}}}
        await api.patch(DEPLOYMENTS, "default", "graph", status, "status")
        async with connected() as connector:
            await until(lambda: _true(connector._mirror.objects))
            fake.fail("GET", "watch=true", 1000, status=500)
            connector._mirror.objects = dict(connector._mirror.objects)
            await connector.apply(decision(2, 1))
            counts = await connector.workers()
        assert counts.prefill == Workers(1, pending=1)
        assert "ReplicasEdited" not in events(fake)

    async def test_without_the_right_to_list_pods(self, fake, api, deploy, connected):
        fake.forbid("list pods", "list dynamographdeployments", "get dynamographdeploymentscalingadapters/scale")
        await deploy(adapters=True)
        async with connected() as connector, Operator(api, "default", "graph"):
            assert sum("no right to" in warning for warning in connector.warnings) == 3

            async def serve():
                return (await connector.workers()).decode == Workers(1)

            await until(serve)

    async def test_what_others_change_is_told_and_begun_from(self, fake, api, deploy, connected, decision):
        await deploy(adapters=True)
        async with connected() as connector, Operator(api, "default", "graph"):
            await connector.workers()
            path = (ADAPTERS, "default", "graph-vllmdecodeworker")
            await api.patch(*path, {"spec": {"replicas": 5}}, "scale")
            counts = await connector.workers()
            assert counts.decode.requested == 5
            assert events(fake) == ["ReplicasEdited"]
            await connector.workers()
            assert events(fake) == ["ReplicasEdited"], "told once"
            await connector.apply(decision(1, 2))
            assert adapters(fake) == (1, 2)

    async def test_pods_that_cannot_start_are_asked_why(self, fake, api, deploy, connected, decision):
        time = [1000.0]
        await deploy(adapters=True)
        operator = Operator(api, "default", "graph")
        operator.stuck.add("VllmDecodeWorker")
        async with connected(now=lambda: time[0]) as connector, operator:

            async def pending():
                return (await connector.workers()).decode.pending == 1

            await until(pending)
            assert events(fake) == []
            time[0] += 300

            async def told():
                await connector.workers()
                return events(fake)

            await until(told)
            assert events(fake) == ["WorkersNotStarting"]
            message = next(o["message"] for k, o in fake.objects.items() if k[1] == "events")
            assert "Insufficient nvidia.com/gpu" in message
            given_back = await connector.apply(decision(1, 0))
        assert given_back.outcome is Outcome.APPLIED

    async def test_a_cluster_that_cannot_be_read_makes_them_unknown(self, fake, deploy, connected):
        await deploy()
        async with connected() as connector:
            fake.fail("GET", "/", 1000, status=500)
            with pytest.raises(ConnectorError):
                await connector.workers()


async def _true(value):
    return bool(value)


class Standby:
    write_within_s = 0.0


async def test_who_does_not_lead_changes_nothing(fake, api, deploy, connected, decision):
    await deploy(adapters=True)
    async with connected(fence=Standby()) as connector:
        with pytest.raises(FencedError):
            await connector.apply(decision(3, 2))
        await api.patch(ADAPTERS, "default", "graph-vllmdecodeworker", {"spec": {"replicas": 5}}, "scale")
        await connector.workers()
    assert adapters(fake) == (1, 5)
    assert events(fake) == [], "the leader's changes are no surprise"


async def test_who_does_not_lead_leaves_it_to_the_leader_to_ask_why(fake, api, deploy, connected):
    time = [1000.0]
    await deploy(adapters=True)
    operator = Operator(api, "default", "graph")
    operator.stuck.add("VllmDecodeWorker")
    async with connected(now=lambda: time[0], fence=Standby()) as connector, operator:

        async def unschedulable():
            return any("status" in pod for key, pod in fake.objects.items() if key[1] == "pods")

        async def pending():
            return (await connector.workers()).decode.pending == 1

        await until(pending)
        await until(unschedulable)
        time[0] += 300
        await connector.workers()
    assert events(fake) == []


class TestDiscovery:
    async def test_model_and_gpus(self, deploy, connected):
        await deploy(gpus=4)
        async with connected() as connector:
            assert connector.engine_gpus == (4, 4)
            assert connector.model_name == "Qwen/Qwen3-0.6B"
            assert connector.warnings == ()

    async def test_the_only_deployment_needs_no_name(self, deploy, connected):
        await deploy()
        async with connected(name=None) as connector:
            assert connector.place == ("default", "graph")

    @pytest.mark.parametrize(("names", "told"), [([], "there is none"), (["a", "b"], "there are a, b")])
    async def test_which_of_several_or_none_is_asked(self, deploy, connected, names, told):
        for name in names:
            await deploy(name=name)
        with pytest.raises(ConnectorError, match=rf"give --dgd-name.*{told}"):
            async with connected(name=None):
                pass

    async def test_one_that_is_not_there(self, connected):
        with pytest.raises(ConnectorError, match=r"no DynamoGraphDeployment graph in namespace default.*--dgd-name"):
            async with connected():
                pass

    async def test_another_model_than_named(self, deploy, connected):
        await deploy()
        with pytest.raises(ConnectorError, match=r"--model-name is other, but .* serves Qwen/Qwen3-0.6B"):
            async with connected(model_name="other"):
                pass

    async def test_a_cluster_that_does_not_answer(self, fake, connected):
        fake.fail("GET", "/apis/nvidia.com", 1000, status=503)
        with pytest.raises(ConnectorError, match=r"no answer from the cluster of the kubeconfig .*503"):
            async with connected():
                pass

    async def test_a_cluster_without_the_operator(self, fake, connected):
        fake.versions["nvidia.com"] = ()
        with pytest.raises(ConnectorError, match="the Dynamo operator is not installed"):
            async with connected():
                pass

    @pytest.mark.parametrize(
        "rights",
        [
            ("get dynamographdeployments",),
            ("patch dynamographdeployments", "patch dynamographdeploymentscalingadapters/scale"),
        ],
        ids=str,
    )
    async def test_rights_it_cannot_go_without(self, fake, deploy, connected, rights):
        await deploy()
        fake.forbid(*rights)
        with pytest.raises(ConnectorError) as refused:
            async with connected():
                pass
        for right in rights:
            verb, what = right.split()
            rule = f'{{apiGroups: ["nvidia.com"], resources: [{what}], verbs: [{verb}]}}'
            assert rule in str(refused.value)

    async def test_check(self, fake, api, deploy):
        await deploy(prefill=2)
        fake.forbid("create events")
        connector = KubernetesConnector(api, Wanted(name="graph"), now=lambda: 0.0)
        findings = await connector.check()
        told = {(finding.subject, finding.health) for finding in findings}
        assert told == {("Kubernetes", Health.OK), ("deployment", Health.OK), ("rights", Health.WARNING)}
        assert "verbs: [create]" in findings[-1].remedy
        assert not patches(fake)
        assert "(2 replicas of 1 GPU)" in findings[1].detail
        assert "(1 replica of 1 GPU)" in findings[1].detail
        assert connector.engine_gpus == (1, 1)
        assert connector.model_name
        nowhere = await KubernetesConnector(api, Wanted(name="other"), now=lambda: 0.0).check()
        assert "there is no DynamoGraphDeployment other in namespace default; there is graph; see" in nowhere[0].detail
        assert [finding.health for finding in nowhere] == [Health.FAILED]


async def test_events_are_few(fake, api, deploy, connected):
    await deploy()
    async with connected() as connector:
        for number in range(100):
            await connector._attached.events.tell("graph", "u", reason="Scaled", message=f"{number % 50}")
    assert len(events(fake)) == 20
