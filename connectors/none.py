"""The connector that does nothing."""

from __future__ import annotations

from connectors.base import Applied, Connector, Outcome, WorkerCounts
from planner.core.decision import Decision
from planner.finding import Finding, Health


class NoOperationConnector(Connector):
    """Looks at what runs, through another connector if there is one, and never changes it."""

    def __init__(self, inner: Connector | None = None) -> None:
        """Look through a connector that has not started, or at nothing.

        Args:
            inner: Who knows the workers.
        """
        self._inner = inner

    async def start(self) -> None:
        """Start the connector looked through."""
        if self._inner is not None:
            await self._inner.start()

    async def workers(self) -> WorkerCounts:
        """What the connector looked through sees."""
        return WorkerCounts() if self._inner is None else await self._inner.workers()

    async def apply(self, decision: Decision) -> Applied:
        """Leave everything as it is."""
        return Applied(
            outcome=Outcome.SKIPPED,
            detail=f"no operation: prefill={decision.prefill}, decode={decision.decode} were not asked for",
        )

    @property
    def leading(self) -> bool:
        """Never."""
        return False

    async def check(self) -> list[Finding]:
        """What the connector looked through finds."""
        own = Finding(subject="connector", health=Health.OK, detail="no operation: nothing will be scaled")
        return [own] if self._inner is None else [own, *await self._inner.check()]

    @property
    def engine_gpus(self) -> tuple[int | None, int | None]:
        """Those of the connector looked through."""
        return (None, None) if self._inner is None else self._inner.engine_gpus

    @property
    def model_name(self) -> str | None:
        """That of the connector looked through."""
        return None if self._inner is None else self._inner.model_name

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the connector looked through."""
        return () if self._inner is None else self._inner.warnings

    async def close(self) -> None:
        """Close the connector looked through."""
        if self._inner is not None:
            await self._inner.close()
