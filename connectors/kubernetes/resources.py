"""The kinds of objects that the planner deals with, and where an API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of namespaced objects.

    Attributes:
        group: API group; empty for the core group.
        version: Version of the group that is asked for.
        plural: Name of the kind in addresses.
        kind: Name of the kind in objects.
    """

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """The version as objects state it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_path(self) -> str:
        """Where the version of the group begins."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The address of a collection, an object, or a subresource of one.

        Args:
            namespace: Its namespace; None for the collection over all namespaces.
            name: Name of the object; empty for the collection.
            subresource: Such as ``status`` or ``scale``.
        """
        where = [self.group_path, *(("namespaces", namespace) if namespace else ()), self.plural, name, subresource]
        return "/".join(part for part in where if part)

    def at(self, version: str) -> Resource:
        """The same kind in another version."""
        return replace(self, version=version)


DYNAMO_GROUP = "nvidia.com"
# The newest first: what a cluster serves is asked for in this order.
DYNAMO_VERSIONS = ("v1beta1", "v1alpha1")

DEPLOYMENTS = Resource(DYNAMO_GROUP, "v1alpha1", "dynamographdeployments", "DynamoGraphDeployment")
ADAPTERS = Resource(
    DYNAMO_GROUP, "v1alpha1", "dynamographdeploymentscalingadapters", "DynamoGraphDeploymentScalingAdapter"
)
REQUESTS = Resource(DYNAMO_GROUP, "v1alpha1", "dynamographdeploymentrequests", "DynamoGraphDeploymentRequest")
WORKER_METADATA = Resource(DYNAMO_GROUP, "v1alpha1", "dynamoworkermetadatas", "DynamoWorkerMetadata")
PODS = Resource("", "v1", "pods", "Pod")
EVENTS = Resource("", "v1", "events", "Event")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
JOBS = Resource("batch", "v1", "jobs", "Job")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
