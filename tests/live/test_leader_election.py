"""Two planners of one deployment as processes, on a real API server, under the rights that are shipped."""

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

from profiles import sample_profile_dir

pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).parents[2] / "examples" / "kubernetes"
DGD = "vllm-disagg"
MODEL = "Qwen/Qwen3-0.6B"
PATIENCE_S = 60.0
LEASE_S, DEADLINE_S, RETRY_S = 3.0, 2.0, 0.3


class Operator:
    """As the Dynamo operator: adapters for workers, their replicas into the deployment, and its status."""

    def __init__(self, server, namespace):
        self.server = server
        self.base = f"/apis/nvidia.com/v1alpha1/namespaces/{namespace}"
        self.dgd = f"{self.base}/dynamographdeployments/{DGD}"
        self.changes = 0

    def adapters(self):
        path = f"{self.base}/dynamographdeploymentscalingadapters"
        return {one["spec"]["dgdRef"]["serviceName"]: one for one in self.server.request("GET", path).json()["items"]}

    def reconcile(self):
        dgd = self.server.request("GET", self.dgd).json()
        services, adapters = dgd["spec"]["services"], self.adapters()
        for name, service in services.items():
            if "scalingAdapter" in service and name not in adapters:
                body = {
                    "apiVersion": "nvidia.com/v1alpha1",
                    "kind": "DynamoGraphDeploymentScalingAdapter",
                    "metadata": {"name": f"{DGD}-{name.lower()}"},
                    "spec": {"replicas": service["replicas"], "dgdRef": {"name": DGD, "serviceName": name}},
                }
                path = f"{self.base}/dynamographdeploymentscalingadapters"
                self.server.request("POST", path, json=body).raise_for_status()
        wanted = {name: {"replicas": one["spec"]["replicas"]} for name, one in adapters.items()}
        changed = {name: one for name, one in wanted.items() if one["replicas"] != services[name]["replicas"]}
        if changed:
            self.changes += 1
            dgd = self.server.merge(self.dgd, {"spec": {"services": changed}})
        generation = dgd["metadata"]["generation"]
        if changed or (dgd.get("status") or {}).get("observedGeneration") != generation:
            self.server.merge(f"{self.dgd}/status", {"status": self.status(dgd["spec"]["services"], generation)})

    @staticmethod
    def status(services, generation):
        def counts(number):
            keys = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            return {"componentKind": "Deployment", **dict.fromkeys(keys, number)}

        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "all_resources_are_ready",
            "message": "",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        }
        return {
            "observedGeneration": generation,
            "state": "successful",
            "conditions": [ready],
            "services": {name: counts(one["replicas"]) for name, one in services.items()},
        }

    async def run(self):
        while True:
            await asyncio.to_thread(self.reconcile)
            await asyncio.sleep(0.1)


class Daemon:
    """A planner as a process; its log is a file, read as it grows."""

    def __init__(self, name, flags, directory):
        self.port = next(int(flag) for flag in flags[flags.index("--metric-reporting-prometheus-port") + 1 :][:1])
        self.log_file = directory / f"{name}.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "planner", *flags],
                stdout=log,
                stderr=log,
                env={**os.environ, "POD_NAME": name, "PYTHONUNBUFFERED": "1"},
            )

    def entries(self):
        lines = self.log_file.read_text(encoding="utf-8").splitlines()
        assert self.process.poll() is None or self.process.returncode == 0, lines[-5:]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def applied(self):
        return sum(entry.get("outcome") == "applied" for entry in self.entries())

    async def page(self, path, *, within_s=0.5):
        """A page of its report port; None while it does not answer."""
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=within_s) as client:
                return await client.get(f"http://127.0.0.1:{self.port}/{path}")
        return None

    async def leading(self):
        page = await self.page("metrics")
        return page is not None and "sla_planner_leader 1.0" in page.text

    def signal(self, number):
        self.process.send_signal(number)


@pytest.fixture
async def deployment(kube_api_server, frontends):
    """A namespace with rights, a deployment that an operator looks after, and a load that comes and goes."""
    namespace = await asyncio.to_thread(kube_api_server.namespace, f"ml-{uuid.uuid4().hex[:6]}")
    for manifest in ("rbac.yaml", "dgd/vllm-v1alpha1.yaml"):
        await asyncio.to_thread(kube_api_server.kubectl, "apply", "-n", namespace, "-f", str(EXAMPLES / manifest))
    operator = Operator(kube_api_server, namespace)
    [frontend] = await frontends(1)

    async def load():
        while True:
            for requests in (2, 40):
                for _ in range(15):
                    frontend.serve(requests, model=MODEL, isl=2000, osl=200)
                    await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(operator.run()), asyncio.create_task(load())]
    yield namespace, operator, frontend
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, asyncio.CancelledError), result


@pytest.fixture
def start(deployment, kube_api_server, free_port, tmp_path):
    namespace, _, frontend = deployment
    token = kube_api_server.token_of(namespace, "planner-serviceaccount")
    kubeconfig = kube_api_server.kubeconfig(token=token, namespace=namespace)
    started = []

    def begin(name):
        flags = [
            *("--environment", "kubernetes", "--kubeconfig", str(kubeconfig), "--dgd-name", DGD),
            *("--dgd-namespace", namespace, "--profile-results-dir", str(sample_profile_dir())),
            *("--metrics-source", "scrape", "--frontend-metrics-url", frontend.url),
            *("--adjustment-interval", "1", "--reaction-interval", "0", "--scale-down-window", "0"),
            *("--load-predictor", "constant", "--sizing", "throughput", "--max-gpu-budget", "16"),
            *("--leader-elect", "--leader-elect-lease-duration", str(LEASE_S)),
            *("--leader-elect-renew-deadline", str(DEADLINE_S), "--leader-elect-retry-period", str(RETRY_S)),
            *("--metric-reporting-prometheus-port", str(free_port()), "--metric-reporting-host", "127.0.0.1"),
            *("--log-format", "json"),
        ]
        daemon = Daemon(name, flags, tmp_path)
        started.append(daemon)
        return daemon

    yield begin
    for daemon in started:
        daemon.process.kill()
        daemon.process.wait()


async def until(condition, what, *, watch=()):
    """Wait for a condition; all the while no two of the planners watched may say that they lead."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        leaders = await asyncio.gather(*(daemon.leading() for daemon in watch))
        assert sum(leaders) <= 1
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        await asyncio.sleep(0.05)


def lease(server, namespace):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/sla-planner-{DGD}"
    return server.request("GET", path).raise_for_status().json()["spec"]


async def test_a_frozen_leader_is_followed_and_never_scales_beside_its_follower(deployment, start, kube_api_server):
    namespace, operator, _ = deployment
    first = start("first")
    await until(first.leading, "the first planner leads")
    await until(lambda: first.applied() and operator.changes, "it scales")
    second = start("second")
    both = (first, second)
    await until(lambda: ready(second), "the second is ready", watch=both)
    assert not await second.leading()
    await until(lambda: standing_by(second), "it observes, decides and stands by", watch=both)

    first.signal(signal.SIGSTOP)
    await until(second.leading, "the second leads", watch=(second,))
    scaled = second.applied()
    await until(lambda: second.applied() > scaled, "it scales", watch=(second,))
    before = first.applied()
    # Asked while it is frozen, it answers before it can hear of anything.
    asked = asyncio.create_task(first.page("metrics", within_s=PATIENCE_S))
    await asyncio.sleep(0.2)
    first.signal(signal.SIGCONT)
    assert "sla_planner_leader 0.0" in (await asked).text
    await until(lambda: deposed(first), "the first knows that it leads no more", watch=both)
    scaled = second.applied()
    await until(lambda: second.applied() > scaled, "the second goes on", watch=both)
    assert first.applied() == before, "it changed nothing after it woke"
    held = lease(kube_api_server, namespace)
    assert held["holderIdentity"].startswith("second_")
    assert held["renewTime"].endswith("Z")

    second.signal(signal.SIGTERM)
    await until(first.leading, "the first leads again", watch=both)
    assert second.process.wait(timeout=PATIENCE_S) == 0
    await until(lambda: first.applied() > before, "and scales")
    assert lease(kube_api_server, namespace)["leaseTransitions"] == held["leaseTransitions"] + 1


async def ready(daemon):
    page = await daemon.page("readyz")
    return page is not None and page.status_code == 200


def standing_by(daemon):
    return any(entry.get("outcome") == "standby" for entry in daemon.entries())


def deposed(daemon):
    return any(entry["event"].startswith("no longer leading") for entry in daemon.entries())
