"""What there is to see: the load that the source knows of, and the workers that the connector knows of."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from connectors.base import Connector, ConnectorError, WorkerCounts
from planner.core.observation import Observation, Workers
from planner.log import get_logger
from planner.report.gpu_hours import GpuMeter
from planner.report.metrics import PlannerMetrics
from planner.sources.base import Source

log = get_logger("planner.daemon")


class Lookout:
    """Looks at load and workers at the same moment, and keeps account of the GPUs that the workers use.

    Attributes:
        meter: The account.
    """

    def __init__(
        self, source: Source, connector: Connector, metrics: PlannerMetrics, *, meter: GpuMeter, aggregated: bool
    ) -> None:
        """Begin to look.

        Args:
            source: What knows the load.
            connector: What knows the workers.
            metrics: Where the workers and failures to see them are exported.
            meter: The account of GPUs to keep.
            aggregated: Whether one pool serves both phases, so that there are no prefill workers.
        """
        self.meter = meter
        self._source = source
        self._connector = connector
        self._metrics = metrics
        self._aggregated = aggregated

    async def look(self, span_s: float) -> Observation:
        """The load of the last ``span_s`` seconds, and the workers there are now; what cannot be seen is None."""
        seen, counts = await asyncio.gather(self._source.observe(span_s), self._count_workers())
        self.meter.read(seen.time, counts)
        self._metrics.counted(counts)
        return replace(seen, prefill=counts.prefill, decode=counts.decode)

    async def _count_workers(self) -> WorkerCounts:
        try:
            counts = await self._connector.workers()
        except ConnectorError as error:
            self._metrics.connector_failures.inc()
            log.warning("workers unknown", detail=str(error))
            return WorkerCounts()
        if self._aggregated and counts.prefill is None:
            return replace(counts, prefill=Workers(0))
        return counts
