"""Profiling for a request: an estimate made here, or a job that measures engines; in the end, its result."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.errors import ConflictError, ForbiddenError, NotFoundError
from connectors.kubernetes.resources import CONFIG_MAPS, JOBS, PODS
from planner.dgdr.base import read_base
from planner.dgdr.choice import REASON
from planner.dgdr.controller import issues
from planner.dgdr.controller import job as jobs
from planner.dgdr.controller.queue import Key
from planner.dgdr.controller.status import Phase, State
from planner.dgdr.controller.ticket import Ticket
from planner.dgdr.controller.workshop import Workshop
from planner.dgdr.generate import Generated, own_image
from planner.dgdr.issues import DgdrError, ProfilingError
from planner.dgdr.request import Request
from planner.dgdr.result import MANIFESTS, PROGRESS, Result, ResultError, ResultStore
from profiles.making.progress import OnProgress, Progress

# How often progress is looked at, seconds.
_LOOK_S = 5.0


class Estimator(Protocol):
    """Makes manifests of a request without engines."""

    def __call__(
        self,
        request: Request,
        *,
        base: Object | None = None,
        on_progress: OnProgress | None = None,
        planner_image: str | None = None,
    ) -> Awaitable[Generated]:
        """See ``planner.dgdr.generate.offline``."""
        ...


class Profiling:
    """Takes requests from Pending to a result."""

    def __init__(
        self,
        api: KubernetesApi,
        workshop: Workshop,
        *,
        estimate: Estimator,
        again: Callable[[Key], None],
        image: str | None,
        controller: str,
        job_timeout_s: float,
        look_s: float = _LOOK_S,
    ) -> None:
        """Prepare.

        Args:
            api: The server.
            workshop: Where estimates are made.
            estimate: Makes them.
            again: Has a request looked at again.
            image: Image of this planner, for requests that name none.
            controller: The name of this controller.
            job_timeout_s: Longest time that a job may take, seconds.
            look_s: Time between two looks at progress, seconds.
        """
        self._api = api
        self._workshop = workshop
        self._estimate = estimate
        self._again = again
        self._image = image
        self._controller = controller
        self._job_timeout_s = job_timeout_s
        self._look_s = look_s

    def drop(self, key: Key, *, unless: str | None) -> None:
        """Stop the estimate for requests of a name, but for the one of this identity."""
        self._workshop.drop(key, unless=unless)

    async def begin(self, ticket: Ticket, request: Request) -> None:
        """Begin, and say so."""
        if request.online:
            try:
                await self._make_job(ticket, request)
            except ProfilingError as error:
                await ticket.fail("Profiling", "JobCreationFailed", str(error))
                return
            ticket.change(job=ticket.owner.job)
            await ticket.tell("ProfilingJobCreated", f"job {ticket.owner.job} measures engines")
        else:
            await ticket.tell("ProfilingStarted", "the engines are estimated offline")
        ticket.begin_profiling(Phase.BEGIN, "profiling has begun")
        ticket.change(state=State.PROFILING)
        await ticket.save()

    def _image_for(self, request: Request) -> str | None:
        """The image of this planner that the request is to have; None if nobody names one."""
        return own_image(request) or self._image

    async def _make_job(self, ticket: Ticket, request: Request) -> None:
        """Create the job if it is not there.

        Raises:
            ProfilingError: There is no image, or another job of that name.
        """
        image = self._image_for(request)
        if image is None:
            raise issues.NO_IMAGE.error()
        owner = ticket.owner
        body = jobs.job_manifest(
            request,
            ticket.accepted or ticket.body,
            owner,
            image=image,
            controller=self._controller,
            timeout_s=round(self._job_timeout_s),
        )
        try:
            await self._api.create(JOBS, owner.namespace, body)
        except ConflictError:
            found = await self._api.get(JOBS, owner.namespace, owner.job)
            if owner.owns(found):
                return
            if not owner.named_on(found):
                raise issues.JOB_TAKEN.error(name=owner.job) from None
            # Of an earlier request of this name: it goes, and this is tried again.
            await self._api.delete(JOBS, owner.namespace, owner.job)
            raise

    async def follow(self, ticket: Ticket, request: Request) -> float | None:
        """Look how far it has come; seconds until the next look."""
        store = ResultStore(self._api, ticket.owner)
        found = await store.read()
        if MANIFESTS in found:
            await self._take(ticket, request, found[MANIFESTS])
            return None
        if request.online:
            return await self._follow_job(ticket, found.get(PROGRESS))
        return await self._follow_estimate(ticket, request, store)

    async def _take(self, ticket: Ticket, request: Request, text: str) -> None:
        """Go on with the result."""
        try:
            result = Result.parse(text)
        except ResultError as error:
            await ticket.fail("Profiling", "ProfilingFailed", f"ConfigMap {ticket.owner.results}: {error}")
            return
        metadata = result.dgd["metadata"]
        name, why = metadata["name"], (metadata.get("annotations") or {}).get(REASON)
        await ticket.keep_generated(result.dgd)
        await ticket.tell("ProfilingCompleted", f"the result is in ConfigMap {ticket.owner.results}")
        ticket.condition("Profiling", True, "ProfilingCompleted", f"the result is in ConfigMap {ticket.owner.results}")
        how = "it is deployed now" if request.auto_apply else f"apply it yourself: {_apply(ticket)}"
        message = f"DynamoGraphDeployment {name} is generated{f' with {why}' if why else ''}; {how}"
        await ticket.tell("SpecGenerated", message)
        ticket.condition("SpecGenerated", True, "SpecGenerated", message)
        ticket.change(
            state=State.DEPLOYING if request.auto_apply else State.READY,
            results=ticket.owner.results,
            generated=result.dgd,
            phase=Phase.DONE,
        )
        await ticket.save()
        self._workshop.drop((ticket.owner.namespace, ticket.owner.name))

    async def _follow_estimate(self, ticket: Ticket, request: Request, store: ResultStore) -> float | None:
        key = (ticket.owner.namespace, ticket.owner.name)

        async def make(tell: OnProgress) -> Generated:
            base = await base_of(self._api, request)
            return await self._estimate(request, base=base, on_progress=tell, planner_image=self._image_for(request))

        piece = self._workshop.piece(key, ticket.owner.uid, make, lambda: self._again(key))
        if not piece.task.done():
            if piece.progress is not None:
                ticket.begin_profiling(_phase(piece.progress), f"estimating: {_told(piece.progress)}")
                await ticket.save()
            return self._look_s
        try:
            generated = piece.task.result()
            await store.keep(Result.of(generated))
        except (DgdrError, ResultError) as error:
            self._workshop.drop(key)
            await ticket.fail("Profiling", "ProfilingFailed", str(error))
            return None
        except Exception:
            # What went wrong may have been the server: the next look estimates anew.
            self._workshop.drop(key)
            raise
        return 0.0

    async def _follow_job(self, ticket: Ticket, progress: str | None) -> float | None:
        owner = ticket.owner
        try:
            job = await self._api.get(JOBS, owner.namespace, owner.job)
        except NotFoundError:
            job = {}
        if not owner.owns(job):
            await ticket.fail("Profiling", "ProfilingFailed", str(issues.JOB_GONE.error(name=owner.job)))
            return None
        success = jobs.outcome(job)
        if success is None:
            pods = await self._pods(ticket)
            phase, message = _of_job(progress)
            if (why := jobs.waiting(pods)) is not None:
                message = f"{message}; {why}"
            ticket.begin_profiling(phase, message)
            await ticket.save()
            return self._look_s
        if not success:
            error = jobs.failure(job, await self._pods(ticket))
        elif MANIFESTS in await ResultStore(self._api, owner).read():
            return 0.0
        else:
            error = issues.JOB_WITHOUT_RESULT.error(name=owner.job, results=owner.results)
        await ticket.fail("Profiling", "ProfilingFailed", str(error))
        return None

    async def _pods(self, ticket: Ticket) -> list[Object]:
        try:
            return (await self._api.list_all(PODS, ticket.owner.namespace, labels=f"job-name={ticket.owner.job}"))[0]
        except ForbiddenError:
            return []


async def base_of(api: KubernetesApi, request: Request) -> Object | None:
    """The deployment that the request is to be made of; None for the template of its backend.

    Raises:
        RequestError, GenerationError: It is gone, or no deployment.
        KubernetesError: It cannot be read.
    """
    if request.config_map_ref is None:
        return None
    name, key = request.config_map_ref.name, request.config_map_ref.key
    try:
        found = await api.get(CONFIG_MAPS, request.namespace, name)
        return dict(read_base((found.get("data") or {})[key], f"key {key} of ConfigMap {name}"))
    except (NotFoundError, KeyError):
        raise issues.NO_CONFIG_MAP.error(name=name, namespace=request.namespace) from None


def _apply(ticket: Ticket) -> str:
    key = MANIFESTS.replace(".", r"\.")
    where = f"-n {ticket.owner.namespace} get configmap {ticket.owner.results}"
    return f"kubectl {where} -o jsonpath='{{.data.{key}}}' | kubectl apply -n {ticket.owner.namespace} -f -"


def _told(progress: Progress) -> str:
    return f"{progress.done} of {progress.total}, {progress.doing}"


def _phase(progress: Progress) -> Phase:
    """Where an estimate is, by what it says it does."""
    doing = progress.doing.lower()
    if "ttft" in doing or "prefill" in doing:
        return Phase.PREFILL
    return Phase.DECODE if "itl" in doing or "decode" in doing else Phase.BEGIN


def _of_job(progress: str | None) -> tuple[Phase, str]:
    """Phase and message of what a job tells of its progress."""
    try:
        told: dict[str, Any] = json.loads(progress) if progress else {}
        return Phase(told["phase"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return Phase.BEGIN, "the profiling job starts"
