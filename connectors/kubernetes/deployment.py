"""A DynamoGraphDeployment as the planner sees it, whichever of its two shapes it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from connectors.kubernetes.api import Object

# The operator's webhook fills in one replica where none is written.
_DEFAULT_REPLICAS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One component of a deployment.

    Attributes:
        name: Its name.
        role: ``prefill``, ``decode``, ``worker`` (either or both), ``frontend``, ``planner`` and the like; empty if
            the deployment does not say.
        replicas: Replicas that the deployment asks for.
        index: Its place in a list of components; None in a map of services.
        command: Command and arguments of its main container, as written.
        gpus: GPUs of one replica, all nodes of it together; None if they are not stated.
        nodes: Pods that make up one replica.
        serving: Replicas that serve; None if the status does not say.
        served_model: Model that the status names.
    """

    name: str
    role: str
    replicas: int
    index: int | None
    command: tuple[str, ...]
    gpus: int | None
    nodes: int
    serving: int | None
    served_model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A DynamoGraphDeployment.

    Attributes:
        name: Its name.
        uid: Its identity over time.
        components: Its components by name.
        generation: Counts the changes of its specification.
        observed: The generation that its status speaks of; None if that says none.
        rollout: Phase of its rolling update; empty if there is none.
        ready: Whether the operator finds it ready; None if it does not say.
        state: State that the operator sums it up by; empty if it does not say.
        why: Why it is ready or not, in the operator's words.
    """

    name: str
    uid: str
    components: Mapping[str, Component]
    generation: int
    observed: int | None
    rollout: str
    ready: bool | None
    state: str = ""
    why: str = ""

    @classmethod
    def parse(cls, body: Object) -> Self:
        """Read an object of either shape, told apart by what it has rather than by the version it claims.

        Raises:
            ValueError: It has neither services nor components, or they are no such thing.
        """
        metadata, spec, status = (body.get(part) or {} for part in ("metadata", "spec", "status"))
        generation, observed = int(metadata.get("generation") or 0), status.get("observedGeneration")
        current = observed is None or int(observed) >= generation
        states = status.get("components") or status.get("services") or {}
        try:
            written = _written(spec)
            found = [_component(name, index, one, states.get(name) or {}, current) for name, index, one in written]
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            name = metadata.get("name")
            raise ValueError(f"DynamoGraphDeployment {name} cannot be read: {error!r}") from error
        ready = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), None)
        return cls(
            name=str(metadata["name"]),
            uid=str(metadata.get("uid") or ""),
            components={component.name: component for component in found},
            generation=generation,
            observed=None if observed is None else int(observed),
            rollout=str((status.get("rollingUpdate") or {}).get("phase") or ""),
            ready=None if ready is None else ready.get("status") == "True",
            state=str(status.get("state") or ""),
            why=": ".join(str(text) for key in ("reason", "message") if (text := (ready or {}).get(key))),
        )

    @property
    def serves(self) -> bool:
        """Whether all of it is ready, as it is specified now; older operators say so in the state alone."""
        current = self.observed is None or self.observed >= self.generation
        return current and (self.state == "successful" if self.ready is None else self.ready)

    @property
    def rolling(self) -> bool:
        """Whether a rolling update is under way."""
        return self.rollout in {"Pending", "InProgress"}

    def listing(self) -> str:
        """Its components with their roles, for messages."""
        return ", ".join(f"{one.name} ({one.role or 'no role'})" for one in self.components.values()) or "none"

    @staticmethod
    def replicas_patch(component: Component, replicas: int) -> Object | list[Object]:
        """What to patch a deployment with; for a list it is refused if another component has taken the place."""
        if component.index is None:
            return {"spec": {"services": {component.name: {"replicas": replicas}}}}
        place = f"/spec/components/{component.index}"
        return [
            {"op": "test", "path": f"{place}/name", "value": component.name},
            {"op": "add", "path": f"{place}/replicas", "value": replicas},
        ]


def _written(spec: Object) -> Sequence[tuple[str, int | None, Object]]:
    """Name, place in a list, and specification of every component."""
    if isinstance(spec.get("services"), dict):
        return [(str(name), None, one or {}) for name, one in spec["services"].items()]
    if isinstance(spec.get("components"), list):
        return [(str(one["name"]), index, one) for index, one in enumerate(spec["components"])]
    raise ValueError("its spec has neither a map of services nor a list of components")


def _component(name: str, index: int | None, spec: Object, status: Object, current: bool) -> Component:
    nodes = int((spec.get("multinode") or {}).get("nodeCount") or 1)
    replicas = spec.get("replicas")
    serving = status.get("availableReplicas", status.get("readyReplicas"))
    return Component(
        name=name,
        role=_role(spec),
        replicas=_DEFAULT_REPLICAS if replicas is None else int(replicas),
        index=index,
        command=_command(spec),
        gpus=_gpus(spec, status if current else {}, nodes),
        nodes=nodes,
        serving=None if serving is None else int(serving),
        served_model=status.get("servedModelName") or None,
    )


def _role(spec: Object) -> str:
    if "type" in spec:
        return str(spec["type"] or "")
    return str(spec.get("subComponentType") or spec.get("componentType") or "")


def _main_container(spec: Object) -> Object:
    containers = (((spec.get("podTemplate") or {}).get("spec") or {}).get("containers")) or []
    named = next((one for one in containers if one.get("name") == "main"), containers[0] if containers else None)
    return named or (spec.get("extraPodSpec") or {}).get("mainContainer") or {}


def _command(spec: Object) -> tuple[str, ...]:
    container = _main_container(spec)
    return tuple(str(word) for part in ("command", "args") for word in container.get(part) or ())


def _gpus(spec: Object, status: Object, nodes: int) -> int | None:
    """GPUs of a replica: as the operator counted them, else those of a node times the nodes; none stated is None."""
    if status.get("gpusPerReplica"):
        return int(status["gpusPerReplica"])
    for resources in (spec.get("resources") or {}, _main_container(spec).get("resources") or {}):
        for kind in ("limits", "requests"):
            for key, value in (resources.get(kind) or {}).items():
                if key == "gpu" or str(key).endswith("/gpu"):
                    return _whole(value) * nodes or None
    return None


def _whole(value: Any) -> int:
    return int(str(value))
