"""From a decision to the connector that carries it out."""

from __future__ import annotations

from connectors.base import Applied, Connector, ConnectorError, Outcome
from planner.core.decision import Action, Decision
from planner.log import get_logger
from planner.report.metrics import PlannerMetrics

log = get_logger("planner.daemon")


class Handover:
    """Gives decisions to a connector, unless there is nothing to do.

    A decision that changes nothing is handed over all the same while the connector has not taken an earlier one.
    """

    def __init__(self, connector: Connector, metrics: PlannerMetrics) -> None:
        self._connector = connector
        self._metrics = metrics
        self._unsettled = False

    def wants(self, decision: Decision) -> bool:
        """Whether a decision is to be handed over."""
        return decision.action is Action.SCALE or self._unsettled

    async def give(self, decision: Decision) -> Applied | None:
        """Hand a decision over.

        Returns:
            What became of it; None if the connector cannot be reached.
        """
        try:
            applied = await self._connector.apply(decision)
        except ConnectorError as error:
            self._unsettled = True
            self._metrics.connector_failures.inc()
            log.error("decision not handed over; it is tried again at the next adjustment", detail=str(error))  # noqa: TRY400
            return None
        self._unsettled = applied.outcome in (Outcome.WAITING, Outcome.STANDBY)
        return applied
