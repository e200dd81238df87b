"""What is done about a request: one look at what there is, and the one step that comes next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.errors import NotFoundError
from connectors.kubernetes.events import Events
from connectors.kubernetes.mirror import Mirror
from connectors.kubernetes.resources import DEPLOYMENTS, JOBS, Resource
from planner.dgdr.controller.deploying import Deploying
from planner.dgdr.controller.job import outcome
from planner.dgdr.controller.profiling import Profiling
from planner.dgdr.controller.queue import Key
from planner.dgdr.controller.status import State, shape_of
from planner.dgdr.controller.ticket import Ticket
from planner.dgdr.controller.validation import look_for_what_it_names
from planner.dgdr.issues import RequestError
from planner.dgdr.ownership import CONTROLLER, NAME, NAMESPACE, TRIAL, UID, label, labels_of
from planner.dgdr.request import Request
from planner.log import get_logger

_FIXED = {State.PROFILING, State.DEPLOYING, State.READY, State.DEPLOYED, State.DELETED}

log = get_logger("planner.dgdr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The kinds of objects as the cluster serves them.

    Attributes:
        requests: Requests by API version, the newest first.
        deployments: Deployments in the newest version.
    """

    requests: Mapping[str, Resource]
    deployments: Resource = DEPLOYMENTS

    @property
    def newest(self) -> Resource:
        """Requests in the newest version."""
        return next(iter(self.requests.values()))


class Reconciler:
    """Brings requests from one state to the next.

    All that it relies on is in the cluster: whenever it ends, whoever looks next sees where it was and goes on. Every
    object that it makes has a name that follows from the request and is marked as the request's, so that what was made
    is found rather than made again.
    """

    def __init__(
        self,
        api: KubernetesApi,
        kinds: Kinds,
        *,
        jobs: Mirror,
        deployments: Mirror,
        profiling: Profiling,
        deploying: Deploying,
        takes: Callable[[Object], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            api: The server; fenced where several controllers share the work.
            kinds: The kinds as the cluster serves them.
            jobs: The profiling jobs.
            deployments: The deployments that came of requests.
            profiling: Carries out profiling.
            deploying: Carries out deployment.
            takes: Whether a request is this controller's.
            now: What the time is, seconds since the epoch.
        """
        self._api = api
        self._kinds = kinds
        self._jobs = jobs
        self._deployments = deployments
        self._profiling = profiling
        self._deploying = deploying
        self._takes = takes
        self._now = now
        self._events: dict[tuple[str, Resource], Events] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Take the step that comes next for a request, whatever led here.

        Args:
            key: Its namespace and name.

        Returns:
            Seconds after which to look again even if nothing is seen to change; None if that need not be.

        Raises:
            KubernetesError: The server did not do what was asked: try again later.
            FencedError: Another controller leads.
        """
        ticket = await self._read(key)
        if ticket is None:
            await self._clear(key, None)
            return None
        if not self._takes(ticket.body):
            return None
        profiled = ticket.status.state in {State.PENDING, State.PROFILING}
        await self._clear(key, ticket.owner.uid if profiled else None)
        if ticket.status.state in _FIXED and ticket.generation != (ticket.status.observed or ticket.generation):
            await self._refuse_change(ticket)
        return await self._step(ticket)

    async def _read(self, key: Key) -> Ticket | None:
        """The request; None if there is none, or it is being deleted."""
        try:
            body = await self._api.get(self._kinds.newest, *key)
            resource = self._kinds.requests.get(shape_of(body), self._kinds.newest)
            if resource != self._kinds.newest:
                # Without a conversion webhook a version shows only the fields that it has.
                body = await self._api.get(resource, *key)
        except NotFoundError:
            return None
        if body["metadata"].get("deletionTimestamp"):
            return None
        place = (key[0], resource)
        if place not in self._events:
            self._events[place] = Events(self._api, resource, key[0], now=self._now)
        return Ticket(self._api, resource, body, now=self._now, events=self._events[place])

    async def _step(self, ticket: Ticket) -> float | None:
        match ticket.status.state:
            case State.NEW:
                return await self._validate(ticket)
            case State.PENDING:
                return await self._begin(ticket)
            case State.PROFILING:
                return await self._profiling.follow(ticket, self._request(ticket))
            case State.DEPLOYING | State.DEPLOYED:
                return await self._deploying.follow(ticket, self._request(ticket))
        return None

    async def _validate(self, ticket: Ticket) -> float | None:
        """Accept the request or refuse it, with every reason that can be told without profiling."""
        ticket.change(observed=ticket.generation)
        try:
            request = Request.parse(ticket.body)
            await look_for_what_it_names(request, self._api)
        except RequestError as error:
            await ticket.fail("Validation", "ValidationFailed", str(error))
            return None
        unknown = [f"{path} is no option of the planner and is left out" for path in request.unknown_planner_options]
        message = "; ".join(["the request is valid", *request.notes, *unknown])
        await ticket.tell("Initialized", message, warning=bool(unknown))
        ticket.condition("Validation", True, "Initialized", message)
        ticket.change(state=State.PENDING, backend=request.backend)
        await ticket.save()
        return None

    async def _begin(self, ticket: Ticket) -> float | None:
        """Begin to profile, for the specification as it is now."""
        if ticket.accepted is None:
            if ticket.generation != ticket.status.observed:
                return await self._validate(ticket)
            await ticket.accept()
        request = self._request(ticket)
        ticket.change(observed=request.generation)
        await self._profiling.begin(ticket, request)
        return None

    @staticmethod
    def _request(ticket: Ticket) -> Request:
        """The request as it was accepted."""
        return Request.parse(ticket.accepted or ticket.body)

    @staticmethod
    async def _refuse_change(ticket: Ticket) -> None:
        await ticket.tell(
            "SpecChangeRejected",
            f"generation {ticket.generation} is not acted on: a request cannot be changed once profiling has begun. To "
            "have another specification, delete the request and create it again; its deployment stays until you "
            "delete it",
            warning=True,
        )

    async def _clear(self, key: Key, profiled: str | None) -> None:
        """End the work of requests of this name that is no longer asked for.

        Args:
            key: Namespace and name.
            profiled: Identity of the request whose work is to go on; None if all is to end.
        """
        self._profiling.drop(key, unless=profiled)
        for kind, mirror, only in ((JOBS, self._jobs, CONTROLLER), (self._kinds.deployments, self._deployments, TRIAL)):
            for place, body in mirror.objects.items():
                labels = labels_of(body)
                if only not in labels or labels.get(UID) in {None, profiled}:
                    continue
                if (labels.get(NAMESPACE), labels.get(NAME)) != (label(key[0]), label(key[1])):
                    continue
                if kind is JOBS and (profiled is None and outcome(body) is not None):
                    continue
                if body["metadata"].get("deletionTimestamp"):
                    continue
                await self._api.delete(kind, *place)
                log.info("removed", kind=kind.kind, object=place[1], request="/".join(key))
