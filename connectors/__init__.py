"""Where a decision goes: one folder a target."""

from connectors.base import Applied, Connector, ConnectorError, Outcome, WorkerCounts

__all__ = ["Applied", "Connector", "ConnectorError", "Outcome", "WorkerCounts"]
