"""A temporary deployment: it is there to be measured, and gone afterwards, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.deployment import Deployment
from connectors.kubernetes.errors import ConflictError, ForbiddenError, KubernetesError, NotFoundError, UnreachableError
from connectors.kubernetes.inventory import DEPLOYMENT_LABEL, trouble
from connectors.kubernetes.resources import DEPLOYMENTS, PODS
from planner.dgdr.ownership import TRIAL, UID, Owner, labels_of, shortened
from planner.log import get_logger

# Components add to the name, and names of pods and services have 63 characters.
_LONGEST_NAME = 40
_FIRST_LOOK_S = 0.1
_GONE_WITHIN_S = 300.0
# A process that was told to end has so long to remove what it made, seconds.
_REMOVED_WITHIN_S = 30.0

Tell = Callable[[str], Awaitable[None]]

log = get_logger("planner.dgdr")


class TrialError(Exception):
    """A temporary deployment that cannot be had or does not become ready; the message says why and what to do."""


class Trial:
    """A deployment for as long as the context lasts; inside it, it is ready.

    It is the request's: it is labelled so that whoever begins again finds it, and owned so that the cluster removes it
    with the request.
    """

    def __init__(
        self,
        api: KubernetesApi,
        owner: Owner,
        body: Object,
        *,
        name: str,
        tell: Tell,
        ready_within_s: float,
        look_s: float = 2.0,
    ) -> None:
        """Prepare.

        Args:
            api: The server.
            owner: Whose it is.
            body: The deployment, under whatever name.
            name: What tells it from other trials of the request.
            tell: Told what it waits for.
            ready_within_s: Longest wait for it to become ready, seconds.
            look_s: Time between two looks; the first ones follow each other faster, seconds.
        """
        self.name = shortened(f"{owner.name}-{name}", _LONGEST_NAME)
        self._api = api
        self._owner = owner
        self._resource = DEPLOYMENTS.at(str(body["apiVersion"]).rpartition("/")[2])
        metadata = {**owner.metadata(self.name), "annotations": (body.get("metadata") or {}).get("annotations") or {}}
        metadata["labels"] |= {TRIAL: "true"}
        self._body: Object = {**body, "metadata": metadata}
        self._tell = tell
        self._ready_within_s = ready_within_s
        self._look_s = look_s

    async def __aenter__(self) -> Self:
        """Create it, or take the one that an earlier try left, and wait until it is ready.

        Raises:
            TrialError: It does not become ready.
            KubernetesError: The server does not answer.
        """
        await remove_trials(self._api, self._owner, but=self.name)
        try:
            await self._create()
            await self._wait()
        except BaseException:
            await self._remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it; wait until its GPUs are free, unless all is to end."""
        await self._remove()
        if kind is None:
            await self._gone()

    async def _create(self) -> None:
        await self._tell(f"temporary deployment {self.name} is created")
        try:
            await self._api.create(self._resource, self._owner.namespace, self._body)
        except ConflictError:
            await self._take_over()

    async def _take_over(self) -> None:
        """Take the deployment of that name if an earlier try left it; remove one of an earlier request."""
        found = await self._api.get(self._resource, self._owner.namespace, self.name)
        if TRIAL not in labels_of(found) or not self._owner.named_on(found):
            raise TrialError(
                f"DynamoGraphDeployment {self.name} in namespace {self._owner.namespace} is there already and is not "
                "a temporary one of this request: delete it, or give the request another name"
            )
        if self._owner.owns(found) and not found["metadata"].get("deletionTimestamp"):
            return
        await self._api.delete(self._resource, self._owner.namespace, self.name)
        await self._gone()
        await self._api.create(self._resource, self._owner.namespace, self._body)

    async def _wait(self) -> None:
        deadline, pause_s = time.monotonic() + self._ready_within_s, _FIRST_LOOK_S
        while True:
            found = await self._api.get(self._resource, self._owner.namespace, self.name)
            graph = Deployment.parse(found)
            if graph.serves:
                return
            why = await self._trouble() or graph.why or "its workers are not ready"
            if graph.state == "failed":
                raise TrialError(f"temporary deployment {self.name} has failed: {why}")
            if time.monotonic() > deadline:
                raise TrialError(
                    f"temporary deployment {self.name} was not ready within {self._ready_within_s:.0f} s: {why}"
                )
            await self._tell(f"temporary deployment {self.name} starts: {why}")
            await asyncio.sleep(pause_s)
            pause_s = min(self._look_s, 2 * pause_s)

    async def _trouble(self) -> str | None:
        """Why its pods do not start, if they say so."""
        with contextlib.suppress(ForbiddenError, UnreachableError):
            pods, _ = await self._api.list_all(PODS, self._owner.namespace, labels=f"{DEPLOYMENT_LABEL}={self.name}")
            return trouble(pods)
        return None

    async def _remove(self) -> None:
        """Delete what carries the labels of a trial of the request, also where this process is being ended."""
        removal = asyncio.ensure_future(remove_trials(self._api, self._owner))
        try:
            async with asyncio.timeout(_REMOVED_WITHIN_S):
                await asyncio.shield(removal)
        except (KubernetesError, TimeoutError) as error:
            log.warning(
                "temporary deployment not removed; the controller does it", deployment=self.name, detail=str(error)
            )
        except asyncio.CancelledError:
            await asyncio.wait([removal], timeout=_REMOVED_WITHIN_S)
            raise

    async def _gone(self) -> None:
        deadline = time.monotonic() + _GONE_WITHIN_S
        while time.monotonic() < deadline:
            try:
                await self._api.get(self._resource, self._owner.namespace, self.name)
            except NotFoundError:
                return
            await asyncio.sleep(self._look_s)
        raise TrialError(f"temporary deployment {self.name} was deleted and is still there: look at its finalizers")


async def remove_trials(api: KubernetesApi, owner: Owner, *, but: str | None = None) -> None:
    """Remove temporary deployments of a request that an earlier try left.

    Args:
        api: The server.
        owner: The request.
        but: Name of the one to keep.

    Raises:
        KubernetesError: The server does not answer.
    """
    resource = await api.served(DEPLOYMENTS) or DEPLOYMENTS
    found, _ = await api.list_all(resource, owner.namespace, labels=f"{UID}={owner.uid},{TRIAL}=true")
    for body in found:
        if body["metadata"]["name"] != but:
            await api.delete(resource, owner.namespace, body["metadata"]["name"])


def frontend_url(body: Object, name: str, namespace: str) -> str:
    """Where the frontend of a deployment answers inside the cluster.

    Args:
        body: The deployment.
        name: Its name.
        namespace: Its namespace.

    Raises:
        TrialError: It has no frontend.
    """
    named = {"apiVersion": "", **body, "metadata": {"name": name}}
    component = next((one for one in Deployment.parse(named).components.values() if one.role == "frontend"), None)
    if component is None:
        raise TrialError("the deployment to measure has no component with the role frontend")
    return f"http://{name}-{component.name.lower()}.{namespace}.svc.cluster.local:8000"
