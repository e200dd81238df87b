"""A request in the hands of the controller, with what it may change of it: its status and its annotations."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.errors import InvalidError
from connectors.kubernetes.events import Events
from connectors.kubernetes.resources import Resource
from planner.dgdr.controller.status import GENERATED, Phase, Shape, State, Status, read_status, shape_of, written
from planner.dgdr.ownership import Owner
from planner.log import get_logger

ACCEPTED = "planner.dynamo/accepted-spec"
"""Annotation with the specification that profiling began for, and its generation."""

log = get_logger("planner.dgdr")


class Ticket:
    """One request as it was read, and as it becomes.

    Every change names the state that it is a change of: if somebody else was faster it is refused, and the request is
    looked at again.
    """

    def __init__(
        self,
        api: KubernetesApi,
        resource: Resource,
        body: Object,
        *,
        now: Callable[[], float],
        events: Events,
    ) -> None:
        """Take a request.

        Args:
            api: The server.
            resource: The kind, in the version that the body was read in.
            body: The request.
            now: What the time is, seconds since the epoch.
            events: Tells what happened to it.

        Raises:
            ValueError: Its status cannot be read.
        """
        self.body = body
        self.status: Status = read_status(body)
        self.owner = Owner.of(body)
        self._api = api
        self._resource = resource
        self._now = now
        self._events = events

    @property
    def shape(self) -> Shape:
        """Its shape."""
        return shape_of(self.body)

    @property
    def generation(self) -> int:
        """Counts the changes of its specification."""
        return int(self.body["metadata"].get("generation") or 0)

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations."""
        return self.body["metadata"].get("annotations") or {}

    @property
    def accepted(self) -> Object | None:
        """The request with the specification that profiling began for; None if it has not begun."""
        if (kept := self.annotations.get(ACCEPTED)) is None:
            return None
        frozen = json.loads(kept)
        metadata = {**self.body["metadata"], "generation": frozen["generation"]}
        return {**self.body, "metadata": metadata, "spec": frozen["spec"]}

    async def accept(self) -> None:
        """Keep the specification as it is now: whatever becomes of it, this is what is worked on.

        Raises:
            KubernetesError: It cannot be written, or the request was changed.
        """
        kept = {"generation": self.generation, "spec": self.body["spec"]}
        await self._annotate({ACCEPTED: json.dumps(kept, separators=(",", ":"))})

    async def keep_generated(self, dgd: Object) -> None:
        """Keep the generated deployment where the status has no place for it; raises as ``accept``."""
        if self.shape is Shape.BETA:
            await self._annotate({GENERATED: json.dumps(dgd, separators=(",", ":"))})

    async def _annotate(self, annotations: dict[str, str]) -> None:
        if all(self.annotations.get(key) == value for key, value in annotations.items()):
            return
        metadata = {"annotations": annotations, "resourceVersion": self.body["metadata"]["resourceVersion"]}
        place = (self._resource, self.owner.namespace, self.owner.name)
        changed = await self._api.patch(*place, {"metadata": metadata})
        self.body = {**self.body, "metadata": changed["metadata"]}

    def condition(self, kind: str, ok: bool | None, reason: str, message: str) -> None:
        """Set a condition; ``save`` stores it."""
        self.status = self.status.with_condition(kind, ok, reason, message, self._timestamp())

    def change(self, **changes: Any) -> None:
        """Change fields of the status; ``save`` stores them."""
        self.status = replace(self.status, **changes)

    async def tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Tell what happened in an event, once however often it is told.

        It is told before the status says so: a controller that ends between the two tells it again, which makes no
        second event, rather than not at all.
        """
        told = await self._events.tell(
            self.owner.name, self.owner.uid, reason=reason, message=message, warning=warning, once=True
        )
        if told:
            log.info(message, request=f"{self.owner.namespace}/{self.owner.name}", reason=reason)

    async def fail(self, kind: str, reason: str, message: str) -> None:
        """End with a failure, told in a condition and an event.

        Raises:
            KubernetesError: It cannot be written, or the request was changed.
        """
        await self.tell(reason, message, warning=True)
        self.condition(kind, False, reason, message)
        self.change(state=State.FAILED)
        await self.save()

    async def save(self) -> None:
        """Store the status if it changed; raises as ``accept``."""
        status = written(self.status, self.body, self._timestamp())
        if status == (self.body.get("status") or {}):
            return
        place = (self._resource, self.owner.namespace, self.owner.name)
        self.body = await self._api.replace(*place, {**self.body, "status": status}, subresource="status")
        if read_status(self.body).state is not read_status({**self.body, "status": status}).state:
            raise InvalidError(
                f"the server drops the state of requests that are written as {self.shape}: it stores them as another "
                "version and does not convert them. Install the conversion webhook of Dynamo's operator, or write them "
                "as the version that is stored"
            )

    def begin_profiling(self, phase: Phase, message: str) -> None:
        """Say that profiling is under way, and how far it has come."""
        self.condition("Profiling", False, "ProfilingRunning", message)
        self.change(phase=phase)

    def _timestamp(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
