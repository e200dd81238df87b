"""The orchestrator's side: read decisions, act, acknowledge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from connectors.virtual.links import HttpLink, Link, StoreLink, VirtualClientError
from connectors.virtual.state import VirtualDecision
from connectors.virtual.store import VirtualStore
from planner.core.observation import Workers

if TYPE_CHECKING:
    from connectors.virtual.etcd import EtcdAccess

__all__ = ["VirtualClientError", "VirtualConnectorClient"]


class VirtualConnectorClient:
    """Follows the decisions of a planner in virtual mode: in this process, over HTTP, or through etcd.

        async with VirtualConnectorClient.connect("http://127.0.0.1:9086") as client:
            async for decision in client:
                await scale(decision.num_prefill_workers, decision.num_decode_workers)
                await client.complete(decision)

    Acknowledge a decision when its workers serve: until then the planner holds the next one back. Whatever passes by
    itself (a planner or etcd that restarts, a network that fails, a disk that is full) is waited for; what trying
    again cannot mend raises VirtualClientError.
    """

    def __init__(self, store: VirtualStore) -> None:
        """Follow a planner in this process.

        Args:
            store: The store of its VirtualConnector.
        """
        self._link: Link = StoreLink(store, owned=False)

    @classmethod
    def connect(
        cls, url: str, *, token: str | None = None, ca_file: Path | str | None = None, timeout_s: float = 10.0
    ) -> Self:
        """Follow a planner over HTTP; it may start later, stop and come back.

        Args:
            url: Where it listens (``--virtual-listen``), such as ``http://127.0.0.1:9086``.
            token: The bearer token, if it wants one.
            ca_file: Certificates to trust instead of the system's, for ``https://``.
            timeout_s: Longest time a request may take beyond the wait it asks for, seconds.

        Raises:
            OSError: The file of certificates cannot be loaded.
        """
        return cls._over(HttpLink(url, token=token, ca_file=ca_file, timeout_s=timeout_s))

    @classmethod
    def etcd(cls, access: EtcdAccess, *, namespace: str, lease_ttl_s: int = 30) -> Self:
        """Follow a planner through etcd, be it this one or NVIDIA Dynamo's; both may start later.

        Args:
            access: How to reach etcd, such as ``EtcdAccess(endpoints=["http://10.0.0.5:2379"])``.
            namespace: The namespace that the planner decides for.
            lease_ttl_s: How long acknowledgements and reports outlive this process, seconds.
        """
        from connectors.virtual.etcd import EtcdGateway, FollowingStore  # noqa: PLC0415 - HTTP goes without

        store = FollowingStore(EtcdGateway(access), namespace, lease_ttl_s=lease_ttl_s)
        return cls._over(StoreLink(store, owned=True))

    @classmethod
    def _over(cls, link: Link) -> Self:
        client = cls.__new__(cls)
        client._link = link
        return client

    async def get(self) -> VirtualDecision:
        """The newest decision, completed or not; all -1 before the first."""
        return await self._link.get()

    async def wait(self) -> VirtualDecision:
        """The newest decision as soon as there is one that is not completed; at once if there is one already."""
        return await self._link.wait()

    async def complete(self, decision: VirtualDecision) -> None:
        """Acknowledge that the workers of a decision serve; an older decision than completed already changes nothing.

        Raises:
            VirtualClientError: The planner never made that decision.
        """
        await self._link.complete(decision.decision_id)

    async def report_workers(self, *, prefill: Workers | None = None, decode: Workers | None = None) -> None:
        """Tell the planner what really runs, whenever that changes.

        Without it the planner takes a completed decision's workers to be ready.

        Args:
            prefill: Prefill workers; left out, they are as reported before.
            decode: Decode workers; left out, they are as reported before.
        """
        await self._link.report(prefill, decode)

    async def __aiter__(self) -> AsyncIterator[VirtualDecision]:
        """Every decision that is not completed, for ever; one that was not completed comes again."""
        while True:
            yield await self.wait()

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()
