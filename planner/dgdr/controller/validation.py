"""Whether what a request names is there, told before any GPU is taken."""

from __future__ import annotations

from connectors.kubernetes.api import KubernetesApi
from connectors.kubernetes.errors import ForbiddenError, NotFoundError
from connectors.kubernetes.resources import CONFIG_MAPS, SERVICE_ACCOUNTS, VOLUME_CLAIMS
from planner.dgdr.controller.job import ACCOUNT
from planner.dgdr.request import Request


async def problem_of(request: Request, api: KubernetesApi) -> str | None:
    """What is missing and what to do about it; None if nothing is.

    Raises:
        KubernetesError: The server does not say.
    """
    return await _base_problem(request, api) or (await _job_problem(request, api) if request.online else None)


async def _base_problem(request: Request, api: KubernetesApi) -> str | None:
    if request.config_map_ref is None:
        return None
    name, key = request.config_map_ref.name, request.config_map_ref.key
    try:
        found = await api.get(CONFIG_MAPS, request.namespace, name)
    except NotFoundError:
        return (
            f"profilingConfig.configMapRef names ConfigMap {name}, which namespace {request.namespace} does not have: "
            "create it, then delete the request and create it again"
        )
    if key not in (found.get("data") or {}):
        keys = ", ".join(sorted(found.get("data") or {})) or "none"
        return f"profilingConfig.configMapRef names key {key}, which ConfigMap {name} does not have; it has: {keys}"
    return None


async def _job_problem(request: Request, api: KubernetesApi) -> str | None:
    """What a profiling job would wait for in vain."""
    try:
        await api.get(SERVICE_ACCOUNTS, request.namespace, ACCOUNT)
        if request.output_pvc:
            await api.get(VOLUME_CLAIMS, request.namespace, request.output_pvc)
    except NotFoundError as error:
        missing = ACCOUNT if f'"{ACCOUNT}"' in str(error) else request.output_pvc
        if missing == ACCOUNT:
            return (
                f"profiling at engines needs the service account {ACCOUNT} in namespace {request.namespace}: kubectl "
                f"apply -n {request.namespace} -f examples/kubernetes/dgdr/profiling-job.yaml, then delete the request "
                "and create it again"
            )
        return (
            f"profilingConfig.outputPVC names claim {missing}, which namespace {request.namespace} does not have: "
            "create it, then delete the request and create it again"
        )
    except ForbiddenError:
        # Without the right to look, the job itself tells.
        return None
    return None
