"""The orchestrator's side of a virtual deployment in etcd."""

from __future__ import annotations

from dataclasses import replace

from connectors.virtual.etcd.gateway import EtcdGateway
from connectors.virtual.etcd.store import LEASE_TTL_S, EtcdStore
from connectors.virtual.state import UNSET, VirtualDecision, VirtualState


class FollowingStore(EtcdStore):
    """Follows the decisions of a planner in etcd, ours or NVIDIA Dynamo's, and acknowledges them.

    Acknowledgements and reports are on this store's lease: they last as long as it is open, and its time to live.
    """

    def __init__(self, gateway: EtcdGateway, namespace: str, *, lease_ttl_s: int = LEASE_TTL_S) -> None:
        """Prepare; nothing is connected before ``start``.

        Args:
            gateway: Speaks to etcd; closed with the store.
            namespace: The deployment.
            lease_ttl_s: How long acknowledgements outlive this process, seconds.
        """
        super().__init__(gateway, namespace, lease_ttl_s=lease_ttl_s)
        self._last = VirtualDecision()

    async def read(self) -> VirtualState:
        """The state, as etcd has it now."""
        async with self._writing:
            await self._refresh()
            return self._state

    def _understand(self) -> VirtualState:
        decision = self._keys.decision(self._entries)
        made = decision.decision_id >= 0
        if made:
            self._last = decision
        else:
            known = (self._last, self._keys.remembered(self._entries).decision)
            self._last = max(known, key=lambda decision: decision.decision_id)
        # What this store acknowledged holds for it even while the key is gone with a lost lease.
        scaled = self._keys.scaled(self._entries)
        if scaled == UNSET:
            scaled = int(self._mine.get(self._keys.scaled_decision_id, UNSET))
        if made and scaled > decision.decision_id:
            # The planner lost its count and began anew: what was acknowledged is not what it wants now.
            scaled = UNSET
        completed = decision.targets if made and scaled == decision.decision_id else None
        prefill, decode = self._keys.reported(self._entries)
        return VirtualState(
            decision=decision, scaled_decision_id=scaled, completed=completed, prefill=prefill, decode=decode
        )

    def _before_change(self) -> VirtualState:
        # What was ordered may be acknowledged though the planner, and its keys, are gone meanwhile.
        made = self._state.decision.decision_id >= 0
        return self._state if made else replace(self._state, decision=self._last)

    def _puts(self, old: VirtualState, new: VirtualState, lease: int) -> dict[str, tuple[str, int]]:
        if new.decision != old.decision:
            raise ValueError("an orchestrator makes no decisions; use DecidingStore")
        puts = {}
        if new.scaled_decision_id != old.scaled_decision_id:
            puts[self._keys.scaled_decision_id] = (str(new.scaled_decision_id), lease)
        if (new.prefill, new.decode) != (old.prefill, old.decode):
            puts |= self._keys.write_workers(new, lease)
        return puts

    def _missing(self, lease: int) -> dict[str, tuple[str, int]]:
        return self._gone(lease)
