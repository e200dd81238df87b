"""What belongs to a request: how it is labelled, found again, and told from what belongs to others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Self

from connectors.kubernetes.api import Object

NAME, NAMESPACE = "dgdr.nvidia.com/name", "dgdr.nvidia.com/namespace"
"""Labels of whatever a request led to."""
UID = "planner.dynamo/request-uid"
"""Label of what belongs to one request, and to no later one of the same name."""
TRIAL = "planner.dynamo/trial"
"""Label of deployments that are there to be measured only."""
CONTROLLER = "planner.dynamo/controller"
"""Annotation that names the controller of a request; label of what that controller made."""

_LONGEST_LABEL, _LONGEST_NAME = 63, 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A request as the owner of objects."""

    name: str
    namespace: str
    uid: str
    api_version: str = "nvidia.com/v1alpha1"

    @classmethod
    def of(cls, body: Object) -> Self:
        """The request itself."""
        metadata = body["metadata"]
        return cls(
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            api_version=body["apiVersion"],
        )

    @property
    def labels(self) -> dict[str, str]:
        """Labels of what goes with the request."""
        return {NAME: label(self.name), NAMESPACE: label(self.namespace), UID: self.uid}

    @property
    def reference(self) -> dict[str, Any]:
        """The owner reference, by which a cluster removes an object together with the request."""
        return {
            "apiVersion": self.api_version,
            "kind": "DynamoGraphDeploymentRequest",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }

    def metadata(self, name: str, **labels: str) -> dict[str, Any]:
        """Metadata of an object that goes with the request."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {**self.labels, "nvidia.com/managed-by": "sla-planner", **labels},
            "ownerReferences": [self.reference],
        }

    def owns(self, body: Object) -> bool:
        """Whether an object belongs to this very request."""
        return labels_of(body).get(UID) == self.uid

    def named_on(self, body: Object) -> bool:
        """Whether an object came of a request of this name, be it this one or an earlier one."""
        found = labels_of(body)
        return (found.get(NAME), found.get(NAMESPACE)) == (label(self.name), label(self.namespace))

    def child(self, prefix: str) -> str:
        """The name of an object of the request that is not to outlive it."""
        return shortened(f"{prefix}{self.name}", _LONGEST_NAME)

    @property
    def results(self) -> str:
        """Name of the ConfigMap with the result."""
        return self.child("dgdr-output-")

    @property
    def job(self) -> str:
        """Name of the profiling job; its pods take it as a label."""
        return shortened(f"profile-{self.name}", _LONGEST_LABEL)


def labels_of(body: Object) -> dict[str, str]:
    """The labels of an object."""
    return (body.get("metadata") or {}).get("labels") or {}


def label(text: str) -> str:
    """A name as the value of a label, which is shorter than names may be."""
    return shortened(text, _LONGEST_LABEL)


def shortened(name: str, most: int) -> str:
    """A name of so many characters at most, that no other name is shortened to."""
    if len(name) <= most:
        return name
    return f"{name[: most - 9].rstrip('-.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
