"""Replicas of components: through a component's scaling adapter, and where there is none through the deployment."""

from __future__ import annotations

from connectors.election import Fence
from connectors.kubernetes.api import KubernetesApi
from connectors.kubernetes.deployment import Component, Deployment
from connectors.kubernetes.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from connectors.kubernetes.resources import Resource
from connectors.kubernetes.rights import PATCH, READ_SCALE, SCALE, Right
from planner.log import get_logger

# A write that somebody else was quicker than is made again so often, after looking anew.
_CONFLICTS = 5

log = get_logger("planner.kubernetes")


def adapter_name(deployment: str, component: Component) -> str:
    """What the operator calls the scaling adapter of a component."""
    return f"{deployment}-{component.name.lower()}"


class Scaling:
    """Reads and writes the replicas of one deployment's components."""

    def __init__(
        self,
        api: KubernetesApi,
        *,
        deployments: Resource,
        adapters: Resource | None,
        namespace: str,
        name: str,
        fence: Fence | None = None,
    ) -> None:
        """Prepare.

        Args:
            api: The server.
            deployments: Deployments, in the version to use.
            adapters: Scaling adapters likewise; None if the cluster has none.
            namespace: Namespace of the deployment.
            name: Its name.
            fence: Asked right before every write.
        """
        self._api = api
        self._deployments = deployments
        self._adapters = adapters
        self._namespace = namespace
        self._name = name
        self._fence = fence
        self._may_read = True

    async def deployment(self) -> Deployment:
        """The deployment as it is now.

        Raises:
            KubernetesError: It cannot be read.
        """
        try:
            return Deployment.parse(await self._api.get(self._deployments, self._namespace, self._name))
        except ValueError as error:
            raise InvalidError(str(error)) from error

    async def asked(self, component: Component) -> int:
        """Replicas that are asked for: of the adapter, which the deployment follows, or else of the deployment."""
        if self._adapters is None or not self._may_read:
            return component.replicas
        try:
            scale = await self._api.get(self._adapters, self._namespace, adapter_name(self._name, component), "scale")
        except NotFoundError:
            return component.replicas
        except ForbiddenError:
            self._may_read = False
            log.warning(READ_SCALE.complaint)
            return component.replicas
        return int((scale.get("spec") or {}).get("replicas") or 0)

    async def set(self, component: Component, replicas: int) -> None:
        """Ask for so many replicas.

        Raises:
            FencedError: Another planner leads.
            KubernetesError: It cannot be done; nothing was changed as far as is known.
        """
        if self._adapters is None or not await self._set_adapter(self._adapters, component, replicas):
            await self._set_deployment(component, replicas)

    async def _set_adapter(self, adapters: Resource, component: Component, replicas: int) -> bool:
        """Ask the adapter; False if there is none."""
        for attempt in range(_CONFLICTS):
            try:
                await self._api.patch(
                    adapters,
                    self._namespace,
                    adapter_name(self._name, component),
                    {"spec": {"replicas": replicas}},
                    "scale",
                    fence=self._fence,
                )
            except NotFoundError:
                return False
            except ForbiddenError as error:
                raise ForbiddenError(f"{_why_refused(error, SCALE)}; the server says: {error}") from error
            except ConflictError:
                # The patch names no version, so a conflict is the server's own race and nothing need be looked at.
                if attempt == _CONFLICTS - 1:
                    raise
            else:
                return True
        return True

    async def _set_deployment(self, component: Component, replicas: int) -> None:
        for attempt in range(_CONFLICTS):
            try:
                await self._api.patch(
                    self._deployments,
                    self._namespace,
                    self._name,
                    Deployment.replicas_patch(component, replicas),
                    fence=self._fence,
                )
            except ForbiddenError as error:
                raise ForbiddenError(f"{_why_refused(error, PATCH)}; the server says: {error}") from error
            except (ConflictError, InvalidError):
                # Another write came between, or the list of components was reordered: look where it is now.
                if attempt == _CONFLICTS - 1:
                    raise
                component = await self._found_again(component)
            else:
                return

    async def _found_again(self, component: Component) -> Component:
        deployment = await self.deployment()
        if component.name not in deployment.components:
            raise NotFoundError(
                f"DynamoGraphDeployment {self._name} has no component {component.name} any more; it has "
                f"{deployment.listing()}"
            )
        return deployment.components[component.name]


def _why_refused(error: ForbiddenError, right: Right) -> str:
    """The right that is missing, unless an admission webhook refused what the role allows."""
    if "admission webhook" not in str(error):
        return right.complaint
    return (
        "an admission webhook refused it; that of the Dynamo operator lets only a service account of the name "
        "planner-serviceaccount change components that have a scaling adapter"
    )
