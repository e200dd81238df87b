"""Two planners of one deployment as processes: one scales, is frozen, and must not wake up into its old part."""

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
from connectors.kubernetes.resources import ADAPTERS, DEPLOYMENTS, LEASES
from profiles import sample_profile_dir
from tests.kubernetes.fake import FakeApiServer
from tests.kubernetes.operator import Operator

pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).parents[2] / "examples" / "kubernetes"
DGD = "vllm-disagg"
MODEL = "Qwen/Qwen3-0.6B"
PATIENCE_S = 60.0
LEASE_S, DEADLINE_S, RETRY_S = 3.0, 2.0, 0.3


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
async def cluster(request, tmp_path):
    """A namespace with the rights that are shipped, on a real API server, or on the fake one where there is none.

    The administrator's API, the namespace, and a kubeconfig of the planner's account.
    """
    if os.environ.get("KUBEBUILDER_ASSETS"):
        server = request.getfixturevalue("kube_api_server")
        namespace = server.namespace(f"ml-{uuid.uuid4().hex[:6]}")
        await asyncio.to_thread(server.kubectl, "apply", "-n", namespace, "-f", str(EXAMPLES / "rbac.yaml"))
        token = server.token_of(namespace, "planner-serviceaccount")
        admin, planner = server.kubeconfig(), server.kubeconfig(token=token, namespace=namespace)
        stop = None
    else:
        server, namespace = FakeApiServer(), "ml"
        await server.start()
        admin = planner = server.kubeconfig(tmp_path, namespace)
        stop = server.stop
    api = KubernetesApi(Access(kubeconfig=admin))
    await api.start()
    yield api, namespace, planner, server
    await api.close()
    if stop is not None:
        await stop()


@pytest.fixture
async def deployment(cluster, frontends):
    """A deployment that an operator looks after, with scaling adapters, and a load that comes and goes."""
    api, namespace, *_ = cluster
    body = yaml.safe_load((EXAMPLES / "dgd" / "vllm-v1alpha1.yaml").read_text(encoding="utf-8"))
    await api.create(DEPLOYMENTS, namespace, body)
    for name, service in body["spec"]["services"].items():
        if "scalingAdapter" in service:
            reference = {"name": DGD, "serviceName": name}
            spec = {"replicas": service["replicas"], "dgdRef": reference}
            metadata = {"name": f"{DGD}-{name.lower()}"}
            await api.create(ADAPTERS, namespace, {"metadata": metadata, "spec": spec})
    [frontend] = await frontends(1)

    async def load():
        while True:
            for requests in (2, 40):
                for _ in range(15):
                    frontend.serve(requests, model=MODEL, isl=2000, osl=200)
                    await asyncio.sleep(0.1)

    loading = asyncio.create_task(load())
    async with Operator(api, namespace, DGD, startup_s=0.1, every_s=0.1):
        yield frontend
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)


@pytest.fixture
def start(cluster, deployment, free_port, tmp_path):
    _, namespace, kubeconfig, _ = cluster
    started = []

    def begin(name):
        flags = [
            *("--environment", "kubernetes", "--kubeconfig", str(kubeconfig), "--dgd-name", DGD),
            *("--dgd-namespace", namespace, "--profile-results-dir", str(sample_profile_dir())),
            *("--metrics-source", "scrape", "--frontend-metrics-url", deployment.url),
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


async def lease(cluster):
    api, namespace, *_ = cluster
    return (await api.get(LEASES, namespace, f"sla-planner-{DGD}"))["spec"]


async def test_a_frozen_leader_is_followed_and_never_scales_beside_its_follower(cluster, start):
    first = start("first")
    await until(first.leading, "the first planner leads")
    await until(first.applied, "it scales")
    second = start("second")
    both = (first, second)
    await until(lambda: ready(second), "the second is ready", watch=both)
    assert not await second.leading()
    await until(lambda: standing_by(second), "it observes, decides and stands by", watch=both)

    # Frozen between two adjustments: a change that was under way would be told of only after it woke.
    await until(scales_again(first), "the first has just scaled")
    first.signal(signal.SIGSTOP)
    await until(second.leading, "the second leads", watch=(second,))
    await until(scales_again(second), "it scales", watch=(second,))
    before = first.applied()
    # Asked while it is frozen, it answers before it can hear of anything.
    asked = asyncio.create_task(first.page("metrics", within_s=PATIENCE_S))
    await asyncio.sleep(0.2)
    first.signal(signal.SIGCONT)
    assert "sla_planner_leader 0.0" in (await asked).text
    await until(lambda: deposed(first), "the first knows that it leads no more", watch=both)
    await until(scales_again(second), "the second goes on", watch=both)
    assert first.applied() == before, "it changed nothing after it woke"
    held = await lease(cluster)
    assert held["holderIdentity"].startswith("second_")
    assert held["renewTime"].endswith("Z")

    second.signal(signal.SIGTERM)
    await until(first.leading, "the first leads again", watch=both)
    assert await asyncio.to_thread(second.process.wait, PATIENCE_S) == 0
    await until(scales_again(first), "and scales")
    assert (await lease(cluster))["leaseTransitions"] == held["leaseTransitions"] + 1


async def test_a_leader_without_an_api_server_stops_in_time_and_goes_on_after(cluster, start):
    server = cluster[3]
    if isinstance(server, FakeApiServer):
        pytest.skip("no kube-apiserver to end: KUBEBUILDER_ASSETS names no folder with one")
    leader = start("only")
    await until(leader.leading, "it leads")
    await until(leader.applied, "it scales")
    transitions = (await lease(cluster))["leaseTransitions"]
    await asyncio.to_thread(server.kill)
    await until(lambda: deposed(leader), "it says that it leads no more")
    assert not await leader.leading()
    applied = leader.applied()
    await asyncio.to_thread(server.resume)
    await until(leader.leading, "it leads again")
    await until(lambda: leader.applied() > applied, "it scales again")
    assert (await lease(cluster))["leaseTransitions"] == transitions, "nobody else was there"


def scales_again(daemon):
    scaled = daemon.applied()
    return lambda: daemon.applied() > scaled


async def ready(daemon):
    page = await daemon.page("readyz")
    return page is not None and page.status_code == 200


def standing_by(daemon):
    return any(entry.get("outcome") == "standby" for entry in daemon.entries())


def deposed(daemon):
    return any(entry["event"].startswith("no longer leading") for entry in daemon.entries())
