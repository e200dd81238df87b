"""Which workers there are, from what a deployment's status and its pods say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from connectors.kubernetes.api import Object
from connectors.kubernetes.deployment import Component
from planner.core.observation import Workers

DEPLOYMENT_LABEL = "nvidia.com/dynamo-graph-deployment-name"
COMPONENT_LABEL = "nvidia.com/dynamo-component"

# Reasons of containers that wait, which do not pass by waiting alone.
_HOPELESS = {"CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"}


def by_component(pods: Sequence[Object]) -> Mapping[str, list[Object]]:
    """Pods by the component they belong to."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        name = ((pod.get("metadata") or {}).get("labels") or {}).get(COMPONENT_LABEL)
        if name:
            found.setdefault(str(name), []).append(pod)
    return found


def count(component: Component, asked: int, pods: Sequence[Object] | None) -> Workers | None:
    """The workers of a pool; None if nothing says how many serve.

    Args:
        component: The pool, with what the status says of it.
        asked: Replicas that are asked for now, which the status may not know of yet.
        pods: Its pods; None if they may not be read.
    """
    serving = component.serving if component.serving is not None else _serving(component, pods)
    if serving is None:
        return None
    leaving = _replicas(component, [pod for pod in pods or () if _terminating(pod)])
    return Workers(
        ready=min(serving, asked),
        pending=max(0, asked - serving),
        draining=max(leaving, serving - asked),
    )


def _serving(component: Component, pods: Sequence[Object] | None) -> int | None:
    """Replicas all of whose pods are ready, where the status does not count them."""
    if pods is None:
        return None
    return sum(_ready(pod) for pod in pods if not _terminating(pod)) // component.nodes


def _replicas(component: Component, pods: Sequence[Object]) -> int:
    return math.ceil(len(pods) / component.nodes)


def _terminating(pod: Object) -> bool:
    return bool((pod.get("metadata") or {}).get("deletionTimestamp"))


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def trouble(pods: Sequence[Object]) -> str | None:
    """Why pods cannot start, as far as they say; None if none says so."""
    complaints: dict[str, int] = {}
    for pod in pods:
        if complaint := None if _terminating(pod) else _complaint(pod.get("status") or {}):
            complaints[complaint] = complaints.get(complaint, 0) + 1
    if not complaints:
        return None
    return "; ".join(f"{number} of {len(pods)} pods: {text}" for text, number in complaints.items())


def _complaint(status: Object) -> str | None:
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return f"{one.get('reason') or 'not scheduled'}: {one.get('message') or ''}".rstrip(": ")
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _HOPELESS:
            return f"{waiting['reason']}: {waiting.get('message') or ''}".rstrip(": ")
    return None
