"""Whether a deployment has the structure of one, as far as it is read and changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value: what it should be, in words, and whether it is."""

    words: str
    fits: Callable[[Any], bool]


Shape = Mapping[str, Any] | list[Any] | _Leaf


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, str) for item in value.items() for one in item)


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str | int | float) for one in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_amounts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        str(amount).isdecimal() for key, amount in value.items() if str(key) == "gpu" or str(key).endswith("/gpu")
    )


_TEXT = _Leaf("a text", lambda value: isinstance(value, str))
_TEXTS = _Leaf("a mapping of texts", _are_texts)
_WORDS = _Leaf("a list of words", _are_words)
_OBJECTS = _Leaf("a list of mappings", _are_objects)
_NODES = _Leaf("a whole number above 0", _is_count)
_COUNTS = _Leaf("a mapping of amounts, whole numbers where they are of GPUs", _are_amounts)

_RESOURCES: Shape = {"limits": _COUNTS, "requests": _COUNTS}
_CONTAINER: Shape = {
    "name": _TEXT,
    "image": _TEXT,
    "command": _WORDS,
    "args": _WORDS,
    "env": _OBJECTS,
    "volumeMounts": _OBJECTS,
    "resources": _RESOURCES,
}
_COMPONENT: Mapping[str, Shape] = {"multinode": {"nodeCount": _NODES}, "resources": _RESOURCES, "envs": _OBJECTS}
_SERVICE: Shape = {
    **_COMPONENT,
    "componentType": _TEXT,
    "subComponentType": _TEXT,
    "extraPodSpec": {"volumes": _OBJECTS, "mainContainer": _CONTAINER},
}
_LISTED: Shape = {
    **_COMPONENT,
    "name": _TEXT,
    "type": _TEXT,
    "podTemplate": {"spec": {"volumes": _OBJECTS, "containers": [_CONTAINER]}},
}
_METADATA: Shape = {"name": _TEXT, "labels": _TEXTS, "annotations": _TEXTS}


def complaints(body: Mapping[str, Any]) -> Iterator[str]:
    """What in a deployment is not as it should be, a sentence each.

    Args:
        body: The object.
    """
    yield from _of(body.get("metadata"), _METADATA, "metadata")
    spec = body.get("spec")
    if not isinstance(spec, Mapping):
        yield "it has no spec"
        return
    services, components = spec.get("services"), spec.get("components")
    if services is not None and components is not None:
        yield "it has both a map of services and a list of components"
    elif isinstance(services, Mapping) and services:
        for name, one in services.items():
            yield from _of(one, _SERVICE, f"spec.services.{name}")
    elif isinstance(components, list) and components:
        yield from _of(components, [_LISTED], "spec.components")
        yield from (
            f"spec.components[{index}] has no name"
            for index, one in enumerate(components)
            if not (isinstance(one, Mapping) and one.get("name"))
        )
    else:
        yield "its spec has neither a map of services nor a list of components"


def _of(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if value is None:
        return
    if isinstance(shape, _Leaf):
        if not shape.fits(value):
            yield f"{path} is not {shape.words}"
    elif isinstance(shape, list):
        if not _OBJECTS.fits(value):
            yield f"{path} is not {_OBJECTS.words}"
            return
        for index, one in enumerate(value):
            yield from _of(one, shape[0], f"{path}[{index}]")
    elif not isinstance(value, Mapping):
        yield f"{path} is not a mapping"
    else:
        for key, inner in shape.items():
            yield from _of(value.get(key), inner, f"{path}.{key}")
