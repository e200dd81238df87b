"""Decisions for a DynamoGraphDeployment: its workers are scaled through the API of the cluster."""

from connectors.kubernetes.access import Access
from connectors.kubernetes.api import KubernetesApi
from connectors.kubernetes.connector import KubernetesConnector
from connectors.kubernetes.discovery import Wanted
from connectors.kubernetes.lease import KubernetesLeases

__all__ = ["Access", "KubernetesApi", "KubernetesConnector", "KubernetesLeases", "Wanted"]
