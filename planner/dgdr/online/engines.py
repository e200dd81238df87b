"""The deployment to measure: what the request would be given, with one worker of each kind and no planner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.kubernetes.deployment import Deployment
from planner.dgdr.base import template
from planner.dgdr.engines import Parallelism, mount_cache, set_images, set_model, set_parallelism
from planner.dgdr.graph import Graph
from planner.dgdr.request import Request
from profiles.provenance import Engine


def deployment_to_measure(request: Request, base: Mapping[str, Any] | None, gpus: int | None) -> dict[str, Any]:
    """The deployment whose engines are measured.

    Args:
        request: The request.
        base: The deployment that it builds on; None for the template of its backend.
        gpus: GPUs of an engine, all of them for tensor parallelism; None for engines as the base has them.

    Raises:
        GenerationError: It cannot be built.
    """
    graph = Graph(base or template(request.backend, request.version))
    graph.overlay(request.overrides.dgd)
    _drop(graph, {part.name for part in graph.parts if part.role == "planner"})
    cache, workers = request.model_cache, graph.workers(request.backend)
    set_images(graph, request.overrides, workers)
    for part in workers:
        set_model(part, request.backend, request.model, cache.path if cache else None)
        if gpus is not None:
            set_parallelism(part, request.backend, Parallelism(tp=gpus, gpus=gpus))
        if cache is not None:
            mount_cache(part, cache)
        part.spec["replicas"] = 1
        # Nobody scales it; with an adapter, the operator would.
        part.spec.pop("scalingAdapter", None)
    return graph.body


def engines_of(body: Mapping[str, Any], backend: str) -> tuple[Engine, Engine]:
    """The prefill and the decode engine of a deployment, as far as it tells."""
    graph = Graph(body)
    named = {"metadata": {"name": "trial"}, **body}
    components = Deployment.parse({**named, "metadata": {"name": "trial"}}).components
    found = []
    for part in graph.workers(backend):
        gpus = components[part.name].gpus
        found.append(Engine(gpus=gpus or None, tp=gpus or None))
    return found[0], found[1]


def _drop(graph: Graph, names: set[str]) -> None:
    """Take components away."""
    components = graph.spec.get("components")
    if components:
        graph.spec["components"] = [one for one in components if one.get("name") not in names]
    else:
        graph.spec["services"] = {name: one for name, one in graph.spec["services"].items() if name not in names}
