"""What the controller and its profiling jobs may do in a cluster, and what they are without it."""

from __future__ import annotations

from connectors.kubernetes.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    LEASES,
    PODS,
    REQUESTS,
    SERVICE_ACCOUNTS,
    VOLUME_CLAIMS,
    Resource,
)
from connectors.kubernetes.rights import Right


def _rights(
    resource: Resource, verbs: str, without: str, *, essential: bool = True, subresource: str = ""
) -> tuple[Right, ...]:
    return tuple(
        Right(verb=verb, resource=resource, subresource=subresource, without=without, essential=essential)
        for verb in verbs.split()
    )


CONTROLLER_RIGHTS = (
    *_rights(REQUESTS, "get list watch patch", "requests cannot be followed"),
    *_rights(REQUESTS, "update", "requests cannot be told how far they are", subresource="status"),
    *_rights(DEPLOYMENTS, "get list watch create delete", "deployments cannot be made and followed"),
    *_rights(CONFIG_MAPS, "get create patch delete", "results and profiles cannot be kept"),
    *_rights(JOBS, "get list watch create delete", "engines cannot be measured"),
    *_rights(PODS, "list", "why a profiling job failed is not told", essential=False),
    *_rights(SERVICE_ACCOUNTS, "get", "a missing account of profiling jobs is not noticed", essential=False),
    *_rights(VOLUME_CLAIMS, "get", "a missing output claim is not noticed", essential=False),
    *_rights(EVENTS, "create", "what happened is told in the log and the status alone", essential=False),
)
"""In every namespace with requests, and in those that deployments go to."""

CONTROLLER_LEASE_RIGHTS = _rights(LEASES, "get create update", "no leader can be elected")
"""In the controller's own namespace."""

JOB_RIGHTS = (
    *_rights(DEPLOYMENTS, "get list create delete", "there is nothing to measure"),
    *_rights(CONFIG_MAPS, "get create patch delete", "the result cannot be kept"),
    *_rights(PODS, "list", "why engines do not start is not told", essential=False),
)
"""In the namespace of the request."""
