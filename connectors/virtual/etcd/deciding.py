"""The planner's side of a virtual deployment in etcd."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace

from connectors.base import ConnectorError
from connectors.virtual.etcd.gateway import EtcdGateway, EtcdUnavailableError, LeaseNotFoundError
from connectors.virtual.etcd.store import LEASE_TTL_S, EtcdStore, log
from connectors.virtual.state import VirtualState


class DecidingStore(EtcdStore):
    """Publishes decisions in etcd, as the one planner that leads a namespace.

    A second planner stands by and takes over when the first is gone. Who leads goes on from the decision that stands,
    whoever made it, and remembers an acknowledgement even when its writer's lease has run out.
    """

    def __init__(
        self, gateway: EtcdGateway, namespace: str, *, now: Callable[[], float], lease_ttl_s: int = LEASE_TTL_S
    ) -> None:
        """Prepare; nothing is connected before ``start``.

        Args:
            gateway: Speaks to etcd; closed with the store.
            namespace: The deployment.
            now: What the time is, seconds since the epoch.
            lease_ttl_s: How long decisions outlive the planner, seconds.
        """
        super().__init__(gateway, namespace, lease_ttl_s=lease_ttl_s)
        self._now = now
        self._base = VirtualState()
        self._name = f"planner {socket.gethostname()}/{os.getpid()}"

    @property
    def standby(self) -> str | None:
        """Which other planner leads; None if there is none."""
        leader = self._entries.get(self._keys.leader)
        if leader is None or self._led:
            return None
        return (
            f"{leader.value} leads {self.namespace}; this planner stands by, and takes over when that one is gone for "
            f"{self._ttl_s} s. Give each deployment a --namespace of its own if that is not meant"
        )

    @property
    def _led(self) -> bool:
        leader = self._entries.get(self._keys.leader)
        return leader is not None and leader.lease == self._lease != 0

    async def read(self) -> VirtualState:
        """The state, as etcd has it now; as it was last seen while etcd does not answer.

        Raises:
            ConnectorError: It was never seen.
        """
        try:
            async with self._writing:
                await self._refresh_and_restore()
        except (EtcdUnavailableError, LeaseNotFoundError) as error:
            if self.trouble is not None:
                raise
            log.debug("etcd: going by what was last seen", detail=str(error))
        return self._state

    async def close(self) -> None:
        """Let another planner lead at once; the decision stands until its lease runs out."""
        if self._tasks and self._led:
            leader = self._entries[self._keys.leader]
            try:
                await self._gateway.transact({self._keys.leader: leader.mod_revision}, delete=[self._keys.leader])
            except ConnectorError as error:
                log.debug("etcd: the lead runs out by itself", detail=str(error))
        await super().close()
        self._entries.pop(self._keys.leader, None)
        self._mine.clear()
        self._lease = 0

    def _understand(self) -> VirtualState:
        base = self._base
        remembered = self._keys.remembered(self._entries)
        if remembered.decision.decision_id > base.decision.decision_id:
            base = remembered
        standing = self._keys.decision(self._entries)
        if standing.decision_id > base.decision.decision_id:
            base = replace(base, decision=standing, decided_at=self._now())
        scaled = self._keys.scaled(self._entries)
        if scaled > base.scaled_decision_id:
            whole = 0 <= base.decision.decision_id <= scaled
            base = replace(
                base, scaled_decision_id=scaled, completed=base.decision.targets if whole else base.completed
            )
        prefill, decode = self._keys.reported(self._entries)
        self._base = replace(base, prefill=prefill, decode=decode)
        return self._base

    def _before_change(self) -> VirtualState:
        if not self._led:
            raise ConnectorError(self.standby or f"nobody leads {self.namespace} for the moment")
        return self._base

    def _written(self, state: VirtualState) -> None:
        self._base = state

    def _puts(self, old: VirtualState, new: VirtualState, lease: int) -> dict[str, tuple[str, int]]:
        puts: dict[str, tuple[str, int]] = {}
        if new.decision != old.decision:
            puts |= self._keys.write_decision(new.decision, lease)
        if new.scaled_decision_id != old.scaled_decision_id:
            puts[self._keys.scaled_decision_id] = (str(new.scaled_decision_id), lease)
        if puts:
            puts |= self._keys.write_memory(new)
        if (new.prefill, new.decode) != (old.prefill, old.decode):
            puts |= self._keys.write_workers(new, lease)
        return puts

    def _missing(self, lease: int) -> dict[str, tuple[str, int]]:
        leader = self._entries.get(self._keys.leader)
        if leader is not None and not self._led:
            return {}
        missing = self._gone(lease)
        if leader is None:
            missing[self._keys.leader] = (self._name, lease)
            # Decisions of a predecessor are put on this planner's lease, as is what stands from before an outage.
            if self._base.decision.decision_id >= 0:
                missing |= self._keys.write_decision(self._base.decision, lease)
                missing |= self._keys.write_memory(self._base)
        return missing
