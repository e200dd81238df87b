"""Whether what a request names is there, told before any GPU is taken."""

from __future__ import annotations

from connectors.kubernetes.api import KubernetesApi
from connectors.kubernetes.errors import ForbiddenError, NotFoundError
from connectors.kubernetes.resources import CONFIG_MAPS, SERVICE_ACCOUNTS, VOLUME_CLAIMS, Resource
from planner.dgdr.controller import issues
from planner.dgdr.controller.job import ACCOUNT
from planner.dgdr.request import Request


async def look_for_what_it_names(request: Request, api: KubernetesApi) -> None:
    """See that everything is there that the request refers to.

    Raises:
        RequestError: Something is not; the message says what to do.
        KubernetesError: The server does not say.
    """
    await _look_for_base(request, api)
    if not request.online:
        return
    where = {"namespace": request.namespace}
    if not await _is_there(api, SERVICE_ACCOUNTS, request.namespace, ACCOUNT):
        raise issues.NO_ACCOUNT.error(account=ACCOUNT, **where)
    claim = request.output_pvc
    if claim and not await _is_there(api, VOLUME_CLAIMS, request.namespace, claim):
        raise issues.NO_CLAIM.error(name=claim, **where)


async def _look_for_base(request: Request, api: KubernetesApi) -> None:
    if request.config_map_ref is None:
        return
    name, key = request.config_map_ref.name, request.config_map_ref.key
    try:
        found = await api.get(CONFIG_MAPS, request.namespace, name)
    except NotFoundError:
        raise issues.NO_CONFIG_MAP.error(name=name, namespace=request.namespace) from None
    if key not in (found.get("data") or {}):
        keys = ", ".join(sorted(found.get("data") or {})) or "none"
        raise issues.NO_KEY.error(name=name, key=key, keys=keys)


async def _is_there(api: KubernetesApi, resource: Resource, namespace: str, name: str) -> bool:
    """Whether an object is there; without the right to look it is taken to be, and the job itself tells."""
    try:
        await api.get(resource, namespace, name)
    except NotFoundError:
        return False
    except ForbiddenError:
        return True
    return True
