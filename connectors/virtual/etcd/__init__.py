"""Decisions in etcd, under the keys and with the leases of NVIDIA Dynamo's planner."""

from connectors.virtual.etcd.deciding import DecidingStore
from connectors.virtual.etcd.following import FollowingStore
from connectors.virtual.etcd.gateway import EtcdAccess, EtcdError, EtcdGateway, EtcdUnavailableError
from connectors.virtual.etcd.store import LEASE_TTL_S

__all__ = [
    "LEASE_TTL_S",
    "DecidingStore",
    "EtcdAccess",
    "EtcdError",
    "EtcdGateway",
    "EtcdUnavailableError",
    "FollowingStore",
]
