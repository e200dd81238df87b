"""What a Kubernetes API server may answer instead of what was asked for."""

from __future__ import annotations

from connectors.base import ConnectorError


class KubernetesError(ConnectorError):
    """A request to the API server failed; the message says which and why."""


class UnreachableError(KubernetesError):
    """The API server did not answer, or only with errors of its own, however often it was asked."""


class NotFoundError(KubernetesError):
    """There is no such object, or no such kind of objects."""


class ForbiddenError(KubernetesError):
    """The planner may not do that: its role lacks the right, or an admission webhook refused."""


class ConflictError(KubernetesError):
    """The object was changed, created or deleted by somebody else in the meantime."""


class InvalidError(KubernetesError):
    """The server understood the request and does not accept what it says."""


class ExpiredError(KubernetesError):
    """The version to watch from is too old: list again."""
