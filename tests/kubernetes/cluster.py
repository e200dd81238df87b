"""What a cluster adds to an API server, in small: the Dynamo operator, the scheduler and the kubelets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import time
from dataclasses import dataclass, field

import httpx

MODEL = "Qwen/Qwen3-0.6B"
PREFILL, DECODE, WORKER = "VllmPrefillWorker", "VllmDecodeWorker", "VllmWorker"
_GRAPH, _COMPONENT = "nvidia.com/dynamo-graph-deployment-name", "nvidia.com/dynamo-component"
_MERGE = {"Content-Type": "application/merge-patch+json"}
_EVERY_S = 0.05


def deployment(name, version, *, adapters=True, gpus=(1, 1), aggregated=False):
    """A vllm deployment of one worker of each kind, as a map of services (v1alpha1) or a list of components."""
    args = ["--model", MODEL]
    roles = {PREFILL: ("prefill", gpus[0]), DECODE: ("decode", gpus[1])}
    if aggregated:
        roles = {WORKER: ("worker", gpus[0])}
    if version == "v1alpha1":
        services = {"Frontend": {"componentType": "frontend", "replicas": 1}}
        for component, (role, number) in roles.items():
            services[component] = {
                "componentType": "worker",
                **({"subComponentType": role} if role != "worker" else {}),
                "replicas": 1,
                "resources": {"limits": {"gpu": str(number)}},
                "extraPodSpec": {"mainContainer": {"command": ["python3", "-m", "dynamo.vllm"], "args": args}},
                **({"scalingAdapter": {"enabled": True}} if adapters else {}),
            }
        spec = {"services": services}
    else:
        components = [{"name": "Frontend", "type": "frontend", "replicas": 1}]
        for component, (role, number) in roles.items():
            main = {"name": "main", "args": args, "resources": {"limits": {"nvidia.com/gpu": str(number)}}}
            components.append(
                {
                    "name": component,
                    "type": role,
                    "replicas": 1,
                    "podTemplate": {"spec": {"containers": [main]}},
                    **({"scalingAdapter": {}} if adapters else {}),
                }
            )
        spec = {"components": components}
    return {
        "apiVersion": f"nvidia.com/{version}",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name},
        "spec": {"backendFramework": "vllm", **spec},
    }


@dataclass
class Cluster:
    """Looks after one deployment of a namespace until it is closed.

    Attributes:
        start_s: Time from a pod's creation until it is ready.
        end_s: Time that a pod takes to end.
        stuck: Components whose new pods never become ready.
        rollout: Phase of a rolling update that the status tells of.
        shrink_lag_s: Time that adapters take to be followed downwards; upwards they are at once.
        workers: The components that it looks after.
        asked: Replicas that the deployment has asked for, each state that was seen, in the order of ``workers``.
    """

    server: object
    namespace: str
    name: str
    version: str
    start_s: float = 0.3
    end_s: float = 0.3
    stuck: set = field(default_factory=set)
    rollout: str = ""
    shrink_lag_s: float = 0.4
    workers: tuple = (PREFILL, DECODE)
    asked: list = field(default_factory=list)

    def __post_init__(self):
        self._numbers = itertools.count()
        self._born, self._ended = {}, {}
        self._shrinking = {}
        self._http = None
        self._task = None

    async def __aenter__(self):
        from tests.kubernetes.server import ADMIN_TOKEN

        self._http = httpx.AsyncClient(
            base_url=self.server.url,
            verify=ssl.create_default_context(cafile=self.server.ca_file),
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            timeout=10,
            trust_env=False,
        )
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._http.aclose()

    def path(self, plural, name="", group="nvidia.com", subresource=""):
        root = f"/apis/{group}/{self.version}" if group else "/api/v1"
        parts = (root, "namespaces", self.namespace, plural, name, subresource)
        return "/".join(part for part in parts if part)

    @property
    def dgd(self):
        return self.path("dynamographdeployments", self.name)

    def adapter(self, component):
        return self.path("dynamographdeploymentscalingadapters", f"{self.name}-{component.lower()}")

    async def get(self, path):
        return (await self._http.get(path)).raise_for_status().json()

    async def patch(self, path, body):
        return (await self._http.patch(path, json=body, headers=_MERGE)).raise_for_status().json()

    async def create(self, body):
        collection = self.path("dynamographdeployments")
        (await self._http.post(collection, json=body)).raise_for_status()

    async def events(self):
        """What was told of the deployment: reason and message."""
        items = (await self.get(self.path("events", group="")))["items"]
        return [(one["reason"], one["message"]) for one in items]

    async def replicas(self):
        """Replicas that the deployment asks for, in the order of ``workers``."""
        specs = self._components(await self.get(self.dgd))
        return tuple(specs[component]["replicas"] for component in self.workers)

    async def pods(self):
        """Pods by component."""
        found = {component: [] for component in self.workers}
        for pod in (await self.get(self.path("pods", group="")))["items"]:
            found[pod["metadata"]["labels"][_COMPONENT]].append(pod)
        return found

    async def edit(self, component, replicas):
        """Change replicas as a human would: through the adapter if there is one."""
        if (await self._http.get(self.adapter(component))).is_success:
            await self.patch(self.adapter(component), {"spec": {"replicas": replicas}})
        else:
            await self._write(component, replicas)

    async def _write(self, component, replicas):
        dgd = await self.get(self.dgd)
        spec = dgd["spec"]
        self._components(dgd)[component]["replicas"] = replicas
        if "services" in spec:
            spec = {"services": {component: {"replicas": replicas}}}
        precondition = {"resourceVersion": dgd["metadata"]["resourceVersion"]}
        await self.patch(self.dgd, {"metadata": precondition, "spec": spec})

    @staticmethod
    def _components(dgd):
        spec = dgd["spec"]
        return spec["services"] if "services" in spec else {one["name"]: one for one in spec["components"]}

    async def _run(self):
        while True:
            # Without the API server nobody in a cluster does anything; conflicts are tried again in the next round.
            with contextlib.suppress(httpx.HTTPError):
                for component in self.workers:
                    await self._follow(component)
                await self._look_after_pods()
            await asyncio.sleep(_EVERY_S)

    async def _follow(self, component):
        """Take one adapter's replicas into the deployment; make the adapter if it is not there yet."""
        dgd = await self.get(self.dgd)
        spec = self._components(dgd)[component]
        self.asked.append(tuple(self._components(dgd)[one]["replicas"] for one in self.workers))
        if "scalingAdapter" not in spec:
            return
        found = await self._http.get(self.adapter(component))
        if found.status_code == 404:
            reference = "serviceName" if self.version == "v1alpha1" else "componentName"
            body = {
                "apiVersion": f"nvidia.com/{self.version}",
                "kind": "DynamoGraphDeploymentScalingAdapter",
                "metadata": {"name": f"{self.name}-{component.lower()}"},
                "spec": {"replicas": spec["replicas"], "dgdRef": {"name": self.name, reference: component}},
            }
            collection = self.path("dynamographdeploymentscalingadapters")
            (await self._http.post(collection, json=body)).raise_for_status()
            return
        wanted = found.raise_for_status().json()["spec"]["replicas"]
        now = time.monotonic()
        since = self._shrinking.setdefault(component, now) if wanted < spec["replicas"] else 0.0
        if wanted != spec["replicas"] and now - since >= self.shrink_lag_s:
            self._shrinking.pop(component, None)
            await self._write(component, wanted)
            await self.patch(f"{self.adapter(component)}/status", {"status": {"replicas": wanted}})

    async def _look_after_pods(self):
        dgd, pods = await self.get(self.dgd), await self.pods()
        states = {}
        for component in self.workers:
            asked = self._components(dgd)[component]["replicas"]
            live = [pod for pod in pods[component] if "deletionTimestamp" not in pod["metadata"]]
            for _ in range(asked - len(live)):
                await self._begin(component)
            # Those that do not serve go first.
            for pod in sorted(live, key=self._is_ready)[: max(0, len(live) - asked)]:
                await self._end(pod)
            ready = sum([await self._grow_up(component, pod) for pod in live])
            states[component] = dict.fromkeys(("replicas", "updatedReplicas"), asked) | dict.fromkeys(
                ("readyReplicas", "availableReplicas"), min(ready, asked)
            )
            for pod in pods[component]:
                if "deletionTimestamp" in pod["metadata"]:
                    await self._end(pod)
        await self._tell(dgd, states)

    async def _begin(self, component):
        name = f"{self.name}-{component.lower()}-{next(self._numbers)}-{time.monotonic_ns()}"
        labels = {_GRAPH: self.name, _COMPONENT: component}
        spec = {"nodeName": "node", "containers": [{"name": "main", "image": "engine"}]}
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        (await self._http.post(self.path("pods", group=""), json=body)).raise_for_status()
        self._born[name] = time.monotonic()

    async def _grow_up(self, component, pod):
        """Make a pod ready when its time has come; whether it is."""
        name = pod["metadata"]["name"]
        if self._is_ready(pod):
            return True
        if component in self.stuck:
            waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
            image = {"image": "engine", "imageID": "", "ready": False, "restartCount": 0}
            status = {"containerStatuses": [{"name": "main", **image, "state": waiting}]}
            await self.patch(self.path("pods", name, "", "status"), {"status": status})
            return False
        if time.monotonic() - self._born.setdefault(name, time.monotonic()) < self.start_s:
            return False
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": None}
        await self.patch(self.path("pods", name, "", "status"), {"status": status})
        return True

    async def _end(self, pod):
        """Ask a pod to end, and let it be gone when its time has come."""
        name = pod["metadata"]["name"]
        since = self._ended.setdefault(name, time.monotonic())
        grace_s = 30 if time.monotonic() - since < self.end_s else 0
        if grace_s == 0 or "deletionTimestamp" not in pod["metadata"]:
            await self._http.delete(f"{self.path('pods', name, '')}?gracePeriodSeconds={grace_s}")

    @staticmethod
    def _is_ready(pod):
        conditions = (pod.get("status") or {}).get("conditions") or ()
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    async def _tell(self, dgd, states):
        ready = all(one["readyReplicas"] == one["replicas"] for one in states.values()) and not self.rollout
        kept = dgd.get("status") or {}
        key = "services" if self.version == "v1alpha1" else "components"
        condition = {
            "type": "Ready",
            "status": str(ready),
            "reason": "all_resources_are_ready" if ready else "some_resources_are_not_ready",
            "message": "",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        }
        status = {
            "observedGeneration": dgd["metadata"]["generation"],
            "state": "successful" if ready else "pending",
            "conditions": [condition],
            "rollingUpdate": {"phase": self.rollout},
            key: {name: {"componentKind": "Deployment", **one} for name, one in states.items()},
        }
        if any(kept.get(name) != value for name, value in status.items()):
            await self.patch(f"{self.dgd}/status", {"status": status})
