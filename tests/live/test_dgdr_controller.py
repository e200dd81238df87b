"""Controllers of deployment requests as processes, at a real API server, with the rights that are shipped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
import pytest
import yaml

from connectors.kubernetes import Access, KubernetesApi
from connectors.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, EVENTS, JOBS, LEASES, PODS
from connectors.kubernetes.resources import REQUESTS as REQUESTS_KIND
from planner.cli import parse
from planner.dgdr.ownership import TRIAL, labels_of
from planner.dgdr.request import PROFILE_CONFIG_MAP
from profiles import load_profiles
from tests.dgdr.controller.test_restart import Stories
from tests.dgdr.controller.world import World, alpha
from tests.profiles.making.conftest import StandIn

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "examples" / "kubernetes" / "dgdr"
REQUESTS = ROOT / "examples" / "dgdr"
# Without a conversion webhook a server shows each shape only in its own version.
ALPHA = "dynamographdeploymentrequests.v1alpha1.nvidia.com"
LEASE = "sla-planner-dgdr-sla-planner"
QUICK = ["--prefill-points", "3", "--context-points", "2", "--batch-points", "2", "--isl-range", "100,800"]


class Controller:
    """A controller as a pod would run it: under its account, with the arguments of the manifest and some more."""

    def __init__(self, name, kubeconfig, namespace, port, folder):
        self.name, self.port = name, port
        self.log_file = folder / f"{name}.log"
        [container] = next(
            one["spec"]["template"]["spec"]["containers"]
            for one in yaml.safe_load_all((SHIPPED / "controller.yaml").read_text(encoding="utf-8"))
            if one["kind"] == "Deployment"
        )
        arguments = [
            *container["args"],
            *("--watch-namespace", namespace, "--kubeconfig", str(kubeconfig), "--all", "--resync", "2"),
            *("--leader-elect-lease-duration", "3", "--leader-elect-renew-deadline", "2"),
            *("--leader-elect-retry-period", "0.3", "--metric-reporting-prometheus-port", str(port)),
            *("--metric-reporting-host", "127.0.0.1", "--log-format", "json"),
        ]
        with self.log_file.open("wb") as log:
            command = [sys.executable, "-m", "planner", *arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "POD_NAME": name})

    async def page(self, path):
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=2) as client:
                return await client.get(f"http://127.0.0.1:{self.port}/{path}")
        return None

    async def leads(self):
        page = await self.page("metrics")
        return page is not None and "sla_planner_dgdr_leader 1.0" in page.text

    async def ready(self):
        page = await self.page("readyz")
        return page is not None and page.status_code == 200

    def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def namespace(kube_api_server):
    name = kube_api_server.namespace(f"dgdr-{uuid.uuid4().hex[:6]}")
    for file in ("controller.yaml", "profiling-job.yaml"):
        kube_api_server.kubectl("apply", "-n", name, "-f", str(SHIPPED / file))
    return name


@pytest.fixture
def kubeconfig_of(kube_api_server, namespace):
    """A kubeconfig of a service account, with the rights that are shipped for it and no others."""

    def make(account):
        return kube_api_server.kubeconfig(token=kube_api_server.token_of(namespace, account), namespace=namespace)

    return make


@pytest.fixture
async def world(kube_api_server, namespace):
    access = Access(kubeconfig=kube_api_server.kubeconfig(namespace=namespace))
    api = KubernetesApi(access)
    await api.start()
    world = World(api, access, namespace)
    world.operate()
    yield world
    await world.stop()
    await api.close()
    # The last words of TLS connections are still being said.
    await asyncio.sleep(0.1)


@pytest.fixture
def kubectl(kube_api_server, namespace):
    async def run(*arguments, **options):
        return await asyncio.to_thread(kube_api_server.kubectl, "-n", namespace, *arguments, **options)

    return run


@pytest.fixture
def start(kubeconfig_of, namespace, free_port, tmp_path):
    started = []

    def begin(name):
        controller = Controller(name, kubeconfig_of("sla-planner-dgdr"), namespace, free_port(), tmp_path)
        started.append(controller)
        return controller

    yield begin
    for controller in started:
        controller.process.kill()
        controller.process.wait()


async def test_requests_become_deployments_while_controllers_come_and_go(world, kubectl, start, tmp_path):
    first = start("first")
    await world.wait(first.leads, "the first leads")
    second = start("second")
    await world.wait(second.ready, "the second stands by")
    assert not await second.leads()

    await kubectl("apply", "-f", str(REQUESTS / "vllm-v1alpha1.yaml"))
    await world.until("Profiling", "qwen3-32b")
    first.end()
    body = await world.until("Ready", "qwen3-32b")
    assert await second.leads()
    assert (await world.api.get(LEASES, world.namespace, LEASE))["spec"]["holderIdentity"].startswith("second_")
    assert body["status"]["backend"] == "vllm"
    generated = body["status"]["generatedDeployment"]
    dgd = await world.api.get(DEPLOYMENTS, world.namespace, "qwen3-32b-dgd")
    assert dgd["spec"] == generated["spec"]
    await _is_understood(world, dgd, tmp_path)

    await kubectl("patch", ALPHA, "qwen3-32b", "--type=merge", "-p", '{"spec": {"model": "other/model"}}')

    async def refused():
        return any(reason == "SpecChangeRejected" for reason, _ in await world.events())

    await world.wait(refused, "the change is refused")
    shown = await kubectl("get", ALPHA, "qwen3-32b")
    assert "Ready" in shown
    assert "successful" in shown
    await kubectl("delete", "dgd", "qwen3-32b-dgd")
    await world.until("DeploymentDeleted", "qwen3-32b")

    unknown = alpha("unknown-gpus", annotations={"some": "note"})
    unknown["spec"]["profilingConfig"]["config"]["sweep"]["aicSystem"] = "abacus"
    await kubectl("apply", "-f", "-", text=json.dumps(unknown))
    await world.until("Failed", "unknown-gpus")
    message = (await world.condition("Profiling", "unknown-gpus"))["message"]
    assert "abacus" in message
    assert "spec.profilingConfig.config.sweep.aicSystem" in message

    await asyncio.to_thread(second.end, signal.SIGTERM)
    assert second.process.returncode == 0
    told = [event["reason"] for event in (await world.api.list_all(EVENTS, world.namespace))[0]]
    assert told.count("DeploymentCreated") == 1
    logged = second.log_file.read_text(encoding="utf-8")
    assert '"level": "error"' not in logged
    assert "no right to" not in logged
    assert "forbidden" not in logged


async def _is_understood(world, dgd, tmp_path):
    """The generated planner accepts its arguments, and the profile that is mounted there."""
    planner = next(one for one in dgd["spec"]["services"].values() if one["componentType"] == "planner")
    settings = parse(planner["extraPodSpec"]["mainContainer"]["args"], {"DYN_PARENT_DGD_K8S_NAME": "x"}).settings
    assert (settings.ttft, settings.itl, settings.backend) == (500, 30, "vllm")
    name = next(one["configMap"]["name"] for one in planner["extraPodSpec"]["volumes"] if "configMap" in one)
    folder = tmp_path / "mounted"
    folder.mkdir()
    for file, content in (await world.api.get(CONFIG_MAPS, world.namespace, name))["data"].items():
        (folder / file).write_text(content)
    load_profiles(folder, prefill_gpus=None, decode_gpus=None)


@pytest.fixture
def stored_as_beta(kube_api_server):
    """Requests are kept as v1beta1 alone, as no webhook converts them here."""
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dynamographdeploymentrequests.nvidia.com"

    def store(beta):
        body = kube_api_server.request("GET", crd).json()
        for version in body["spec"]["versions"]:
            version["storage"] = (version["name"] == "v1beta1") is beta
            version["served"] = version["storage"] or not beta
        kube_api_server.request("PUT", crd, json=body).raise_for_status()
        for _ in range(300):
            shown = kube_api_server.request("GET", "/apis/nvidia.com/v1alpha1").json()
            served = any(one["name"] == "dynamographdeploymentrequests" for one in shown["resources"])
            if served is not beta:
                return
            time.sleep(0.1)
        pytest.fail("the definition of requests did not change")

    store(beta=True)
    yield
    store(beta=False)


async def test_requests_of_v1beta1_and_two_in_one_namespace(stored_as_beta, world, kubectl, start, tmp_path):
    controller = start("only")
    await world.wait(controller.leads, "the controller leads")
    world = World(world.api, world.access, world.namespace, REQUESTS_KIND.at("v1beta1"))
    await kubectl("apply", "-f", str(REQUESTS / "vllm-v1beta1.yaml"))
    body = await world.until("Deployed", "qwen3-32b")
    assert body["status"]["dgdName"] == "qwen3-32b-dgd"
    assert body["status"]["profilingPhase"] == "Done"
    assert (await world.condition("Succeeded", "qwen3-32b"))["status"] == "True"

    second = yaml.safe_load((REQUESTS / "vllm-v1beta1.yaml").read_text(encoding="utf-8"))
    second["metadata"]["name"] = "second"
    await kubectl("apply", "-f", "-", text=json.dumps(second))
    await world.until("Failed", "second")
    message = (await world.condition("DeploymentReady", "second"))["message"]
    assert "ConfigMap planner-profile-data" in message
    assert PROFILE_CONFIG_MAP in message
    await kubectl("delete", "dgdr", "second")
    second["metadata"]["annotations"] |= {PROFILE_CONFIG_MAP: "another-profile"}
    await kubectl("apply", "-f", "-", text=json.dumps(second))
    await world.until("Deployed", "second")
    await kubectl("delete", "dgd", "second-dgd")
    await world.until("Failed", "second")


class Kubelet:
    """Runs the container of a profiling job as a process under the account of jobs, and tells how it ended."""

    def __init__(self, world, kubeconfig, engine, folder):
        self.world, self.kubeconfig, self.engine, self.folder = world, kubeconfig, engine, folder
        self.more = []
        self.processes, self.ending = {}, []

    async def run(self):
        api, namespace = self.world.api, self.world.namespace
        while True:
            jobs = {one["metadata"]["name"]: one for one in (await api.list_all(JOBS, namespace))[0]}
            for name, job in jobs.items():
                if name not in self.processes:
                    self.processes[name] = asyncio.create_task(self._pod(name, job))
            for name in self.processes.keys() - jobs.keys():
                self.stop(name)
            await asyncio.sleep(0.1)

    def stop(self, name):
        """End a pod; it may take its time."""
        process = self.processes.pop(name)
        process.cancel()
        self.ending.append(process)

    async def close(self):
        for name in list(self.processes):
            self.stop(name)
        await asyncio.gather(*self.ending, return_exceptions=True)

    async def _pod(self, name, job):
        api, namespace = self.world.api, self.world.namespace
        [container] = job["spec"]["template"]["spec"]["containers"]
        arguments = [
            *container["args"],
            *("--output", str(self.folder), "--kubeconfig", str(self.kubeconfig), "--endpoint", self.engine.url),
            *(*QUICK, *self.more),
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *container["command"][1:],
            *arguments,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, log = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        body = {"metadata": {"name": f"{name}-pod", "labels": {"job-name": name}}, "spec": {"containers": [container]}}
        del body["spec"]["containers"][0]["volumeMounts"]
        await api.create(PODS, namespace, body)
        # As the kubelet does with FallbackToLogsOnError.
        ended = {"exitCode": process.returncode, "reason": "Error", "message": log.decode()[-2000:]}
        state = {"name": "profiler", "state": {"terminated": ended}, "ready": False, "restartCount": 0}
        state |= {"image": "x", "imageID": "x"}
        await api.patch(PODS, namespace, f"{name}-pod", {"status": {"containerStatuses": [state]}}, "status")
        condition = {"type": "Failed" if process.returncode else "Complete", "status": "True", "reason": "x"}
        await api.patch(JOBS, namespace, name, {"status": {"conditions": [condition]}}, "status")


@pytest.fixture
async def kubelet(world, kubeconfig_of, tmp_path):
    async with StandIn(speed=30, max_kv_tokens=4000) as engine:
        kubelet = Kubelet(world, kubeconfig_of("dgdr-profiling-job"), engine, tmp_path / "data")
        world.run(kubelet.run())
        yield kubelet
        await kubelet.close()


async def test_engines_are_measured_by_a_job_or_it_is_told_why_not(world, kubelet, kubectl, start):
    controller = start("only")
    await world.wait(controller.ready, "the controller is ready")
    measured = alpha("measured", online=True)
    # The engine answers in real time: a busy machine makes it many times slower.
    measured["spec"]["profilingConfig"]["config"]["sla"] |= {"ttft": 10_000, "itl": 1_000}
    await kubectl("apply", "-f", "-", text=json.dumps(measured))
    await world.until("Ready", "measured")
    assert await world.names(DEPLOYMENTS) == ["measured-dgd"]

    world.ready, world.fails = False, "0/8 nodes are available: 8 Insufficient nvidia.com/gpu."
    kubelet.more = ["--ready-timeout", "0.5"]
    await kubectl("apply", "-f", "-", text=json.dumps(alpha("hopeless", online=True)))
    await world.until("Failed", "hopeless")
    message = (await world.condition("Profiling", "hopeless"))["message"]
    assert "ended with code 2" in message
    assert "Insufficient nvidia.com/gpu" in message

    kubelet.more = ["--ready-timeout", "600"]
    await kubectl("apply", "-f", "-", text=json.dumps(alpha("abandoned", online=True)))

    async def tries():
        return any(TRIAL in labels_of(one) for one in (await world.api.list_all(DEPLOYMENTS, world.namespace))[0])

    await world.wait(tries, "its temporary deployment is there")
    await kubectl("delete", "dgdr", "abandoned")

    async def tidy():
        jobs = await world.names(JOBS)
        return not await tries() and "profile-abandoned" not in jobs

    await world.wait(tidy, "job and temporary deployment are gone")
    logged = controller.log_file.read_text(encoding="utf-8")
    assert '"level": "error"' not in logged
    assert "forbidden" not in logged


async def test_killed_at_every_step_at_a_real_server(world):
    class Log:
        """What was created, as the fake server's log has it."""

        log = ()

    stories = Stories(world, Log, alpha, "Ready")
    writes, _ = await stories.tell()
    for at in range(1, writes + 1):
        await stories.tell(at=at)
    names = await world.names(DEPLOYMENTS)
    assert names == sorted(f"r{number}-dgd" for number in range(1, writes + 2))
    events = [
        (one["involvedObject"]["name"], one["reason"]) for one in (await world.api.list_all(EVENTS, world.namespace))[0]
    ]
    assert len(set(events)) == len(events)


async def test_without_a_right_it_ends_and_names_the_rule(kube_api_server, namespace, kubectl, start):
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/sla-planner-dgdr"
    role = kube_api_server.request("GET", path).json()
    role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["jobs"]]
    kube_api_server.request("PUT", path, json=role).raise_for_status()
    controller = start("poor")
    code = await asyncio.to_thread(controller.process.wait, 60)
    assert code == 2
    shown = controller.log_file.read_text(encoding="utf-8")
    assert "no right to create jobs in" in shown
    assert "engines cannot be measured: add to its role the rule" in shown
    assert '{apiGroups: ["batch"], resources: [jobs], verbs: [create]}' in shown
