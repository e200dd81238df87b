"""A copy of some objects of a cluster that follows them: list, watch on, and list again now and then."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.errors import ExpiredError, ForbiddenError, KubernetesError
from connectors.kubernetes.resources import Resource
from planner.log import get_logger

# A watch may lose events without anybody noticing: the list is taken anew so often, seconds.
_RELIST_S = 300.0
_WATCH_S = 60.0
# Without the right to watch, the list is taken so often, seconds.
_POLL_S = 10.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0

log = get_logger("planner.kubernetes")


class Mirror:
    """Follows the objects of one kind that match selectors.

    Attributes:
        objects: The objects as last seen, by namespace and name.
    """

    def __init__(
        self,
        api: KubernetesApi,
        resource: Resource,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        on_change: Callable[[Object], None] | None = None,
        relist_s: float = _RELIST_S,
        poll_s: float = _POLL_S,
        watch_s: float = _WATCH_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is read before ``run``.

        Args:
            api: The server.
            resource: The kind.
            namespace: Where; None for all namespaces.
            labels: Label selector.
            fields: Field selector.
            on_change: Called with every object that is new, changed or gone; must not block.
            relist_s: Time between two lists even if the watch works, seconds.
            poll_s: Time between two lists if watching is not allowed, seconds.
            watch_s: Length of one watch, seconds.
            monotonic: A clock for ages, seconds.
        """
        self.objects: Mapping[tuple[str, str], Object] = {}
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._selectors = {"labels": labels, "fields": fields}
        self._on_change = on_change
        self._relist_s = relist_s
        self._poll_s = poll_s
        self._watch_s = watch_s
        self._monotonic = monotonic
        self._version = ""
        self._listed_at: float | None = None
        self._heard_at: float | None = None
        self._may_watch = True
        self._failing = False

    @property
    def age_s(self) -> float | None:
        """Seconds since the server was last heard of; None if it never was."""
        return None if self._heard_at is None else self._monotonic() - self._heard_at

    async def refresh(self) -> None:
        """Take the list now.

        Raises:
            KubernetesError: It cannot be had.
        """
        items, version = await self._api.list_all(self._resource, self._namespace, **self._selectors)
        before, self.objects = self.objects, {_key(item): item for item in items}
        self._version = version
        self._listed_at = self._heard_at = self._monotonic()
        for key in before.keys() | self.objects.keys():
            if before.get(key) != self.objects.get(key):
                self._tell(self.objects.get(key) or before[key])

    async def run(self) -> None:
        """Follow until cancelled; failures are logged once and waited out."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                await self._follow()
                self._failing, wait_s = False, _FIRST_WAIT_S
            except ExpiredError:
                self._listed_at = None
            except KubernetesError as error:
                if not self._failing:
                    log.warning("watch interrupted; trying again", detail=str(error))
                self._failing, self._listed_at = True, None
                await asyncio.sleep(wait_s)
                wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)

    async def _follow(self) -> None:
        """List if that is due, then watch for a while, or wait where watching is not allowed."""
        if self._listed_at is None or self._monotonic() - self._listed_at >= self._relist_s:
            await self.refresh()
        if not self._may_watch:
            await asyncio.sleep(self._poll_s)
            self._listed_at = None
            return
        try:
            await self._watch()
        except ForbiddenError as error:
            self._may_watch = False
            log.warning(
                f"watching {self._resource.plural} is not allowed: they are read every {self._poll_s:g} s instead",
                detail=str(error),
            )

    async def _watch(self) -> None:
        begun = self._monotonic()
        events = self._api.watch(self._resource, self._namespace, self._version, for_s=self._watch_s, **self._selectors)
        async with contextlib.aclosing(events):
            async for event in events:
                self._heard_at = self._monotonic()
                self._take(event)
        self._heard_at = self._monotonic()
        # A server that ends every watch at once must not be asked without a pause.
        if self._monotonic() - begun < 1.0:
            await asyncio.sleep(1.0)

    def _take(self, event: Object) -> None:
        item = event.get("object") or {}
        self._version = str((item.get("metadata") or {}).get("resourceVersion") or self._version)
        kind = event.get("type")
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self.objects = {key: value for key, value in self.objects.items() if key != _key(item)}
        else:
            self.objects = {**self.objects, _key(item): item}
        self._tell(item)

    def _tell(self, item: Object) -> None:
        if self._on_change is not None:
            self._on_change(item)


def _key(item: Object) -> tuple[str, str]:
    metadata = item["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])
