"""The controller: it follows requests, jobs and deployments, and has every request looked at that they concern."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from connectors.base import ConnectorError
from connectors.election import Elector, FencedError
from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.errors import ConflictError, KubernetesError
from connectors.kubernetes.mirror import Mirror
from connectors.kubernetes.resources import DEPLOYMENTS, DYNAMO_VERSIONS, JOBS, REQUESTS, Resource
from planner.dgdr.controller.deploying import Deploying
from planner.dgdr.controller.metrics import ControllerMetrics
from planner.dgdr.controller.profiling import Estimator, Profiling
from planner.dgdr.controller.queue import Key, WorkQueue
from planner.dgdr.controller.reconciler import Kinds, Reconciler
from planner.dgdr.controller.status import State, read_status
from planner.dgdr.controller.workshop import Workshop
from planner.dgdr.generate import offline
from planner.dgdr.ownership import CONTROLLER, NAME, NAMESPACE, label, labels_of
from planner.log import get_logger

# How often is looked whether the lead was won or lost, seconds.
_LEAD_LOOK_S = 0.25
# The copies of the cluster are refreshed at least so often while all is well; older than that is unhealthy, seconds.
_STALE_S = 180.0

log = get_logger("planner.dgdr")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerOptions:
    """How a controller works.

    Attributes:
        namespace: Where it looks for requests; None for all namespaces.
        name: Its name: it takes requests whose annotation ``planner.dynamo/controller`` says so.
        takes_all: Whether it takes all others, too.
        image: Image of this planner, for jobs and planners of requests that name none or one of Dynamo's.
        job_timeout_s: Longest time that a profiling job may take, seconds.
        resync_s: Every request is looked at so often even if nothing is seen to change, seconds.
        workers: Requests looked at at a time.
        look_s: Time between two looks at the progress of profiling, seconds.
        retry_s: Time until a look that failed is repeated, which doubles with every failure, seconds.
    """

    namespace: str | None
    name: str = "sla-planner"
    takes_all: bool = False
    image: str | None = None
    job_timeout_s: float = 14_400.0
    resync_s: float = 30.0
    workers: int = 4
    look_s: float = 5.0
    retry_s: float = 0.5


class Controller:
    """Takes care of requests until it is cancelled.

    Several may run: those that do not lead keep their copies of the cluster fresh and change nothing.
    """

    def __init__(
        self,
        api: KubernetesApi,
        options: ControllerOptions,
        *,
        elector: Elector | None = None,
        metrics: ControllerMetrics | None = None,
        estimate: Estimator = offline,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is asked before ``run``.

        Args:
            api: The server; fenced by the elector, if there is one.
            options: How to work.
            elector: Its part in the election; None if there is no other.
            metrics: Where it counts.
            estimate: Makes manifests without engines.
            now: What the time is, seconds since the epoch.
        """
        self._api = api
        self._options = options
        self._elector = elector
        self._metrics = metrics or ControllerMetrics()
        self._estimate = estimate
        self._now = now
        self._queue = WorkQueue(first_retry_s=options.retry_s)
        self._workshop = Workshop()
        self._requests: Mirror | None = None
        self._mirrors: list[Mirror] = []
        self._led = False

    @property
    def leading(self) -> bool:
        """Whether it acts, at this instant."""
        return self._elector is None or self._elector.leading

    def unready(self) -> str | None:
        """Why it cannot do its work; None if it can."""
        ages = [mirror.age_s for mirror in self._mirrors]
        if not ages or None in ages:
            return "the cluster was not read yet"
        oldest_s = max(age for age in ages if age is not None)
        return f"nothing was heard of the cluster for {oldest_s:.0f} s" if oldest_s > _STALE_S else None

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ConnectorError: The cluster cannot be reached, or has no such requests.
        """
        reconciler = await self._prepare()
        election = None if self._elector is None else asyncio.create_task(self._elector.run(), name="leader election")
        try:
            async with asyncio.TaskGroup() as group:
                for mirror in self._mirrors:
                    group.create_task(mirror.run())
                group.create_task(self._look_at_lead())
                group.create_task(self._resync())
                for _ in range(self._options.workers):
                    group.create_task(self._work(reconciler))
        finally:
            self._queue.close()
            await self._workshop.close()
            # Last, so that nothing of this controller is under way when another begins.
            if election is not None:
                election.cancel()
                await asyncio.gather(election, return_exceptions=True)

    async def _prepare(self) -> Reconciler:
        await self._api.start()
        kinds = await find_kinds(self._api)
        options = self._options
        requests = Mirror(self._api, kinds.newest, options.namespace, on_change=self._on_request)
        jobs = Mirror(
            self._api, JOBS, options.namespace, labels=f"{CONTROLLER}={options.name}", on_change=self._on_descendant
        )
        # A deployment in a namespace that is not watched is looked at when its request is, at every resync.
        deployments = Mirror(
            self._api, kinds.deployments, options.namespace, labels=NAME, on_change=self._on_descendant
        )
        self._requests, self._mirrors = requests, [requests, jobs, deployments]
        for mirror in (jobs, deployments, requests):
            await mirror.refresh()
        profiling = Profiling(
            self._api,
            self._workshop,
            estimate=self._estimate,
            again=self._queue.add,
            image=options.image,
            controller=options.name,
            job_timeout_s=options.job_timeout_s,
            look_s=options.look_s,
        )
        return Reconciler(
            self._api,
            kinds,
            jobs=jobs,
            deployments=deployments,
            profiling=profiling,
            deploying=Deploying(self._api, kinds.deployments),
            takes=self._takes,
            now=self._now,
        )

    def _takes(self, body: Object) -> bool:
        named = (body["metadata"].get("annotations") or {}).get(CONTROLLER)
        return named == self._options.name or (named is None and self._options.takes_all)

    def _on_request(self, body: Object) -> None:
        self._queue.add((str(body["metadata"]["namespace"]), str(body["metadata"]["name"])))

    def _on_descendant(self, body: Object) -> None:
        """A job or a deployment changed: its request is found by labels, as the two may be in different namespaces."""
        labels = labels_of(body)
        if NAME not in labels or NAMESPACE not in labels:
            return
        told = (labels[NAMESPACE], labels[NAME])
        requests = self._requests.objects if self._requests else {}
        # Names that are too long for labels are shortened there.
        long = (key for key in requests if (label(key[0]), label(key[1])) == told)
        self._queue.add(told if told in requests else next(long, told))

    async def _work(self, reconciler: Reconciler) -> None:
        while True:
            key = await self._queue.get()
            try:
                if self.leading:
                    await self._look(reconciler, key)
            finally:
                self._queue.done(key)

    async def _look(self, reconciler: Reconciler, key: Key) -> None:
        begun, name = time.monotonic(), "/".join(key)
        failed = True
        try:
            after_s = await reconciler.reconcile(key)
            failed = False
            self._queue.succeed(key)
            if after_s is not None:
                self._queue.add_after(key, after_s)
        except FencedError:
            log.info("left to the controller that leads", request=name)
        except ConflictError as error:
            log.debug("changed by somebody else meanwhile; looking again", request=name, detail=str(error))
            self._queue.retry(key)
        except KubernetesError as error:
            wait_s = self._queue.retry(key)
            log.warning("not done; trying again", request=name, detail=str(error), wait_s=wait_s)
        except Exception:
            wait_s = self._queue.retry(key)
            log.exception("not done for a reason that nobody thought of; trying again", request=name, wait_s=wait_s)
        finally:
            self._metrics.looked(time.monotonic() - begun, failed=failed)

    async def _look_at_lead(self) -> None:
        """Look at everything when the lead is won; give up what is under way when it is lost."""
        while True:
            leading = self.leading
            if leading and not self._led:
                log.info(
                    "acting on requests", namespace=self._options.namespace or "all", controller=self._options.name
                )
                self._add_all()
            elif self._led and not leading:
                await self._workshop.close()
            self._led = leading
            self._metrics.show(leading=leading, waiting=len(self._queue))
            await asyncio.sleep(_LEAD_LOOK_S)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._options.resync_s)
            self._add_all()

    def _add_all(self) -> None:
        for mirror in self._mirrors[1:]:
            for body in mirror.objects.values():
                self._on_descendant(body)
        states = []
        for body in self._requests.objects.values() if self._requests else ():
            self._on_request(body)
            if self._takes(body):
                states.append(_state(body))
        self._metrics.show_requests(states)


async def find_kinds(api: KubernetesApi) -> Kinds:
    """The kinds of objects as the cluster serves them.

    Raises:
        ConnectorError: It has no requests or no deployments, or does not answer.
    """
    served: dict[str, dict[str, Resource]] = {REQUESTS.plural: {}, DEPLOYMENTS.plural: {}}
    try:
        for version in DYNAMO_VERSIONS:
            for resource in (REQUESTS, DEPLOYMENTS):
                if await api.serves(resource.at(version)):
                    served[resource.plural][version] = resource.at(version)
    except KubernetesError as error:
        raise ConnectorError(f"no answer from the cluster of the {api.credentials.origin}: {error}") from error
    for resource in (REQUESTS, DEPLOYMENTS):
        if not served[resource.plural]:
            raise ConnectorError(
                f"the cluster has no {resource.plural}.{resource.group}: its definition (CRD) is not installed; it "
                "comes with the Dynamo platform"
            )
    return Kinds(requests=served[REQUESTS.plural], deployments=next(iter(served[DEPLOYMENTS.plural].values())))


def _state(body: Object) -> State:
    try:
        return read_status(body).state
    except ValueError:
        return State.NEW
