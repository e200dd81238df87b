"""How far a request has come, as its status tells it, in whichever of the two shapes it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from connectors.kubernetes.api import Object

GENERATED = "nvidia.com/generated-dgd-spec"
"""Annotation with the generated deployment, where the status has no place for it."""

_LONGEST_MESSAGE = 4000


class State(StrEnum):
    """States of a request; the values are those of v1alpha1, but for ``DEPLOYED``, which is ``Ready`` there."""

    NEW = ""
    PENDING = "Pending"
    PROFILING = "Profiling"
    DEPLOYING = "Deploying"
    READY = "Ready"
    DEPLOYED = "Deployed"
    DELETED = "DeploymentDeleted"
    FAILED = "Failed"


class Phase(StrEnum):
    """Phases of profiling, as v1beta1 tells them."""

    BEGIN = "Initializing"
    PREFILL = "SweepingPrefill"
    DECODE = "SweepingDecode"
    SELECT = "SelectingConfig"
    CURVES = "BuildingCurves"
    GENERATE = "GeneratingDGD"
    DONE = "Done"


class Shape(StrEnum):
    """The two shapes of a request; the values are the API versions that they come with."""

    ALPHA = "v1alpha1"
    BETA = "v1beta1"


def shape_of(body: Object) -> Shape:
    """The shape of a request, told by what it has: without a conversion webhook, versions say nothing."""
    return Shape.ALPHA if "profilingConfig" in (body.get("spec") or {}) else Shape.BETA


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; ``since`` is when its status became what it is."""

    ok: bool | None
    reason: str
    message: str
    since: str

    @property
    def status(self) -> Literal["True", "False", "Unknown"]:
        """As conditions state it."""
        return "Unknown" if self.ok is None else "True" if self.ok else "False"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The deployment that a request led to.

    Attributes:
        name: Its name.
        namespace: Its namespace.
        state: What its status says.
        replicas: Replicas it asks for, all components together.
        available: Replicas that serve.
    """

    name: str
    namespace: str
    state: str = ""
    replicas: int = 0
    available: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The status of a request.

    Attributes:
        state: Where it is.
        observed: Generation of the specification that is worked on; None before it was looked at.
        conditions: Conditions by type.
        backend: The engine's software.
        results: Name of the ConfigMap with the result.
        generated: The generated deployment.
        deployment: What was deployed.
        job: Name of the profiling job.
        phase: Where profiling is.
    """

    state: State = State.NEW
    observed: int | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    backend: str = ""
    results: str = ""
    generated: Object | None = None
    deployment: Deployment | None = None
    job: str = ""
    phase: Phase | None = None

    def with_condition(self, kind: str, ok: bool | None, reason: str, message: str, now: str) -> Status:
        """The same with a condition set; its time changes with its status alone."""
        before = self.conditions.get(kind)
        since = before.since if before is not None and before.ok == ok else now
        condition = Condition(ok, reason, message[:_LONGEST_MESSAGE], since)
        return replace(self, conditions={**self.conditions, kind: condition})


def read_status(body: Object) -> Status:
    """The status of a request.

    Raises:
        ValueError: It says what no controller writes.
    """
    shape, status = shape_of(body), body.get("status") or {}
    try:
        common: dict[str, Any] = {
            "observed": status.get("observedGeneration"),
            "conditions": {str(one["type"]): _condition(one) for one in status.get("conditions") or ()},
        }
        read = _read_alpha if shape is Shape.ALPHA else _read_beta
        return Status(**common, **read(status, body["metadata"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"its status cannot be read: {error!r}") from error


def _condition(one: Object) -> Condition:
    ok = {"True": True, "False": False}.get(str(one.get("status")))
    return Condition(
        ok, str(one.get("reason") or ""), str(one.get("message") or ""), str(one.get("lastTransitionTime") or "")
    )


def _read_alpha(status: Object, _: Object) -> Mapping[str, Any]:
    state = State(status.get("state") or "")
    deployed = status.get("deployment") or {}
    deployment = None
    if deployed.get("created"):
        deployment = Deployment(
            name=deployed["name"], namespace=deployed["namespace"], state=str(deployed.get("state") or "")
        )
    return {
        "state": State.DEPLOYED if state is State.READY and deployment else state,
        "backend": str(status.get("backend") or ""),
        "results": str(status.get("profilingResults") or "").removeprefix("configmap/"),
        "generated": status.get("generatedDeployment"),
        "deployment": deployment,
    }


def _read_beta(status: Object, metadata: Object) -> Mapping[str, Any]:
    results = status.get("profilingResults") or {}
    generated = (metadata.get("annotations") or {}).get(GENERATED)
    info = status.get("deploymentInfo") or {}
    deployment = None
    # A name alone is told as soon as it is known; figures come with the deployment itself.
    if status.get("dgdName") and info:
        deployment = Deployment(
            name=status["dgdName"],
            namespace=str(metadata.get("namespace") or ""),
            replicas=int(info.get("replicas") or 0),
            available=int(info.get("availableReplicas") or 0),
        )
    phase = status.get("profilingPhase")
    return {
        "state": State(status.get("phase") or ""),
        "generated": json.loads(generated) if generated else None,
        "results": str(results.get("configMap") or ""),
        "deployment": deployment,
        "job": str(status.get("profilingJobName") or ""),
        "phase": Phase(phase) if phase else None,
    }


def written(status: Status, body: Object, now: str) -> Object:
    """What to store as the status of a request: fields that are not ours stay as they are.

    Args:
        status: What is to be said.
        body: The request with the status that it has.
        now: The time, as conditions state it.
    """
    shape, before = shape_of(body), body.get("status") or {}
    if shape is Shape.BETA:
        done = {State.READY: True, State.DEPLOYED: True, State.FAILED: False, State.DELETED: False}.get(status.state)
        told = status.with_condition("Succeeded", done, (status.state or State.PENDING).value, _summary(status), now)
    else:
        told = status
    ours = {
        "observedGeneration": told.observed,
        "conditions": [
            {
                "type": kind,
                "status": one.status,
                "reason": one.reason,
                "message": one.message,
                "lastTransitionTime": one.since,
                **({} if told.observed is None else {"observedGeneration": told.observed}),
            }
            for kind, one in told.conditions.items()
        ],
        **(_alpha(told) if shape is Shape.ALPHA else _beta(told)),
    }
    return {key: value for key, value in {**before, **ours}.items() if value not in (None, "", {}, [])}


def _alpha(status: Status) -> Object:
    deployment = status.deployment
    deployed = None
    if deployment is not None:
        deployed = {
            "name": deployment.name,
            "namespace": deployment.namespace,
            "state": deployment.state,
            "created": True,
        }
    return {
        "state": (State.READY if status.state is State.DEPLOYED else status.state).value,
        "backend": status.backend,
        "profilingResults": f"configmap/{status.results}" if status.results else "",
        "generatedDeployment": status.generated,
        "deployment": deployed,
    }


def _beta(status: Status) -> Object:
    deployment = None if status.state is State.DELETED else status.deployment
    selected = {"configMap": status.results, "selectedConfig": status.generated} if status.results else {}
    return {
        # There is no word for a deployment that was deleted.
        "phase": (State.FAILED if status.state is State.DELETED else status.state).value,
        "profilingPhase": status.phase.value if status.phase else "",
        "profilingJobName": status.job,
        "dgdName": deployment.name if deployment else "",
        "deploymentInfo": {"replicas": deployment.replicas, "availableReplicas": deployment.available}
        if deployment
        else None,
        "profilingResults": selected,
    }


def _summary(status: Status) -> str:
    """What decides about success, in a sentence: the condition that is last to be met."""
    for kind in ("DeploymentReady", "SpecGenerated", "Profiling", "Validation"):
        if (condition := status.conditions.get(kind)) is not None:
            return condition.message
    return ""
