"""The connector of one planner among several: it acts while it leads, and otherwise only looks."""

from __future__ import annotations

import asyncio

from connectors.base import Applied, Connector, Outcome, WorkerCounts
from connectors.election import Elector, FencedError
from planner.core.decision import Decision
from planner.finding import Finding


class ElectedConnector(Connector):
    """Acts through another connector while this planner is the leader.

    The other connector holds the elector as its fence and asks it right before every change, as the lead may be lost
    in the middle of a decision.
    """

    def __init__(self, inner: Connector, elector: Elector) -> None:
        """Prepare; no part is taken in the election before ``start``.

        Args:
            inner: Who acts; it has not started.
            elector: This planner's part in the election.
        """
        self._inner = inner
        self._elector = elector
        self._election: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the connector that acts, then take part in the election."""
        await self._inner.start()
        self._election = asyncio.create_task(self._elector.run(), name="leader election")

    @property
    def leading(self) -> bool:
        """Whether this planner scales, at this instant."""
        return self._elector.leading

    async def workers(self) -> WorkerCounts:
        """What the connector that acts sees; leading or not."""
        return await self._inner.workers()

    async def apply(self, decision: Decision) -> Applied:
        """Hand the decision on if this planner leads, as far as it goes on leading."""
        if not self._elector.leading:
            leader = self._elector.leader
            whose = f"{leader} leads" if leader else "no planner leads"
            return Applied(outcome=Outcome.STANDBY, detail=f"standing by: {whose}")
        try:
            return await self._inner.apply(decision)
        except FencedError as error:
            return Applied(outcome=Outcome.STANDBY, detail=str(error))

    async def check(self) -> list[Finding]:
        """What the connector that acts finds."""
        return await self._inner.check()

    @property
    def engine_gpus(self) -> tuple[int | None, int | None]:
        """Those of the connector that acts."""
        return self._inner.engine_gpus

    @property
    def model_name(self) -> str | None:
        """That of the connector that acts."""
        return self._inner.model_name

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the connector that acts."""
        return self._inner.warnings

    async def close(self) -> None:
        """Leave the election, which releases the lease, then close the connector that acts."""
        if self._election is not None:
            self._election.cancel()
            await asyncio.gather(self._election, return_exceptions=True)
            self._election = None
        await self._inner.close()
