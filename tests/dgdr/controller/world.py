"""A cluster in small for the controller: who writes requests, the operator, and the kubelet of profiling jobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace

from connectors.kubernetes import KubernetesApi
from connectors.kubernetes.errors import ConflictError, KubernetesError, NotFoundError
from connectors.kubernetes.resources import DEPLOYMENTS, EVENTS, JOBS, PODS, REQUESTS, SERVICE_ACCOUNTS
from planner.dgdr.controller.controller import Controller, ControllerOptions
from planner.dgdr.controller.job import ACCOUNT
from planner.dgdr.ownership import CONTROLLER, NAME, TRIAL, Owner, labels_of
from planner.dgdr.result import Result, ResultStore

NAMESPACE = "ml"
PATIENCE_S = 60.0


def alpha(name="llama", *, online=False, auto_apply=True, annotations=None, **spec):
    sweep = {"useAiConfigurator": not online, "aicSystem": "h200_sxm", "aicHfId": "Qwen/Qwen3-32B"}
    config = {"sla": {"isl": 3000, "osl": 150, "ttft": 400, "itl": 30}, "sweep": sweep}
    return {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeploymentRequest",
        "metadata": {"name": name, "annotations": annotations or {CONTROLLER: "sla-planner"}},
        "spec": {
            "model": "Qwen/Qwen3-32B",
            "backend": "vllm",
            "profilingConfig": {"profilerImage": "sla-planner:test", "config": config},
            "autoApply": auto_apply,
            **spec,
        },
    }


def beta(name="llama", *, online=False, auto_apply=None, annotations=None, **spec):
    applying = {} if auto_apply is None else {"autoApply": auto_apply}
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentRequest",
        "metadata": {"name": name, "annotations": annotations or {CONTROLLER: "sla-planner"}},
        "spec": {
            "model": "Qwen/Qwen3-32B",
            "backend": "vllm",
            "image": "sla-planner:test",
            "hardware": {"gpuSku": "h200_sxm"},
            "workload": {"isl": 3000, "osl": 150},
            "sla": {"ttft": 400, "itl": 30},
            "searchStrategy": "thorough" if online else "rapid",
            **applying,
            **spec,
        },
    }


def generated(request, *, name=None, namespace=None):
    """Small manifests, as ``generate`` makes them."""
    metadata = {"name": name or f"{request.name}-dgd", **({"namespace": namespace} if namespace else {})}
    services = {
        "Frontend": {"componentType": "frontend", "replicas": 1},
        "VllmDecodeWorker": {"componentType": "worker", "subComponentType": "decode", "replicas": 1},
        "VllmPrefillWorker": {"componentType": "worker", "subComponentType": "prefill", "replicas": 1},
    }
    dgd = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": metadata,
        "spec": {"backendFramework": "vllm", "services": services},
    }
    profile = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{request.name}-profile", **({"namespace": namespace} if namespace else {})},
        "data": {"prefill_raw_data.json": "{}"},
    }
    return SimpleNamespace(dgd=dgd, additional=[profile], choice=None)


async def estimate(request, *, base=None, on_progress=None, planner_image=None):
    await asyncio.sleep(0)
    return generated(request)


class Killed(BaseException):
    """The process of a controller ends here."""


class KillingApi(KubernetesApi):
    """Ends its controller right before the n-th write."""

    def __init__(self, access, *, at=None):
        super().__init__(access, timeout_s=5)
        self.at = at
        self.writes = 0

    async def _guarded(self, write):
        self.writes += 1
        if self.writes == self.at:
            write.close()
            raise Killed
        return await write

    async def create(self, *args, **options):
        return await self._guarded(super().create(*args, **options))

    async def replace(self, *args, **options):
        return await self._guarded(super().replace(*args, **options))

    async def patch(self, *args, **options):
        return await self._guarded(super().patch(*args, **options))

    async def delete(self, *args, **options):
        return await self._guarded(super().delete(*args, **options))


class World:
    """One namespace of a cluster, through its administrator's eyes."""

    def __init__(self, api, access, namespace=NAMESPACE, requests=REQUESTS):
        self.api, self.access, self.namespace, self.requests = api, access, namespace, requests
        self.ready, self.job_succeeds = True, True
        self.job_pod = None
        self.fails = ""
        self._tasks = []

    async def __aenter__(self):
        await self.api.create(SERVICE_ACCOUNTS, self.namespace, {"metadata": {"name": ACCOUNT}})
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def stop(self):
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run(self, coroutine):
        task = asyncio.create_task(coroutine)
        self._tasks.append(task)
        return task

    def forget(self, task):
        """What becomes of a task is no longer this world's concern."""
        self._tasks.remove(task)

    def controller(self, api=None, *, estimate=estimate, elector=None, **options):
        """Start a controller; the task of it."""
        options = {"namespace": self.namespace, "resync_s": 0.5, "look_s": 0.05, "retry_s": 0.05, **options}
        api = api or KubernetesApi(self.access, timeout_s=5)

        async def work():
            try:
                await Controller(api, ControllerOptions(**options), estimate=estimate, elector=elector).run()
            finally:
                await api.close()

        return self.run(work())

    def operate(self):
        """Play the operator: every deployment becomes ready, or says what ails it."""

        async def work():
            while True:
                with contextlib.suppress(KubernetesError):
                    for body in (await self.api.list_all(DEPLOYMENTS, self.namespace))[0]:
                        await self._look_after(body)
                await asyncio.sleep(0.02)

        return self.run(work())

    async def _look_after(self, body):
        state = "successful" if self.ready else ("failed" if self.fails else "pending")
        condition = {
            "type": "Ready",
            "status": "True" if self.ready else "False",
            "reason": "all_resources_are_ready" if self.ready else "some_resources_are_not_ready",
            "message": self.fails,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {"observedGeneration": body["metadata"]["generation"], "state": state, "conditions": [condition]}
        if {key: (body.get("status") or {}).get(key) for key in status} != status:
            await self.api.patch(
                DEPLOYMENTS, self.namespace, body["metadata"]["name"], {"status": status}, subresource="status"
            )

    def kubelet(self):
        """Play the kubelet: every job leaves a result, or a pod that tells why it failed."""

        async def work():
            while True:
                with contextlib.suppress(KubernetesError):
                    for job in (await self.api.list_all(JOBS, self.namespace))[0]:
                        if not (job.get("status") or {}).get("conditions"):
                            await self._run_job(job)
                await asyncio.sleep(0.02)

        return self.run(work())

    async def _run_job(self, job):
        name = labels_of(job)[NAME]
        if self.job_succeeds:
            request = await self.api.get(self.requests, self.namespace, name)
            made = generated(SimpleNamespace(name=name))
            await ResultStore(self.api, Owner.of(request)).keep(Result(dgd=made.dgd, additional=made.additional))
        elif self.job_pod is not None:
            labels = {"job-name": job["metadata"]["name"]}
            with contextlib.suppress(ConflictError):
                body = {
                    "metadata": {"name": f"{name}-pod", "labels": labels},
                    "spec": {"containers": [{"name": "profiler", "image": "x"}]},
                }
                await self.api.create(PODS, self.namespace, body)
            await self.api.patch(PODS, self.namespace, f"{name}-pod", {"status": self.job_pod}, subresource="status")
        kind = "Complete" if self.job_succeeds else "Failed"
        condition = {"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "3 pods failed"}
        status = {"conditions": [condition]}
        await self.api.patch(JOBS, self.namespace, job["metadata"]["name"], {"status": status}, subresource="status")

    async def create(self, body):
        version = body["apiVersion"].partition("/")[2]
        return await self.api.create(self.requests.at(version), self.namespace, body)

    async def request(self, name="llama"):
        return await self.api.get(self.requests, self.namespace, name)

    async def state(self, name="llama"):
        status = (await self.request(name)).get("status") or {}
        return status.get("state") or status.get("phase") or ""

    async def condition(self, kind, name="llama"):
        status = (await self.request(name)).get("status") or {}
        return next((one for one in status.get("conditions") or () if one["type"] == kind), {})

    async def until(self, state, name="llama"):
        async def reached():
            return await self.state(name) == state

        await self.wait(reached, f"{name} is {state}")
        return await self.request(name)

    async def wait(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not await condition():
            for task in self._tasks:
                if task.done() and not task.cancelled() and task.exception():
                    raise AssertionError(f"while waiting for: {what}: {task.exception()!r}") from task.exception()
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}; {await self._shown()}"
            await asyncio.sleep(0.02)

    async def _shown(self):
        items = (await self.api.list_all(self.requests, self.namespace))[0]
        return [item.get("status") for item in items]

    async def events(self):
        items = (await self.api.list_all(EVENTS, self.namespace))[0]
        return [(one["reason"], one["message"]) for one in items]

    async def names(self, resource):
        return sorted(one["metadata"]["name"] for one in (await self.api.list_all(resource, self.namespace))[0])

    async def gone(self, resource, name):
        async def away():
            try:
                await self.api.get(resource, self.namespace, name)
            except NotFoundError:
                return True
            return False

        await self.wait(away, f"{name} is gone")

    async def trial(self, owner, name="left-over"):
        """A temporary deployment that a job left."""
        body = generated(SimpleNamespace(name=name)).dgd
        metadata = owner.metadata(name)
        metadata["labels"][TRIAL] = "true"
        await self.api.create(DEPLOYMENTS, self.namespace, {**body, "metadata": metadata})
