"""Deployment for a request: what was generated is created, once, and followed from then on."""

from __future__ import annotations

from typing import Any

from connectors.kubernetes.api import KubernetesApi, Object
from connectors.kubernetes.deployment import Deployment as Graph
from connectors.kubernetes.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from connectors.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, Resource
from planner.dgdr.controller import issues
from planner.dgdr.controller.status import Deployment, State
from planner.dgdr.controller.ticket import Ticket
from planner.dgdr.issues import DeployingError
from planner.dgdr.ownership import NAME, NAMESPACE, Owner, labels_of
from planner.dgdr.request import Request
from planner.dgdr.result import MANIFESTS, Result, ResultError, ResultStore


class Deploying:
    """Takes requests from Deploying to Deployed, and sees what becomes of them."""

    def __init__(self, api: KubernetesApi, deployments: Resource) -> None:
        """Prepare.

        Args:
            api: The server.
            deployments: The kind in the newest version that is served.
        """
        self._api = api
        self._deployments = deployments

    async def follow(self, ticket: Ticket, request: Request) -> float | None:
        """Create what is to be there, or look what became of it."""
        deployment = ticket.status.deployment
        if deployment is None:
            return await self._create(ticket, request)
        try:
            found = await self._api.get(self._deployments, deployment.namespace, deployment.name)
        except NotFoundError:
            found = {}
        if not ticket.owner.named_on(found):
            await self._gone(ticket, deployment)
            return None
        await self._look(ticket, deployment.namespace, Graph.parse(found))
        return None

    async def _create(self, ticket: Ticket, request: Request) -> float | None:
        try:
            result = await self._result(ticket)
            namespace = str(result.dgd["metadata"].get("namespace") or request.namespace)
            for body in result.additional:
                await self._ensure(body, str(body["metadata"].get("namespace") or namespace), ticket)
            remark = await self._ensure_graph(result.dgd, namespace, ticket)
        except DeployingError as error:
            await ticket.fail("DeploymentReady", "DeploymentFailed", str(error))
            return None
        except (InvalidError, ForbiddenError, NotFoundError) as error:
            # A quota, a webhook, a right or a namespace may be mended while the request waits.
            await ticket.tell("DeploymentPostponed", f"not deployed, and tried again: {error}", warning=True)
            ticket.condition("DeploymentReady", False, "DeploymentPostponed", f"not deployed, and tried again: {error}")
            await ticket.save()
            raise
        name = str(result.dgd["metadata"]["name"])
        ticket.change(deployment=Deployment(name=name, namespace=namespace, state="pending"))
        ticket.condition("DeploymentReady", False, "DeploymentCreated", f"DynamoGraphDeployment {name} starts{remark}")
        await ticket.save()
        return 0.0

    async def _result(self, ticket: Ticket) -> Result:
        found = await ResultStore(self._api, ticket.owner).read()
        if MANIFESTS not in found:
            raise issues.RESULT_GONE.error(name=ticket.owner.results)
        try:
            return Result.parse(found[MANIFESTS])
        except ResultError as error:
            raise DeployingError(f"ConfigMap {ticket.owner.results}: {error}") from error

    async def _ensure(self, body: Object, namespace: str, ticket: Ticket) -> None:
        """Create a ConfigMap, or bring the one that an earlier request of this name left up to date."""
        name = body["metadata"]["name"]
        try:
            await self._api.create(CONFIG_MAPS, namespace, _labelled(body, namespace, ticket.owner))
        except ConflictError:
            found = await self._api.get(CONFIG_MAPS, namespace, name)
        else:
            return
        if not ticket.owner.named_on(found):
            raise issues.PROFILE_TAKEN.error(name=name, namespace=namespace, origin=_origin(found))
        if (found.get("data") or {}) != (body.get("data") or {}):
            await self._api.patch(CONFIG_MAPS, namespace, name, {"data": body.get("data")})

    async def _ensure_graph(self, body: Object, namespace: str, ticket: Ticket) -> str:
        """Create the deployment, or take the one that is there; what there is to say of that."""
        name, version = body["metadata"]["name"], str(body["apiVersion"]).rpartition("/")[2]
        try:
            await self._api.create(DEPLOYMENTS.at(version), namespace, _labelled(body, namespace, ticket.owner))
        except ConflictError:
            found = await self._api.get(DEPLOYMENTS.at(version), namespace, name)
        else:
            await ticket.tell("DeploymentCreated", f"DynamoGraphDeployment {name} is created in namespace {namespace}")
            return ""
        if not ticket.owner.named_on(found):
            raise issues.DEPLOYMENT_TAKEN.error(name=name, namespace=namespace, origin=_origin(found))
        if found["metadata"].get("deletionTimestamp"):
            raise ConflictError(f"DynamoGraphDeployment {name} of an earlier request is still being deleted")
        if _same(found.get("spec"), body.get("spec")):
            await ticket.tell("DeploymentCreated", f"DynamoGraphDeployment {name} is created in namespace {namespace}")
            return ""
        remark = (
            f"DynamoGraphDeployment {name} in namespace {namespace} is of an earlier request of this name and is left "
            f"as it is; to have what was generated, delete it and apply ConfigMap {ticket.owner.results}"
        )
        await ticket.tell("DeploymentAdopted", remark, warning=True)
        return f". {remark}"

    async def _gone(self, ticket: Ticket, deployment: Deployment) -> None:
        message = str(issues.DEPLOYMENT_DELETED.error(name=deployment.name, namespace=deployment.namespace))
        await ticket.tell("DeploymentDeleted", message, warning=True)
        ticket.condition("DeploymentReady", False, "DeploymentDeleted", message)
        ticket.change(state=State.DELETED)
        await ticket.save()

    @staticmethod
    async def _look(ticket: Ticket, namespace: str, graph: Graph) -> None:
        subject, why = f"DynamoGraphDeployment {graph.name}", graph.why or f"its state is {graph.state or 'unknown'}"
        before = ticket.status.conditions.get("DeploymentReady")
        if graph.serves:
            if before is None or not before.ok:
                await ticket.tell("DeploymentReady", f"{subject} is ready")
            ticket.condition("DeploymentReady", True, "DeploymentReady", f"{subject} is ready")
        elif ticket.status.state is State.DEPLOYED:
            await ticket.tell("DeploymentDegraded", f"{subject} is no longer ready: {why}", warning=True)
            ticket.condition("DeploymentReady", False, "DeploymentDegraded", f"{subject} is no longer ready: {why}")
        elif graph.state == "failed":
            await ticket.tell("DeploymentFailed", f"{subject} has failed: {why}", warning=True)
            ticket.condition("DeploymentReady", False, "DeploymentFailed", f"{subject} has failed: {why}")
        else:
            degraded = before is not None and before.reason == "DeploymentDegraded"
            reason, how = ("DeploymentDegraded", "no longer") if degraded else ("DeploymentCreated", "not yet")
            ticket.condition("DeploymentReady", False, reason, f"{subject} is {how} ready: {why}")
        components = graph.components.values()
        ticket.change(
            state=State.DEPLOYED if graph.serves else State.DEPLOYING,
            deployment=Deployment(
                name=graph.name,
                namespace=namespace,
                state=graph.state or "pending",
                replicas=sum(one.replicas for one in components),
                available=sum(one.serving or 0 for one in components),
            ),
        )
        await ticket.save()


def _labelled(body: Object, namespace: str, owner: Owner) -> Object:
    """An object as it is created: in its namespace, and marked; it outlives the request, so it has no owner."""
    metadata: dict[str, Any] = {**body["metadata"], "namespace": namespace}
    marks = {key: value for key, value in owner.labels.items() if key in {NAME, NAMESPACE}}
    metadata["labels"] = {**(metadata.get("labels") or {}), **marks}
    return {**body, "metadata": metadata}


def _same(found: Any, wanted: Any) -> bool:
    """Whether what was wanted is there; replicas, which a planner changes, and what the server added do not count."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key == "replicas" or _same(found.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_same, found, wanted))
    return bool(found == wanted)


def _origin(body: Object) -> str:
    labels = labels_of(body)
    if labels.get(NAME):
        return f"it is of request {labels.get(NAMESPACE)}/{labels[NAME]}"
    return "it has no labels of a request"
