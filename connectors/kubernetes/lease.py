"""The lease of the leader election, as an object of coordination.k8s.io."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from connectors.election import Lease, LeaseConflictError, lease_seconds
from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.errors import ConflictError, NotFoundError
from connectors.kubernetes.resources import LEASES

_MICRO_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class KubernetesLeases:
    """Keeps one lease in a namespace; a ``connectors.election.LeaseStore``."""

    def __init__(self, api: KubernetesApi, place: Callable[[], tuple[str, str]]) -> None:
        """Prepare.

        Args:
            api: The server.
            place: Namespace and name of the lease; asked at every call, as they may follow from what is found first.
        """
        self._api = api
        self._place = place

    async def get(self, timeout_s: float) -> Lease | None:
        """The lease; None if there is none."""
        try:
            path = LEASES.path(*self._place())
            return _read(await self._api.get_path(path, timeout_s=timeout_s))
        except NotFoundError:
            return None

    async def create(self, lease: Lease, timeout_s: float) -> Lease:
        """Store the lease; raises LeaseConflictError if there is one."""
        try:
            namespace, _ = self._place()
            return _read(await self._api.create(LEASES, namespace, self._body(lease), timeout_s=timeout_s))
        except ConflictError as error:
            raise LeaseConflictError(str(error)) from error

    async def replace(self, lease: Lease, timeout_s: float) -> Lease:
        """Store the lease over the state that ``lease.version`` names; raises LeaseConflictError if that has passed."""
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, **self._body(lease)}
        try:
            return _read(await self._api.replace(LEASES, *self._place(), body, timeout_s=timeout_s))
        except (ConflictError, NotFoundError) as error:
            raise LeaseConflictError(str(error)) from error

    def _body(self, lease: Lease) -> Object:
        namespace, name = self._place()
        metadata: dict[str, Any] = {"name": name, "namespace": namespace}
        if lease.version:
            metadata["resourceVersion"] = lease.version
        return {
            "metadata": metadata,
            "spec": {
                "holderIdentity": lease.holder or "",
                "leaseDurationSeconds": lease_seconds(lease.duration_s),
                "acquireTime": lease.acquired.astimezone(UTC).strftime(_MICRO_TIME),
                "renewTime": lease.renewed.astimezone(UTC).strftime(_MICRO_TIME),
                "leaseTransitions": lease.transitions,
            },
        }


def _read(body: Object) -> Lease:
    spec = body.get("spec") or {}
    return Lease(
        holder=spec.get("holderIdentity") or None,
        duration_s=float(spec.get("leaseDurationSeconds") or 1),
        acquired=_time(spec.get("acquireTime")),
        renewed=_time(spec.get("renewTime")),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=str((body.get("metadata") or {}).get("resourceVersion") or ""),
    )


def _time(text: str | None) -> datetime:
    """A time as somebody wrote it; only told to people, so what cannot be read is the epoch."""
    try:
        return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
