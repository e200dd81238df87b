"""Which component of a deployment is the prefill pool and which the decode pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.base import ConnectorError
from connectors.kubernetes.deployment import Component, Deployment

# What Dynamo's examples call the workers of each backend, in lower case; for deployments that state no roles.
_NAMES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "vllm": (frozenset({"vllmprefillworker"}), frozenset({"vllmdecodeworker"})),
    "sglang": (frozenset({"sglangprefillworker"}), frozenset({"sglangdecodeworker"})),
    "trtllm": (frozenset({"trtllmprefillworker"}), frozenset({"trtllmdecodeworker"})),
    "mocker": (frozenset({"mockerprefillworker"}), frozenset({"mockerdecodeworker"})),
}
_GENERIC = (frozenset({"prefill", "prefillworker"}), frozenset({"decode", "decodeworker"}))
_NO_ROLES = ("", "worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The pools.

    Attributes:
        prefill: The prefill workers; None where one pool serves both phases.
        decode: The decode workers, or those that serve both phases.
    """

    prefill: Component | None
    decode: Component

    @property
    def components(self) -> tuple[Component, ...]:
        """Those there are, prefill first."""
        return (self.decode,) if self.prefill is None else (self.prefill, self.decode)


def find_roles(deployment: Deployment, *, backend: str, aggregated: bool) -> Roles:
    """Tell the pools of a deployment: by the roles it states, else by the names that the backend's workers go by.

    Args:
        deployment: The deployment.
        backend: ``vllm``, ``sglang``, ``trtllm`` or ``mocker``.
        aggregated: Whether one pool serves both phases; its workers may then have no particular role.

    Raises:
        ConnectorError: A pool is missing, or there are two components for it.
    """
    decode = _only(deployment, "decode", 1, backend)
    if aggregated:
        if prefill := _only(deployment, "prefill", 0, backend):
            raise ConnectorError(
                f"DynamoGraphDeployment {deployment.name} has prefill workers of their own, {prefill.name}, which "
                "nobody would scale with --mode agg; leave it out"
            )
        return Roles(prefill=None, decode=decode or _worker(deployment))
    prefill = _only(deployment, "prefill", 0, backend)
    missing = [name for name, found in (("prefill", prefill), ("decode", decode)) if found is None]
    if prefill is None or decode is None:
        raise ConnectorError(
            f"DynamoGraphDeployment {deployment.name} has no {' and no '.join(missing)} workers; its components are "
            f"{deployment.listing()}. State the role of each: subComponentType in services, type in components"
            + ("; or give --mode agg if one pool serves both phases" if len(missing) == 2 or decode is None else "")
        )
    return Roles(prefill=prefill, decode=decode)


def _only(deployment: Deployment, role: str, place: int, backend: str) -> Component | None:
    stated = [one for one in deployment.components.values() if one.role == role]
    names = _NAMES[backend][place] | _GENERIC[place]
    found = stated or [
        one for one in deployment.components.values() if one.role in _NO_ROLES and one.name.lower() in names
    ]
    return _unique(deployment, found, role)


def _worker(deployment: Deployment) -> Component:
    workers = [one for one in deployment.components.values() if one.role == "worker"]
    worker = _unique(deployment, workers, "worker")
    if worker is None:
        raise ConnectorError(
            f"DynamoGraphDeployment {deployment.name} has no worker; its components are {deployment.listing()}"
        )
    return worker


def _unique(deployment: Deployment, found: list[Component], role: str) -> Component | None:
    if len(found) > 1:
        raise ConnectorError(
            f"DynamoGraphDeployment {deployment.name} has several {role} components, and one pool is what is scaled: "
            f"{', '.join(one.name for one in found)}"
        )
    return found[0] if found else None
