"""The connector that scales a DynamoGraphDeployment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.base import Applied, Connector, ConnectorError, Outcome, WorkerCounts
from connectors.election import Fence
from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.deployment import Component, Deployment
from connectors.kubernetes.discovery import Discovered, Wanted, discover
from connectors.kubernetes.errors import ForbiddenError, InvalidError, KubernetesError
from connectors.kubernetes.events import Events
from connectors.kubernetes.inventory import DEPLOYMENT_LABEL, by_component, count, trouble
from connectors.kubernetes.mirror import Mirror
from connectors.kubernetes.resources import PODS
from connectors.kubernetes.rights import CREATE_EVENTS, LIST, LIST_PODS
from connectors.kubernetes.roles import Roles, find_roles
from connectors.kubernetes.scaling import Scaling
from planner.core.decision import Decision
from planner.core.observation import Workers
from planner.finding import Finding, Health
from planner.log import get_logger

# A copy of the deployment that was not confirmed for so long is not relied on, seconds.
_STALE_S = 90.0
# Workers that have been starting for so long are asked why, seconds.
_SLOW_START_S = 120.0
# The operator takes what an adapter asks for into the deployment within so long, or a pool that is to grow has to wait
# for another adjustment; looked at so often, seconds.
_FOLLOWED_WITHIN_S, _LOOK_AGAIN_S = 5.0, 0.1
# A rolling update that takes longer than this has gone wrong, and workers are taken away all the same, seconds.
_LONGEST_ROLLOUT_S = 1800.0

log = get_logger("planner.kubernetes")


@dataclass(frozen=True, slots=True)
class Step:
    """A change of one pool's replicas."""

    component: Component
    before: int
    after: int

    @property
    def grows(self) -> bool:
        """Whether it asks for more."""
        return self.after > self.before

    def __str__(self) -> str:
        """The change as log and events tell it."""
        return f"{self.component.name} {self.before} to {self.after}"


@dataclass(frozen=True, slots=True)
class Attached:
    """The deployment that was found, and what acts on it."""

    found: Discovered
    scaling: Scaling
    events: Events


class KubernetesConnector(Connector):
    """Scales the prefill and decode components of one deployment, and tells which workers there are.

    It keeps no state of its own that matters: every decision begins with what the cluster says now. Pools shrink
    before others grow, and these grow once the deployment itself has shrunk: a scaling adapter is followed later, and
    not in the order in which adapters are written. So the GPUs asked for stay within the budget at every instant.
    """

    def __init__(
        self,
        api: KubernetesApi,
        wanted: Wanted,
        *,
        now: Callable[[], float],
        fence: Fence | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        followed_within_s: float = _FOLLOWED_WITHIN_S,
    ) -> None:
        """Prepare; nothing is connected before ``start``.

        Args:
            api: The server; closed with the connector.
            wanted: Which deployment, and what it is expected to be.
            now: What the time is, seconds since the epoch.
            fence: Asked right before every change, where several planners share a deployment.
            monotonic: A clock for ages, seconds.
            followed_within_s: Longest wait for the operator to follow an adapter that shrank, seconds.
        """
        self._api = api
        self._wanted = wanted
        self._now = now
        self._fence = fence
        self._monotonic = monotonic
        self._followed_within_s = followed_within_s
        self._found: Discovered | None = None
        self._attached: Attached | None = None
        self._mirror: Mirror | None = None
        self._following: asyncio.Task[None] | None = None
        self._may_list_pods = True
        self._last_asked: dict[str, int] = {}
        self._written_generation = 0
        self._starting_since: dict[str, float] = {}
        self._rolling_since: float | None = None

    async def start(self) -> None:
        """Find the deployment and begin to follow it.

        Raises:
            ConnectorError: There is no access, no such deployment, it cannot be understood, or a right is missing
                without which nothing can be scaled.
        """
        await self._api.start()
        found = await discover(self._api, self._wanted)
        scaling = Scaling(
            self._api,
            deployments=found.deployments,
            adapters=found.adapters,
            namespace=found.namespace,
            name=found.name,
            fence=self._fence,
        )
        events = Events(
            self._api,
            found.deployments,
            found.namespace,
            now=self._now,
            enabled=self._wanted.scales and CREATE_EVENTS not in found.lacking,
        )
        self._found = found
        self._attached = Attached(found, scaling, events)
        self._may_list_pods = LIST_PODS not in found.lacking
        if LIST not in found.lacking:
            self._mirror = Mirror(
                self._api,
                found.deployments,
                found.namespace,
                fields=f"metadata.name={found.name}",
                monotonic=self._monotonic,
            )
            self._following = asyncio.create_task(self._mirror.run())

    @property
    def warnings(self) -> tuple[str, ...]:
        """The rights that are missing and not essential, and what else looked odd at the start."""
        return self._found.warnings if self._found else ()

    @property
    def engine_gpus(self) -> tuple[int | None, int | None]:
        """GPUs of a worker of each pool, as deployed."""
        return self._found.engine_gpus if self._found else (None, None)

    @property
    def model_name(self) -> str | None:
        """The model that the deployment serves."""
        return self._found.model if self._found else None

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and name of the deployment; known after ``start``."""
        found = self._started.found
        return found.namespace, found.name

    async def workers(self) -> WorkerCounts:
        """What is running now.

        Raises:
            ConnectorError: It cannot be seen, or the deployment has lost a pool.
        """
        deployment = await self._seen()
        self._rolls(deployment)
        roles = self._roles(deployment)
        components = roles.components
        asked, pods = await asyncio.gather(
            asyncio.gather(*(self._asked(deployment, component) for component in components)), self._pods()
        )
        replicas = {one.name: number for one, number in zip(components, asked, strict=True)}
        await self._notice(deployment, replicas)
        counts = {
            one.name: count(one, replicas[one.name], None if pods is None else pods.get(one.name, []))
            for one in components
        }
        for component in components:
            await self._ask_why_slow(
                deployment, component, counts[component.name], (pods or {}).get(component.name, [])
            )
        prefill = Workers(0) if roles.prefill is None else counts[roles.prefill.name]
        return WorkerCounts(prefill=prefill, decode=counts[roles.decode.name])

    async def apply(self, decision: Decision) -> Applied:
        """Ask for the workers of a decision, beginning from what is asked for now.

        Raises:
            FencedError: Another planner leads.
            ConnectorError: Not all of it could be asked for; the message says what was.
        """
        scaling = self._started.scaling
        deployment = await scaling.deployment()
        steps = await self._steps(deployment, decision)
        if not steps:
            return Applied(outcome=Outcome.UNCHANGED, detail="the deployment asks for these workers already")
        if self._rolls(deployment) and not all(step.grows for step in steps):
            detail = f"a rolling update is under way ({deployment.rollout}): nothing is taken away until it has ended"
            return Applied(outcome=Outcome.WAITING, detail=detail)
        done: list[Step] = []
        for step in steps:
            try:
                if step.grows and not await self._has_room(deployment, decision, done):
                    return await self._postpone(deployment, done, step)
                await scaling.set(step.component, step.after)
            except KubernetesError as error:
                await self._tell_half(deployment, done, step, error)
                raise
            done.append(step)
            self._last_asked[step.component.name] = step.after
            self._written_generation = deployment.generation + len(done)
        told = ", ".join(map(str, done))
        await self._tell(deployment, "Scaled", f"{told}. {decision.explanation.reason}")
        return Applied(outcome=Outcome.APPLIED, detail=told)

    async def _has_room(self, deployment: Deployment, decision: Decision, done: list[Step]) -> bool:
        """Whether no pool has more workers in the deployment itself than decided; waits a little for the operator."""
        if done:
            deployment = await self._started.scaling.deployment()
        deadline = self._monotonic() + self._followed_within_s
        while not self._fits(deployment, decision):
            if self._monotonic() >= deadline:
                return False
            await asyncio.sleep(_LOOK_AGAIN_S)
            deployment = await self._started.scaling.deployment()
        return True

    def _fits(self, deployment: Deployment, decision: Decision) -> bool:
        roles = self._roles(deployment)
        pools = (roles.prefill, decision.prefill), (roles.decode, decision.decode)
        return all(component is None or component.replicas <= target for component, target in pools)

    async def _postpone(self, deployment: Deployment, done: list[Step], step: Step) -> Applied:
        shrunk = f"{', '.join(map(str, done))}; " if done else ""
        message = f"{shrunk}{step} has to wait, as the operator does not follow a scaling adapter that shrank"
        log.warning(message, deployment=deployment.name)
        await self._tell(deployment, "ScalingPostponed", message, warning=True)
        return Applied(outcome=Outcome.WAITING, detail=message)

    async def check(self) -> list[Finding]:
        """Look, without changing anything, whether a run would work."""
        try:
            await self._api.start()
            self._found = found = await discover(self._api, self._wanted)
        except ConnectorError as error:
            remedy = "see docs/kubernetes.md: which deployment, which rights"
            return [Finding(subject="Kubernetes", health=Health.FAILED, detail=str(error), remedy=remedy)]
        return list(found.findings())

    async def close(self) -> None:
        """Stop following and close the connections."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None
        await self._api.close()

    @property
    def _started(self) -> Attached:
        if self._attached is None:
            raise ConnectorError("the Kubernetes connector has not been started")
        return self._attached

    def _roles(self, deployment: Deployment) -> Roles:
        return find_roles(deployment, backend=self._wanted.backend, aggregated=self._wanted.aggregated)

    def _rolls(self, deployment: Deployment) -> bool:
        """Whether a rolling update is under way that may still come to its end."""
        if not deployment.rolling:
            self._rolling_since = None
            return False
        if self._rolling_since is None:
            self._rolling_since = self._monotonic()
        return self._monotonic() - self._rolling_since < _LONGEST_ROLLOUT_S

    async def _seen(self) -> Deployment:
        """The deployment from the copy that follows it, or from the server if that may be old."""
        found, mirror = self._started.found, self._mirror
        body = mirror.objects.get((found.namespace, found.name)) if mirror else None
        if mirror is None or body is None or (mirror.age_s or 0.0) > _STALE_S:
            return await self._started.scaling.deployment()
        try:
            return Deployment.parse(body)
        except ValueError as error:
            raise InvalidError(str(error)) from error

    async def _asked(self, deployment: Deployment, component: Component) -> int:
        asked = await self._started.scaling.asked(component)
        # The copy may not have heard of this planner's own last write.
        if asked == component.replicas and deployment.generation < self._written_generation:
            return self._last_asked.get(component.name, asked)
        return asked

    async def _pods(self) -> Mapping[str, list[Object]] | None:
        if not self._may_list_pods:
            return None
        found = self._started.found
        try:
            pods, _ = await self._api.list_all(PODS, found.namespace, labels=f"{DEPLOYMENT_LABEL}={found.name}")
        except ForbiddenError:
            self._may_list_pods = False
            log.warning(LIST_PODS.complaint)
            return None
        return by_component(pods)

    async def _steps(self, deployment: Deployment, decision: Decision) -> list[Step]:
        """What has to change, shrinking pools first."""
        roles, scaling = self._roles(deployment), self._started.scaling
        wanted = [(roles.prefill, decision.prefill), (roles.decode, decision.decode)]
        steps = [
            Step(component, await scaling.asked(component), replicas)
            for component, replicas in wanted
            if component is not None
        ]
        return sorted((step for step in steps if step.before != step.after), key=lambda step: step.grows)

    async def _notice(self, deployment: Deployment, replicas: Mapping[str, int]) -> None:
        """Say so if somebody else changed what this planner asked for; the next decision starts from there."""
        for name, asked in replicas.items():
            before = self._last_asked.get(name, asked)
            self._last_asked[name] = asked
            if before != asked and not self._standing_by:
                message = f"replicas of {name} went from {before} to {asked}, which this planner did not ask for"
                log.warning(message, deployment=deployment.name)
                await self._tell(deployment, "ReplicasEdited", message, warning=True)

    async def _ask_why_slow(
        self, deployment: Deployment, component: Component, workers: Workers | None, pods: list[Object]
    ) -> None:
        """Say why workers cannot start, once they take long."""
        if workers is None or not workers.pending:
            self._starting_since.pop(component.name, None)
            return
        since = self._starting_since.setdefault(component.name, self._now())
        reason = trouble(pods)
        if reason is None or self._now() - since < _SLOW_START_S or self._standing_by:
            return
        message = f"{workers.pending} workers of {component.name} do not start: {reason}"
        log.warning(message, deployment=deployment.name)
        await self._tell(deployment, "WorkersNotStarting", message, warning=True)

    @property
    def _standing_by(self) -> bool:
        """Whether another planner leads, and tells what there is to tell."""
        return self._fence is not None and self._fence.write_within_s <= 0

    async def _tell_half(self, deployment: Deployment, done: list[Step], step: Step, error: KubernetesError) -> None:
        if done:
            told = ", ".join(map(str, done))
            message = f"half applied: {told}, but not {step}: {error}. The next adjustment completes or corrects it"
            log.warning(message, deployment=deployment.name)
        else:
            message = f"not applied: {step}: {error}"
        await self._tell(deployment, "ScalingFailed", message, warning=True)

    async def _tell(self, deployment: Deployment, reason: str, message: str, *, warning: bool = False) -> None:
        events = self._started.events
        await events.tell(deployment.name, deployment.uid, reason=reason, message=message, warning=warning)
