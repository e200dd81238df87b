"""A DynamoGraphDeployment of either shape, as something to change."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.base import ConnectorError
from connectors.kubernetes.deployment import Deployment
from connectors.kubernetes.roles import find_roles
from planner.dgdr import issues, words
from planner.dgdr.structure import complaints

Object = dict[str, Any]


class Part:
    """One component.

    Attributes:
        name: Its name.
        spec: Its specification, changed in place.
    """

    def __init__(self, name: str, spec: Object, *, listed: bool) -> None:
        self.name = name
        self.spec = spec
        self._listed = listed

    @property
    def role(self) -> str:
        """Its type, such as ``frontend``; ``prefill`` or ``decode`` for workers that say so."""
        if self._listed:
            return str(self.spec.get("type") or "")
        return str(self.spec.get("subComponentType") or self.spec.get("componentType") or "")

    @property
    def pod(self) -> Object:
        """Specification of its pod."""
        if self._listed:
            return _below(_below(self.spec, "podTemplate"), "spec")
        return _below(self.spec, "extraPodSpec")

    @property
    def container(self) -> Object:
        """Its main container."""
        if not self._listed:
            return _below(self.pod, "mainContainer")
        containers = self.pod.setdefault("containers", [])
        if not containers:
            containers.append({"name": "main"})
        main = next((one for one in containers if one.get("name") == "main"), containers[0])
        return dict_of(main)

    @property
    def words(self) -> list[str]:
        """Its command line."""
        return [str(word) for part in ("command", "args") for word in self.container.get(part) or ()]

    @property
    def image(self) -> str | None:
        """Image of its main container; None if it is not named."""
        return self.container.get("image")

    @image.setter
    def image(self, image: str) -> None:
        self.container["image"] = image

    @property
    def nodes(self) -> int:
        """Pods that make up one replica."""
        return int((self.spec.get("multinode") or {}).get("nodeCount") or 1)

    @property
    def gpus(self) -> int | None:
        """GPUs of one replica, all its nodes together; None if it does not say."""
        for place in (self.spec, self.container):
            for counts in _amounts(place):
                for key in counts:
                    if _counts_gpus(key):
                        return int(str(counts[key])) * self.nodes or None
        return None

    def set_flag(self, names: Sequence[str], value: str) -> None:
        """Give a flag a value: in place under any of its names, else appended under the first."""
        self._refuse_scripts()
        for part in ("command", "args"):
            found = [str(word) for word in self.container.get(part) or ()]
            if words.set_value(found, names, value):
                self.container[part] = found
                return
        self.container["args"] = [*(str(word) for word in self.container.get("args") or ()), names[0], value]

    def set_switch(self, name: str, *, on: bool) -> None:
        """Give a flag without a value, or take it away."""
        self._refuse_scripts()
        if on and name not in self.words:
            self.container["args"] = [*(str(word) for word in self.container.get("args") or ()), name]
        elif not on:
            self.drop_flags([name])

    def drop_flags(self, names: Sequence[str]) -> None:
        """Take flags away."""
        for part in ("command", "args"):
            if part in self.container:
                found = [str(word) for word in self.container[part] or ()]
                words.drop(found, names)
                self.container[part] = found

    def _refuse_scripts(self) -> None:
        if any("dynamo." in word and " " in word.strip() for word in self.words):
            raise issues.SHELL_SCRIPT.error(name=self.name)

    def set_gpus(self, gpus: int) -> None:
        """Give a replica so many GPUs, spread evenly over its nodes; with 0 it asks for none."""
        if gpus % self.nodes:
            raise issues.BASE_TOO_SMALL.error(name=self.name, nodes=self.nodes, gpus=gpus)
        here = self.container if self._listed else self.spec
        asked = False
        for place in (self.spec, self.container):
            for counts in _amounts(place):
                for key in [key for key in counts if _counts_gpus(key)]:
                    asked = True
                    counts[key] = str(gpus // self.nodes)
                    if not gpus:
                        del counts[key]
        if gpus and not asked:
            key = "nvidia.com/gpu" if self._listed else "gpu"
            _below(_below(here, "resources"), "limits")[key] = str(gpus // self.nodes)
        if not gpus:
            _prune(self.spec)
            _prune(self.container)

    def set_environment(self, name: str, value: str) -> None:
        """Set an environment variable."""
        place, key = (self.container, "env") if self._listed else (self.spec, "envs")
        place[key] = [*(one for one in place.get(key) or () if one.get("name") != name), {"name": name, "value": value}]

    def mount(self, volume: Object, path: str, *, read_only: bool = True) -> None:
        """Mount a volume."""
        name = volume["name"]
        self.pod["volumes"] = [*(one for one in self.pod.get("volumes") or () if one.get("name") != name), volume]
        mounts = [one for one in self.container.get("volumeMounts") or () if one.get("mountPath") != path]
        entry = {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
        self.container["volumeMounts"] = [*mounts, entry]


class Graph:
    """A deployment.

    Attributes:
        body: The object, changed in place; whatever it was made of stays as it was.
        origin: Where it comes from, for messages.
    """

    def __init__(self, body: Mapping[str, Any], origin: str = "the base deployment") -> None:
        """Copy a deployment.

        Raises:
            GenerationError: It is none.
        """
        self.body: Object = copy.deepcopy(dict(body))
        self.origin = origin
        if complaint := next(complaints(self.body), None):
            raise issues.NO_BASE.error(origin=origin, complaint=complaint)
        if not self.listed:
            self.spec["services"] = {str(name): one or {} for name, one in self.spec["services"].items()}

    @staticmethod
    def _components(spec: Object) -> Any:
        return spec.get("services") or spec.get("components")

    @property
    def spec(self) -> Object:
        """Its specification."""
        return dict_of(self.body["spec"])

    @property
    def listed(self) -> bool:
        """Whether it has a list of components rather than a map of services."""
        return isinstance(self._components(self.spec), list)

    @property
    def version(self) -> str:
        """The API version of its shape."""
        return "v1beta1" if self.listed else "v1alpha1"

    @property
    def parts(self) -> list[Part]:
        """Its components."""
        found = self._components(self.spec)
        if isinstance(found, list):
            return [Part(str(one.get("name")), one, listed=True) for one in found]
        return [Part(name, dict_of(one), listed=False) for name, one in found.items()]

    def workers(self, backend: str) -> tuple[Part, Part]:
        """The prefill and the decode workers.

        Raises:
            GenerationError: There are none, or several.
        """
        try:
            metadata = {"name": "base", **(self.body.get("metadata") or {})}
            deployment = Deployment.parse({**self.body, "metadata": metadata, "status": {}})
            roles = find_roles(deployment, backend=backend, aggregated=False)
        except (ConnectorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise issues.NO_BASE.error(origin=self.origin, complaint=error) from error
        named = {part.name: part for part in self.parts}
        assert roles.prefill is not None  # noqa: S101 - not aggregated, so there is one
        return named[roles.prefill.name], named[roles.decode.name]

    def put(self, name: str, spec: Object) -> Part:
        """Add a component, or replace the one of that name."""
        found = self._components(self.spec)
        if isinstance(found, dict):
            found[name] = spec
            return Part(name, spec, listed=False)
        places = [index for index, one in enumerate(found) if one.get("name") == name]
        entry = {"name": name, **{key: value for key, value in spec.items() if key != "name"}}
        if places:
            found[places[0]] = entry
        else:
            found.append(entry)
        return Part(name, entry, listed=True)

    def overlay(self, partial: Mapping[str, Any]) -> None:
        """Lay a part of a deployment over it: mappings are merged, components by name, all else is replaced."""
        self.body = dict_of(_merged(self.body, partial))


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, Mapping):
        merged = {**below, **{key: _merged(below.get(key), value) for key, value in above.items() if value is not None}}
        return {key: value for key, value in merged.items() if key not in above or above[key] is not None}
    if _named(below) and _named(above):
        over = {one["name"]: one for one in above}
        kept = [_merged(one, over.pop(one["name"], {})) for one in below]
        return [*kept, *over.values()]
    return copy.deepcopy(above)


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "name" in one for one in value)


def dict_of(value: Any) -> Object:
    """A mapping of a manifest, as it is."""
    assert isinstance(value, dict)  # noqa: S101 - manifests are checked before they are changed
    return value


def _amounts(place: Object) -> list[Object]:
    """What the resources of a component or container limit and request."""
    resources = place.get("resources") or {}
    return [resources[kind] for kind in ("limits", "requests") if resources.get(kind)]


def _counts_gpus(key: Any) -> bool:
    return key == "gpu" or str(key).endswith("/gpu")


def _below(parent: Object, key: str) -> Object:
    """The mapping below a key, made if need be."""
    if not parent.get(key):
        parent[key] = {}
    return dict_of(parent[key])


def _prune(place: Object) -> None:
    """Take resources away that say nothing any more."""
    resources = place.get("resources")
    if isinstance(resources, dict):
        place["resources"] = {kind: counts for kind, counts in resources.items() if counts}
        if not place["resources"]:
            del place["resources"]
