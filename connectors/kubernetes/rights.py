"""What the planner may do in its namespace, what it cannot go without, and what to add to its role."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from connectors.kubernetes.api import KubernetesApi
from connectors.kubernetes.errors import KubernetesError
from connectors.kubernetes.resources import ADAPTERS, DEPLOYMENTS, EVENTS, LEASES, PODS, WORKER_METADATA, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One thing a role may allow.

    Attributes:
        verb: What is done.
        resource: To what.
        subresource: To which part of it; empty for all of it.
        without: What becomes of the planner without it.
        essential: Whether it cannot work without it.
    """

    verb: str
    resource: Resource
    subresource: str = ""
    without: str
    essential: bool = False

    @property
    def what(self) -> str:
        """The resource as rules name it."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    @property
    def rule(self) -> str:
        """The rule that grants it."""
        return f'{{apiGroups: ["{self.resource.group}"], resources: [{self.what}], verbs: [{self.verb}]}}'

    @property
    def complaint(self) -> str:
        """That it is missing, in a sentence."""
        return f"no right to {self.verb} {self.what}: {self.without}. Add to the planner's Role the rule {self.rule}"


READ = Right(verb="get", resource=DEPLOYMENTS, without="the deployment cannot be seen", essential=True)
PATCH = Right(verb="patch", resource=DEPLOYMENTS, without="components without a scaling adapter cannot be scaled")
SCALE = Right(
    verb="patch",
    resource=ADAPTERS,
    subresource="scale",
    without="components with a scaling adapter cannot be scaled",
)
READ_SCALE = Right(
    verb="get",
    resource=ADAPTERS,
    subresource="scale",
    without="replicas that somebody else asked of a scaling adapter are noticed only when the operator follows them",
)
LIST = Right(verb="list", resource=DEPLOYMENTS, without="the deployment is read at every look instead of watched")
WATCH = Right(verb="watch", resource=DEPLOYMENTS, without="the deployment is read now and then instead of watched")
LIST_PODS = Right(
    verb="list", resource=PODS, without="workers that are ending, and why some cannot start, are not seen"
)
LIST_METADATA = Right(
    verb="list",
    resource=WORKER_METADATA,
    without="the model is taken from the workers' arguments alone",
)
CREATE_EVENTS = Right(verb="create", resource=EVENTS, without="the planner's log alone tells what it did")
LEASE_RIGHTS = tuple(
    Right(verb=verb, resource=LEASES, without="no leader can be elected", essential=True)
    for verb in ("get", "create", "update")
)
SEEING = (READ, LIST, WATCH, READ_SCALE, LIST_PODS, LIST_METADATA)
SCALING = (PATCH, SCALE, CREATE_EVENTS)
RIGHTS = (*SEEING, *SCALING)


async def missing(
    api: KubernetesApi, namespace: str, rights: Iterable[Right], names: Mapping[Resource, str]
) -> list[Right]:
    """The rights that the planner lacks; where the server does not say, it is taken to have them.

    Args:
        api: The server.
        namespace: Where.
        rights: Those to ask about.
        names: The objects of a kind that the planner deals with, as a role may be limited to them.
    """
    rights = list(rights)
    granted = await asyncio.gather(*(_granted(api, namespace, right, names) for right in rights))
    return [right for right, has in zip(rights, granted, strict=True) if not has]


async def _granted(api: KubernetesApi, namespace: str, right: Right, names: Mapping[Resource, str]) -> bool:
    attributes = {
        "namespace": namespace,
        "verb": right.verb,
        "group": right.resource.group,
        "resource": right.resource.plural,
        "subresource": right.subresource,
        # What does not exist yet has no name that a role could be limited to.
        "name": "" if right.verb == "create" else names.get(right.resource, ""),
    }
    try:
        return await api.allowed(attributes)
    except KubernetesError:
        return True


def essential(lacking: list[Right]) -> list[Right]:
    """Those of the missing rights without which nothing can be scaled."""
    found = [right for right in lacking if right.essential]
    return [*found, PATCH, SCALE] if PATCH in lacking and SCALE in lacking else found
