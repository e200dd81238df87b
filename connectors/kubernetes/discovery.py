"""What there is to scale: the deployment, its pools, its model, its engines, and the rights to scale them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from connectors.base import ConnectorError
from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.deployment import Component, Deployment
from connectors.kubernetes.errors import ForbiddenError, KubernetesError, NotFoundError
from connectors.kubernetes.model import deployed_model
from connectors.kubernetes.resources import ADAPTERS, DEPLOYMENTS, LEASES, WORKER_METADATA, Resource
from connectors.kubernetes.rights import LEASE_RIGHTS, READ, SCALING, SEEING, Right, essential, missing
from connectors.kubernetes.roles import Roles, find_roles
from connectors.kubernetes.scaling import adapter_name
from planner.finding import Finding, Health


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to look for.

    Attributes:
        name: Name of the deployment; None for the only one there is.
        namespace: Its namespace; None for the one that the credentials name.
        backend: Engine of the workers.
        aggregated: Whether one pool serves both phases.
        model_name: Model it must serve; None for any.
        scales: Whether anything is to be scaled, which takes rights of its own.
        elects: Whether a leader is elected, which does too.
        lease_namespace: Where the lease of that election is; None for the namespace of the deployment.
        lease_name: Its name; None for one that follows from the name of the deployment.
    """

    name: str | None = None
    namespace: str | None = None
    backend: str = "vllm"
    aggregated: bool = False
    model_name: str | None = None
    scales: bool = True
    elects: bool = False
    lease_namespace: str | None = None
    lease_name: str | None = None

    def lease(self, namespace: str, name: str) -> tuple[str, str]:
        """Namespace and name of the lease for a deployment."""
        return self.lease_namespace or namespace, self.lease_name or f"sla-planner-{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What was found.

    Attributes:
        deployments: Deployments, in the version to use.
        adapters: Scaling adapters likewise; None if the cluster has none.
        namespace: Where the deployment is.
        name: What it is called.
        deployment: The deployment at the start.
        roles: Its pools.
        model: The model it serves; None if nothing says so.
        lacking: Rights that are missing, none of them essential.
        origin: Where the credentials were found.
    """

    deployments: Resource
    adapters: Resource | None
    namespace: str
    name: str
    deployment: Deployment
    roles: Roles
    model: str | None
    lacking: tuple[Right, ...]
    origin: str

    @property
    def engine_gpus(self) -> tuple[int | None, int | None]:
        """GPUs of a worker of each pool; None where the deployment does not state them."""
        prefill = self.roles.prefill
        return (None if prefill is None else prefill.gpus), self.roles.decode.gpus

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it should be, a sentence each."""
        return tuple(right.complaint for right in self.lacking)

    def findings(self) -> Iterator[Finding]:
        """What was found, for a check."""
        yield Finding(subject="Kubernetes", health=Health.OK, detail=f"reached with the {self.origin}")
        pools = ", ".join(map(_described, self.roles.components))
        detail = f"{self.namespace}/{self.name} with {pools}, model {self.model or 'unknown'}"
        yield Finding(subject="deployment", health=Health.OK, detail=detail)
        for right in self.lacking:
            yield Finding(
                subject="rights",
                health=Health.WARNING,
                detail=f"no right to {right.verb} {right.what}: {right.without}",
                remedy=f"add to the planner's Role the rule {right.rule}",
            )
        if not self.lacking:
            yield Finding(subject="rights", health=Health.OK, detail="all that the planner can use")


def _described(component: Component) -> str:
    """A component with its size, such as ``decode (3 replicas of 1 GPU)``."""
    size = f"{component.replicas} replica{'s' * (component.replicas != 1)}"
    if component.gpus:
        size += f" of {component.gpus} GPU{'s' * (component.gpus != 1)}"
    return f"{component.name} ({size})"


async def discover(api: KubernetesApi, wanted: Wanted) -> Discovered:
    """Find what there is to scale.

    Args:
        api: The server; it has started.
        wanted: What to look for.

    Raises:
        ConnectorError: There is no such deployment, it cannot be understood, or an essential right is missing.
    """
    namespace = wanted.namespace or api.credentials.namespace or "default"
    try:
        deployments = await api.served(DEPLOYMENTS)
    except KubernetesError as error:
        raise ConnectorError(f"no answer from the cluster of the {api.credentials.origin}: {error}") from error
    if deployments is None:
        raise ConnectorError(
            f"the cluster has no {DEPLOYMENTS.plural}.{DEPLOYMENTS.group}: the Dynamo operator is not installed"
        )
    name = wanted.name or await _only_one(api, deployments, namespace)
    deployment = await _read(api, deployments, namespace, name)
    roles = find_roles(deployment, backend=wanted.backend, aggregated=wanted.aggregated)
    lacking = await _lacking(api, wanted, namespace, name, roles)
    model = deployed_model(deployment, roles, await _metadata(api, namespace))
    if model and wanted.model_name and model.lower() != wanted.model_name.lower():
        raise ConnectorError(
            f"--model-name is {wanted.model_name}, but DynamoGraphDeployment {name} serves {model}; correct it or "
            "leave it out"
        )
    return Discovered(
        deployments=deployments,
        adapters=await api.served(ADAPTERS),
        namespace=namespace,
        name=name,
        deployment=deployment,
        roles=roles,
        model=wanted.model_name or model,
        lacking=tuple(lacking),
        origin=api.credentials.origin,
    )


async def _lacking(api: KubernetesApi, wanted: Wanted, namespace: str, name: str, roles: Roles) -> list[Right]:
    """The rights that are missing, none of them essential.

    Raises:
        ConnectorError: One is.
    """
    names = {DEPLOYMENTS: name, ADAPTERS: adapter_name(name, roles.decode)}
    lacking = await missing(api, namespace, (*SEEING, *(SCALING if wanted.scales else ())), names)
    fatal = [f"{right.complaint} in namespace {namespace}" for right in essential(lacking)]
    if wanted.elects:
        lease_namespace, lease = wanted.lease(namespace, name)
        without = await missing(api, lease_namespace, LEASE_RIGHTS, {LEASES: lease})
        fatal += [f"{right.complaint} in namespace {lease_namespace}" for right in without]
    if fatal:
        raise ConnectorError("\n".join(fatal))
    return lacking


async def _only_one(api: KubernetesApi, deployments: Resource, namespace: str) -> str:
    try:
        items, _ = await api.list_all(deployments, namespace)
    except ForbiddenError as error:
        raise ConnectorError(
            f"which deployment is not known: give --dgd-name. They cannot be listed: {error}"
        ) from error
    names = [str(item["metadata"]["name"]) for item in items]
    if len(names) != 1:
        there = f"there are {', '.join(sorted(names))}" if names else "there is none"
        raise ConnectorError(
            f"which DynamoGraphDeployment is not known: give --dgd-name. In namespace {namespace} {there}"
        )
    return names[0]


async def _others(api: KubernetesApi, deployments: Resource, namespace: str) -> str:
    """Which deployments there are instead, where they can be listed."""
    try:
        items, _ = await api.list_all(deployments, namespace)
    except KubernetesError:
        return ""
    names = sorted(str(item["metadata"]["name"]) for item in items)
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else ", and no other"


async def _read(api: KubernetesApi, deployments: Resource, namespace: str, name: str) -> Deployment:
    try:
        return Deployment.parse(await api.get(deployments, namespace, name))
    except NotFoundError as error:
        raise ConnectorError(
            f"there is no DynamoGraphDeployment {name} in namespace {namespace}"
            f"{await _others(api, deployments, namespace)}; see --dgd-name and --dgd-namespace"
        ) from error
    except ForbiddenError as error:
        raise ConnectorError(f"{READ.complaint} in namespace {namespace}: {error}") from error
    except ValueError as error:
        raise ConnectorError(str(error)) from error


async def _metadata(api: KubernetesApi, namespace: str) -> list[Object]:
    """What the workers registered; nothing where that may not be read or is not kept."""
    try:
        return (await api.list_all(WORKER_METADATA, namespace))[0]
    except KubernetesError:
        return []
