"""Decisions for any orchestrator: it reads them, acts, and acknowledges."""

from connectors.virtual.blocking import BlockingVirtualClient
from connectors.virtual.client import VirtualClientError, VirtualConnectorClient
from connectors.virtual.connector import VirtualConnector
from connectors.virtual.listen import Listen
from connectors.virtual.state import VirtualDecision, VirtualState
from connectors.virtual.store import EmbeddedStore, VirtualStore
from connectors.virtual.webhook import Webhook

__all__ = [
    "BlockingVirtualClient",
    "EmbeddedStore",
    "Listen",
    "VirtualClientError",
    "VirtualConnector",
    "VirtualConnectorClient",
    "VirtualDecision",
    "VirtualState",
    "VirtualStore",
    "Webhook",
]
