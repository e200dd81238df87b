"""The daemon as a process in a cluster: a real API server, the shipped rights, and what goes wrong in clusters."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import uuid
from pathlib import Path

import httpx
import pytest

from profiles import sample_profile_dir
from tests.kubernetes.cluster import DECODE, MODEL, PREFILL, WORKER, Cluster, deployment

pytestmark = pytest.mark.live

RIGHTS = Path(__file__).parents[2] / "examples" / "kubernetes" / "rbac.yaml"
ACCOUNT, DGD, BUDGET = "planner-serviceaccount", "vllm-disagg", 8
INTERVAL_S, PATIENCE_S = 1.0, 60.0
# Requests in a second, ISL, OSL, and what they take: next to nothing; all but one worker for prefill; for decode.
IDLE, PROMPTS, ANSWERS = (1, 2000, 200), (200, 3000, 20), (100, 100, 1000)


class Pod:
    """``python -m planner`` with a service account mounted, as the container of a pod has it."""

    def __init__(self, server, namespace, frontend, directory, port):
        self.server = server
        self.namespace = namespace
        self.mount = directory / "serviceaccount"
        self.mount.mkdir()
        (self.mount / "ca.crt").write_bytes(server.ca_file.read_bytes())
        (self.mount / "namespace").write_text(namespace)
        self.renew_token()
        self._log = directory / "log"
        self._url = f"http://127.0.0.1:{port}"
        self._flags = {
            "dgd-name": DGD,
            "kube-service-account-dir": self.mount,
            "kube-timeout": 2,
            "profile-results-dir": sample_profile_dir(),
            "metrics-source": "scrape",
            "frontend-metrics-url": frontend.url,
            "ttft": 500,
            "itl": 8,
            "max-gpu-budget": BUDGET,
            "adjustment-interval": INTERVAL_S,
            "reaction-interval": 0,
            "scale-down-window": 0,
            "load-predictor": "constant",
            "sizing": "throughput",
            "metric-reporting-prometheus-port": port,
            "metric-reporting-host": "127.0.0.1",
            "log-format": "json",
        }
        self._process = None

    def renew_token(self):
        """As the kubelet does: a new token in the same file."""
        token = self.server.token_of(self.namespace, ACCOUNT)
        (self.mount / "new").write_text(token)
        (self.mount / "new").rename(self.mount / "token")

    async def start(self, *command, **flags):
        words = [
            word
            for name, value in (self._flags | flags).items()
            if value is not None
            for word in ((f"--{name}", str(value)) if value != "true" else (f"--{name}",))
        ]
        address = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.server.port)}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "planner", *command, *words),
                env={**os.environ, **address, "PLANNER_NO_CORRECTION": "true"},
                stdout=log,
                stderr=log,
            )

    async def run(self, *command, **flags):
        """Run to the end: exit code and what was shown."""
        await self.start(*command, **flags)
        code = await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        return code, self.log

    async def stop(self):
        """Ask it to end, if it runs; the exit code."""
        if self._process is None:
            return None
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 20)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        return self._process.returncode

    @property
    def alive(self):
        return self._process.returncode is None

    @property
    def log(self):
        return self._log.read_text(encoding="utf-8")

    @property
    def entries(self):
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def said(self, words, since=0):
        return any(words in json.dumps(entry) for entry in self.entries[since:])

    async def records(self):
        async with httpx.AsyncClient(trust_env=False) as http:
            page = await http.get(f"{self._url}/api/v1/decisions")
            return page.raise_for_status().json()["decisions"]


@pytest.fixture
async def begin(kube_api_server, frontends, tmp_path, free_port):
    """Begins a story: a namespace with the shipped rights, a deployment, a cluster around it, a load, a planner."""
    async with contextlib.AsyncExitStack() as stack:

        async def story(version="v1beta1", load=IDLE, **how):
            namespace = await asyncio.to_thread(kube_api_server.namespace, f"ml-{uuid.uuid4().hex[:8]}")
            await asyncio.to_thread(kube_api_server.kubectl, "apply", "-n", namespace, "-f", str(RIGHTS))
            cluster = Cluster(kube_api_server, namespace, DGD, version)
            if how.get("aggregated"):
                cluster.workers = (WORKER,)
            await stack.enter_async_context(cluster)
            await cluster.create(deployment(DGD, version, **how))
            [frontend] = await frontends(1)
            pod = Pod(kube_api_server, namespace, frontend, tmp_path, free_port())
            stack.push_async_callback(pod.stop)
            told = Story(cluster, pod, load)
            feeding = asyncio.create_task(told.feed(frontend))
            stack.push_async_callback(asyncio.gather, feeding, return_exceptions=True)
            stack.callback(feeding.cancel)
            return told

        yield story


class Story:
    """Who takes part in a test."""

    def __init__(self, cluster, pod, load):
        self.cluster = cluster
        self.pod = pod
        self.load = load

    async def feed(self, frontend):
        """Requests at the rate of now, ten times a second."""
        rest, last = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(0.1)
            rps, isl, osl = self.load
            now = time.monotonic()
            rest, last = rest + rps * (now - last), now
            frontend.serve(int(rest), model=MODEL, isl=isl, osl=osl, ttft_s=0.2, itl_s=0.004)
            rest -= int(rest)

    async def until(self, condition, what):
        """Wait until a condition, maybe asynchronous, holds; the API server may be away meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                held = condition()
                if await held if asyncio.iscoroutine(held) else held:
                    return
            assert self.pod.alive, f"the planner ended:\n{self.pod.log[-3000:]}"
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}\n{self.pod.log[-3000:]}"
            await asyncio.sleep(0.1)

    async def until_asked(self, fits, what):
        async def asked():
            return fits(*await self.cluster.replicas())

        await self.until(asked, what)

    async def until_idle(self):
        await self.until_asked(lambda prefill, decode: (prefill, decode) == (1, 1), "no more than the minimum")

    async def until_rounds(self, more):
        """Wait for so many adjustments more."""
        last = (await self.pod.records())[-1]["decision"]["time"] if more else 0.0

        async def made():
            return sum(one["decision"]["time"] > last for one in await self.pod.records()) >= more

        await self.until(made, f"{more} adjustments")

    async def told(self, reason, words=""):
        return any(reason == one and words in message for one, message in await self.cluster.events())


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
async def test_workers_follow_the_load_within_the_budget_at_every_instant(begin, version):
    story = await begin(version)
    await story.pod.start()
    story.load = PROMPTS
    await story.until_asked(lambda prefill, decode: prefill >= 5, "most of the budget for prefill")

    story.load = ANSWERS
    await story.until_asked(lambda prefill, decode: decode >= 5, "most of the budget for decode")

    story.load = IDLE
    await story.until_idle()
    assert max(map(sum, story.cluster.asked)) <= BUDGET, story.cluster.asked
    assert await story.told("Scaled", f"{DECODE} ")

    async def settled():
        pods = await story.cluster.pods()
        last = (await story.pod.records())[-1]["observation"]
        seen = [(last[pool]["ready"], last[pool]["pending"], last[pool]["draining"]) for pool in ("prefill", "decode")]
        return [len(found) for found in pods.values()] == [1, 1] and seen == [(1, 0, 0)] * 2

    await story.until(settled, "the planner sees what runs")
    records = await story.pod.records()
    seen = [one["observation"][pool] for one in records for pool in ("prefill", "decode") if one["observation"][pool]]
    assert any(pool["pending"] for pool in seen), "workers that start were seen"
    assert await story.pod.stop() == 0


async def test_one_pool_that_serves_both_phases_follows_the_load_without_an_adapter(begin):
    story = await begin(aggregated=True, adapters=False)
    await story.pod.start(mode="agg")
    story.load = PROMPTS
    await story.until_asked(lambda workers: workers >= 5, "many workers")
    story.load = IDLE
    await story.until_asked(lambda workers: workers == 1, "one worker")
    assert max(map(sum, story.cluster.asked)) <= BUDGET


async def test_a_rolling_update_is_not_cut_down_and_stuck_workers_freeze_nothing(begin):
    story = await begin(load=PROMPTS)
    cluster, pod = story.cluster, story.pod
    await pod.start()
    await story.until_asked(lambda prefill, decode: prefill >= 5, "most of the budget for prefill")

    cluster.rollout = "InProgress"
    story.load = IDLE

    async def waits():
        return ((await pod.records())[-1]["applied"] or {}).get("outcome") == "waiting"

    await story.until(waits, "it waits for the rolling update")
    await story.until_rounds(3)
    assert (await cluster.replicas())[0] >= 5
    cluster.rollout = "Completed"
    await story.until_idle()

    cluster.stuck = {PREFILL}
    story.load = PROMPTS

    async def pending():
        return (await pod.records())[-1]["observation"]["prefill"]["pending"] >= 1

    await story.until(pending, "workers that do not become ready are pending")
    story.load = ANSWERS
    await story.until_asked(lambda prefill, decode: prefill == 1 and decode >= 5, "the other pool grows all the same")
    assert max(map(sum, cluster.asked)) <= BUDGET


async def test_edits_by_others_are_noticed_and_conflicts_waited_out(begin):
    story = await begin("v1alpha1", adapters=False)
    cluster, pod = story.cluster, story.pod
    await pod.start()
    await story.until_rounds(0)
    await story.until(lambda: pod.said("No scaling needed"), "a quiet start")
    await cluster.edit(DECODE, 4)
    await story.until(lambda: story.told("ReplicasEdited", f"{DECODE} went from 1 to 4"), "the edit is told")
    await story.until_idle()

    async def storm(number):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                note = {"metadata": {"annotations": {f"storm-{number}": uuid.uuid4().hex}}}
                await cluster.patch(cluster.dgd, note)

    storms = [asyncio.create_task(storm(number)) for number in range(8)]
    try:
        story.load = PROMPTS
        await story.until_asked(lambda prefill, decode: prefill >= 5, "scaled in a storm of writes")
        story.load = IDLE
        await story.until_idle()
    finally:
        for task in storms:
            task.cancel()
        await asyncio.gather(*storms, return_exceptions=True)


async def test_it_outlives_the_api_server_and_its_token(begin, kube_api_server):
    story = await begin()
    cluster, pod = story.cluster, story.pod
    await pod.start()
    await story.until(lambda: pod.said("No scaling needed"), "a quiet start")

    kube_api_server.kill()
    try:
        story.load = PROMPTS
        await story.until(lambda: pod.said("workers unknown"), "it says that it cannot see")
    finally:
        await asyncio.to_thread(kube_api_server.resume)
    await story.until_asked(lambda prefill, decode: prefill >= 5, "it scales as soon as it can")

    with kube_api_server.frozen():
        since = len(pod.entries)
        # Where nothing is to change, what was last seen is good for a while.
        story.load = IDLE
        unheard = ("workers unknown", "Could not scale")
        await story.until(lambda: any(pod.said(words, since) for words in unheard), "it waits no longer than it has to")
        story.load = PROMPTS
    await story.until_asked(lambda prefill, decode: prefill >= 5, "it scales again")
    await story.until_rounds(2)

    account = f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts/{ACCOUNT}"
    await asyncio.to_thread(kube_api_server.request, "DELETE", account)
    await asyncio.to_thread(kube_api_server.kubectl, "apply", "-n", cluster.namespace, "-f", str(RIGHTS))
    pod.renew_token()
    since = len(pod.entries)
    story.load = IDLE
    await story.until_idle()
    await story.until_rounds(2)
    assert not pod.said("workers unknown", since), "the new token was taken before anybody noticed"


async def test_rights_that_are_removed_cost_a_feature_each(begin, kube_api_server):
    story = await begin()
    cluster, pod = story.cluster, story.pod
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{cluster.namespace}/roles/sla-planner"
    whole = await cluster.get(role)

    async def allow(fits):
        await cluster.patch(role, {"rules": [rule for rule in whole["rules"] if fits(rule["resources"][0])]})

    await allow(lambda resource: resource != "pods")
    await pod.start()
    await story.until(lambda: pod.said("No scaling needed"), "a quiet start")
    assert pod.said("no right to list pods")

    await allow(lambda resource: "adapters" not in resource)
    story.load = PROMPTS
    await story.until(
        lambda: pod.said("no right to patch dynamographdeploymentscalingadapters/scale"), "it says what it lacks"
    )
    await story.until(lambda: story.told("ScalingFailed"), "so does an event")
    assert await cluster.replicas() == (1, 1)
    await allow(lambda _: True)
    await story.until_asked(lambda prefill, decode: prefill >= 5, "it scales when it may again")
    assert sum("no right to list pods" in json.dumps(entry) for entry in pod.entries) == 1
    await pod.stop()

    await allow(lambda resource: resource != "dynamographdeployments")
    code, shown = await pod.run()
    assert code == 2
    assert "no right to get dynamographdeployments" in shown


async def test_check_tells_what_a_run_would_find(begin):
    story = await begin("v1alpha1", gpus=(1, 2))
    await story.until(lambda: True, "")
    code, shown = await story.pod.run("check", **dict.fromkeys(("adjustment-interval", "log-format")))
    assert code == 0, shown
    assert f"{story.cluster.namespace}/{DGD}" in shown
    assert f"{DECODE} (1 replica of 2 GPUs)" in " ".join(shown.replace("│", " ").split()), (
        "in as many lines as it takes"
    )
    assert MODEL in shown
    await story.cluster.edit(DECODE, 1)
    code, shown = await story.pod.run("check", **{"dgd-name": "nobody"})
    assert code != 0
    assert "there is no DynamoGraphDeployment nobody" in shown


async def test_a_role_limited_to_one_deployment_is_enough_and_a_trial_takes_only_the_rights_to_look(begin):
    story = await begin()
    cluster, pod = story.cluster, story.pod
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{cluster.namespace}/roles/sla-planner"
    adapters = [cluster.adapter(component).rpartition("/")[2] for component in (PREFILL, DECODE)]
    names = {"dynamographdeployments": [DGD], "dynamographdeploymentscalingadapters/scale": adapters}
    rules = [
        rule | {"resourceNames": names[rule["resources"][0]]} if rule["resources"][0] in names else rule
        for rule in (await cluster.get(role))["rules"]
    ]
    await cluster.patch(role, {"rules": rules})
    story.load = PROMPTS
    await pod.start()
    await story.until_asked(lambda prefill, decode: prefill >= 5, "it scales with a role for one deployment")
    assert not pod.said("no right to")
    assert not pod.said("not allowed")
    await pod.stop()

    looking = [rule | {"verbs": [verb for verb in rule["verbs"] if verb in {"get", "list", "watch"}]} for rule in rules]
    await cluster.patch(role, {"rules": [rule for rule in looking if rule["verbs"]]})
    before, since = await cluster.replicas(), len(pod.entries)
    await pod.start(**{"no-operation": "true"})
    story.load = IDLE
    await story.until(lambda: pod.said("were not asked for", since), "it decides, and changes nothing")
    assert await cluster.replicas() == before
    assert not pod.said("no right to", since)
