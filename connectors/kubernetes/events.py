"""Events on a deployment: what the planner did and what is wrong, for ``kubectl describe``."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from connectors.kubernetes.api import FIELD_MANAGER, KubernetesApi
from connectors.kubernetes.errors import ForbiddenError, KubernetesError
from connectors.kubernetes.resources import EVENTS, Resource
from connectors.kubernetes.rights import CREATE_EVENTS
from planner.log import get_logger

# So many at once, one more each so many seconds, and the same one not again within so many.
_BURST, _REFILL_S, _SAME_S = 20, 30.0, 600.0
_WITHIN_S = 3.0
_LONGEST_MESSAGE = 1000

log = get_logger("planner.kubernetes")


class Events:
    """Tells of one object; rate-limited, and never in the way of anything."""

    def __init__(
        self, api: KubernetesApi, resource: Resource, namespace: str, *, now: Callable[[], float], enabled: bool = True
    ) -> None:
        """Tell nothing yet.

        Args:
            api: The server.
            resource: Kind of the object told of.
            namespace: Its namespace.
            now: What the time is, seconds since the epoch.
            enabled: Whether the planner may create events.
        """
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._now = now
        self._enabled = enabled
        self._tokens = float(_BURST)
        self._refilled_at = now()
        self._told: dict[tuple[str, str], float] = {}

    async def tell(
        self, name: str, uid: str, *, reason: str, message: str, warning: bool = False, once: bool = False
    ) -> bool:
        """Create an event, if it is not one too many.

        Args:
            name: Name of the object.
            uid: Its identity.
            reason: A word in camel case, such as ``Scaled``.
            message: A sentence.
            warning: Whether something is wrong.
            once: Whether the object has such an event at most once, whoever told it; it counts for no limit.

        Returns:
            Whether this is news, rather than told already or one too many.
        """
        told = (name, f"{reason}: {message}")
        if not self._may_tell(told, limited=not once):
            return False
        if self._enabled:
            await self._create(name, uid, reason, message, warning=warning, once=once)
        return True

    async def _create(self, name: str, uid: str, reason: str, message: str, *, warning: bool, once: bool) -> None:
        told = (name, f"{reason}: {message}")
        suffix = hashlib.sha256(" ".join((uid, *told)).encode()).hexdigest()[:16] if once else uuid.uuid4().hex[:16]
        at = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "metadata": {"name": f"{name}.{suffix}", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": self._resource.api_version,
                "kind": self._resource.kind,
                "namespace": self._namespace,
                "name": name,
                "uid": uid,
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:_LONGEST_MESSAGE],
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            await self._api.create(EVENTS, self._namespace, body, timeout_s=_WITHIN_S)
        except ForbiddenError:
            self._enabled = False
            log.warning(CREATE_EVENTS.complaint)
        except KubernetesError as error:
            log.debug("event not created", detail=str(error))

    def _may_tell(self, told: tuple[str, str], *, limited: bool) -> bool:
        now = self._now()
        self._tokens = min(_BURST, self._tokens + (now - self._refilled_at) / _REFILL_S)
        self._refilled_at = now
        self._told = {key: at for key, at in self._told.items() if now - at < _SAME_S}
        if told in self._told or (limited and self._tokens < 1):
            return False
        self._tokens -= limited
        self._told[told] = now
        return True
