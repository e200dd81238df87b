"""A stand-in for the Dynamo operator and the kubelet: what is asked of adapters and deployments comes to be."""

from __future__ import annotations

import asyncio
import contextlib

from connectors.kubernetes.errors import KubernetesError
from connectors.kubernetes.resources import ADAPTERS, DEPLOYMENTS, PODS


class Operator:
    """Reconciles one deployment, over and over: adapters to components, components to pods, pods to status.

    Workers serve ``startup_s`` after they were asked for, and take ``drain_s`` to end.
    """

    def __init__(self, api, namespace, name, *, startup_s=0.3, drain_s=0.0, every_s=0.05):
        self.api = api
        self.namespace = namespace
        self.name = name
        self.startup_s = startup_s
        self.drain_s = drain_s
        self.every_s = every_s
        self.stuck = set()
        self.rollout = ""
        self.most_gpus = 0
        self._born = {}
        self._leaving = {}
        self._numbers = iter(range(10**6))
        self._task = None

    async def __aenter__(self):
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def serving(self, component):
        now = asyncio.get_running_loop().time()
        if component in self.stuck:
            return 0
        return sum(now - born >= self.startup_s for born in self._born.get(component, {}).values())

    def there(self, component):
        return len(self._born.get(component, {}))

    async def _run(self):
        while True:
            with contextlib.suppress(KubernetesError):
                await self.reconcile()
            await asyncio.sleep(self.every_s)

    async def reconcile(self):
        body = await self.api.get(DEPLOYMENTS, self.namespace, self.name)
        components = _components(body["spec"])
        for name, spec in components.items():
            await self._follow_adapter(body, name, spec)
        self.most_gpus = max(self.most_gpus, sum(_gpus(spec) * spec.get("replicas", 1) for spec in components.values()))
        states = {name: await self._pool(name, spec.get("replicas", 1)) for name, spec in components.items()}
        ready = all(state["availableReplicas"] == state["replicas"] for state in states.values())
        status = {
            "observedGeneration": body["metadata"]["generation"],
            "state": "successful" if ready else "pending",
            "services" if "services" in body["spec"] else "components": states,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "reason": "all_resources_are_ready" if ready else "some_resources_are_not_ready",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        }
        if self.rollout:
            status["rollingUpdate"] = {"phase": self.rollout}
        if status != body.get("status"):
            await self.api.patch(DEPLOYMENTS, self.namespace, self.name, {"status": status}, "status")

    async def _follow_adapter(self, body, name, spec):
        path = (ADAPTERS, self.namespace, f"{self.name}-{name.lower()}")
        try:
            adapter = await self.api.get(*path)
        except KubernetesError:
            return
        wanted = adapter["spec"]["replicas"]
        if spec.get("replicas", 1) != wanted:
            spec["replicas"] = wanted
            if "services" in body["spec"]:
                patch = {"spec": {"services": {name: {"replicas": wanted}}}}
            else:
                index = next(i for i, one in enumerate(body["spec"]["components"]) if one["name"] == name)
                patch = [{"op": "add", "path": f"/spec/components/{index}/replicas", "value": wanted}]
            body["metadata"] = (await self.api.patch(DEPLOYMENTS, self.namespace, self.name, patch))["metadata"]
        if (adapter.get("status") or {}).get("replicas") != wanted:
            await self.api.patch(*path, {"status": {"replicas": wanted}}, "status")

    async def _pool(self, name, replicas):
        now = asyncio.get_running_loop().time()
        born, leaving = self._born.setdefault(name, {}), self._leaving.setdefault(name, {})
        while len(born) < replicas:
            pod = f"{self.name}-{name.lower()}-{next(self._numbers)}"
            born[pod] = now
            await self._make_pod(pod, name)
        while len(born) > replicas:
            pod = next(reversed(born))
            del born[pod]
            leaving[pod] = now
        for pod, since in list(leaving.items()):
            if now - since >= self.drain_s:
                del leaving[pod]
                await self.api.delete(PODS, self.namespace, pod)
        serving = self.serving(name)
        return {
            "componentKind": "Deployment",
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": serving,
            "availableReplicas": serving,
        }

    async def _make_pod(self, pod, component):
        labels = {
            "nvidia.com/dynamo-graph-deployment-name": self.name,
            "nvidia.com/dynamo-component": component,
        }
        spec = {"containers": [{"name": "main", "image": "engine"}]}
        await self.api.create(PODS, self.namespace, {"metadata": {"name": pod, "labels": labels}, "spec": spec})
        if component in self.stuck:
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/8 nodes are available: 8 Insufficient nvidia.com/gpu.",
            }
            await self.api.patch(PODS, self.namespace, pod, {"status": {"conditions": [condition]}}, "status")


def _components(spec):
    return spec["services"] if "services" in spec else {one["name"]: one for one in spec["components"]}


def _gpus(spec):
    return int(((spec.get("resources") or {}).get("limits") or {}).get("gpu", 0))
