"""Manifests for a request: a deployment with its planner, the profile it needs, and what was picked and why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from planner.dgdr import issues
from planner.dgdr.base import template
from planner.dgdr.choice import Choice, Picked
from planner.dgdr.engines import (
    backend_of,
    limit_flag,
    most_sequences,
    mount_cache,
    pretend,
    set_images,
    set_model,
    set_parallelism,
)
from planner.dgdr.estimating import (
    BACKENDS,
    EngineSource,
    Found,
    find_engines,
    least_workers,
)
from planner.dgdr.graph import Graph, Part
from planner.dgdr.issues import GenerationError
from planner.dgdr.ownership import NAME, NAMESPACE, label, shortened
from planner.dgdr.picking import budget_of, choice_of, pick
from planner.dgdr.planning import PLACEHOLDER, PROFILE_DIR, put_planner
from planner.dgdr.request import Backend, Request
from profiles import ProfileData, ProfileError
from profiles.making.progress import OnProgress, silent
from profiles.writing import CONFIG_MAP, config_map

__all__ = ["Choice", "Generated", "GenerationError", "from_profile", "offline"]

# Pods and services are named after the deployment and its components, within 63 characters.
_LONGEST_NAME = 40
# Engines whose command does not say run this many sequences at once, or more.
_USUAL_LIMIT = 256
# Kubernetes holds 256 KiB of annotations of an object; kubectl apply keeps a copy of the whole object in one.
_MOST_ANNOTATIONS = 250_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What is generated for a request.

    Attributes:
        dgd: The DynamoGraphDeployment.
        additional: What it needs beside it, to be created first: the ConfigMap with the profile.
        choice: What was picked, and why.
    """

    dgd: dict[str, Any]
    additional: tuple[dict[str, Any], ...]
    choice: Choice


async def offline(
    request: Request,
    *,
    base: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    planner_image: str | None = None,
    engines: EngineSource | None = None,
) -> Generated:
    """Generate manifests with engines that are estimated, off the event loop; it takes seconds of CPU time.

    Args:
        request: What is asked for.
        base: The deployment to build on; None for the template of the backend.
        on_progress: Told how far it is, from another thread.
        planner_image: Image of the planner; None for that of the base, or of the template.
        engines: Where engines of a backend come from; AI Configurator if left out.

    Raises:
        GenerationError: The GPUs are unknown, the model is not supported, the SLA cannot be met and the like.
        RequestError: The planner would not accept what it is told.
    """
    limit = None
    if base is not None:
        request, limit = _of_base(request, Graph(base))
    found = await asyncio.to_thread(find_engines, request, on_progress or silent, engines, max_num_seqs=limit)
    estimate = found.estimate
    # When it was made says nothing: the same request is to lead to the same manifests.
    data = replace(estimate.data, provenance=replace(estimate.data.provenance, created=None))
    return await asyncio.to_thread(_generate, request, data, base, planner_image, found)


async def from_profile(
    request: Request,
    profile: ProfileData,
    base: Mapping[str, Any] | None = None,
    *,
    planner_image: str | None = None,
) -> Generated:
    """Generate manifests with the engines of a profile.

    Args:
        request: What is asked for.
        profile: The profile.
        base: The deployment to build on; None for the template of the backend.
        planner_image: Image of the planner; None for that of the base, or of the template.

    Raises:
        GenerationError: The profile cannot be used, the SLA cannot be met and the like.
        RequestError: The planner would not accept what it is told.
    """
    return await asyncio.to_thread(_generate, request, profile, base, planner_image, None)


def _of_base(request: Request, graph: Graph) -> tuple[Request, int | None]:
    """A request with the backend of its base if it leaves that open, and how many sequences that one decodes at once.

    Raises:
        GenerationError: The base has no pools, or nothing says what they run.
    """
    _, decode = graph.workers("vllm" if request.backend == "auto" else request.backend)
    if request.backend == "auto":
        backend = backend_of(decode)
        if backend is None:
            raise issues.OTHER_BACKEND.error(what="the base deployment")
        request = replace(request, backend=cast(Backend, backend))
    return request, most_sequences(decode, request.backend)


def _generate(
    request: Request,
    data: ProfileData,
    base: Mapping[str, Any] | None,
    planner_image: str | None,
    found: Found | None,
) -> Generated:
    backend = found.backend if found else _backend(request, data)
    graph = Graph(template(backend, request.version)) if base is None else Graph(base)
    workers = graph.workers(backend)
    _refuse_other_backend(graph, workers, backend)
    picked = pick(request, data, workers)
    budget, notes = budget_of(request, picked)
    name = request.profile_config_map or CONFIG_MAP
    _put_workers(graph, request, backend, picked)
    limit = most_sequences(workers[1], backend)
    if not request.use_mocker and (picked[1].concurrency > (limit or _USUAL_LIMIT)):
        notes.append(
            f"a decode engine is reckoned with {picked[1].concurrency} sequences at once: see that it is allowed them, "
            f"{limit_flag(backend)} of {backend}"
        )
    told = _planner_settings(request, backend, budget, picked)
    image = put_planner(graph, request, told, image=planner_image or own_image(request), config_map=name)
    if image.startswith(PLACEHOLDER):
        notes.append(f"the planner's image {image} is a placeholder: name yours as the profiler image of the request")
    profile = _profile_map(request, data, name)
    if (size := len(json.dumps(profile))) > _MOST_ANNOTATIONS:
        notes.append(
            f"ConfigMap {name} has {size} bytes: apply it with kubectl apply --server-side, or use kubectl create"
        )
    choice = choice_of(request, data, backend, picked, found=found, notes=notes)
    if request.overrides.dgd:
        _overlay(graph, request, backend)
    _set_metadata(graph, request, choice, base)
    return Generated(dgd=graph.body, additional=(profile,), choice=choice)


def _planner_settings(request: Request, backend: str, budget: int, picked: tuple[Picked, Picked]) -> Mapping[str, str]:
    """What the planner is told of the SLA and of the engines, by field of its settings."""
    prefill, decode = picked
    return {
        "backend": backend,
        "ttft": f"{request.sla.ttft_ms:.12g}",
        "itl": f"{request.sla.itl_ms:.12g}",
        "isl": str(request.sla.isl),
        "osl": str(request.sla.osl),
        "max_gpu_budget": str(budget),
        "prefill_engine_num_gpu": str(prefill.parallelism.gpus),
        "decode_engine_num_gpu": str(decode.parallelism.gpus),
        "profile_results_dir": PROFILE_DIR,
    }


def _backend(request: Request, data: ProfileData) -> str:
    if request.backend != "auto":
        return request.backend
    told = (data.provenance.backend or "").lower()
    if told not in BACKENDS:
        raise issues.OTHER_BACKEND.error(what="the profile")
    return told


def _overlay(graph: Graph, request: Request, backend: str) -> None:
    """Lay what the request wants over a deployment, and see that it is one still.

    Raises:
        RequestError: It is not.
    """
    graph.overlay(request.overrides.dgd)
    try:
        Graph(graph.body, "it").workers(backend)
    except GenerationError as error:
        raise issues.BAD_OVERRIDE.error(complaint=error.cause) from error


def _refuse_other_backend(graph: Graph, workers: Sequence[Part], backend: str) -> None:
    """See that the base has workers of the backend that is asked for.

    Raises:
        GenerationError: It has others.
    """
    for part in workers:
        other = backend_of(part)
        if other not in {None, backend}:
            complaint = f"component {part.name} runs {other}, and the request asks for {backend}"
            raise issues.NO_BASE.error(origin=graph.origin, complaint=complaint)


def _put_workers(graph: Graph, request: Request, backend: str, picked: Sequence[Picked]) -> None:
    """Have the workers run what was picked."""
    workers = graph.workers(backend)
    set_images(graph, request.overrides, workers)
    cache = request.model_cache
    for part, one in zip(workers, picked, strict=True):
        part.spec["replicas"] = max(1, least_workers(request))
        if cache is not None:
            mount_cache(part, cache)
        if request.use_mocker:
            pretend(part, one.role, request.model, PROFILE_DIR, listed=graph.listed)
            volume = {"name": "profile", "configMap": {"name": request.profile_config_map or CONFIG_MAP}}
            part.mount(volume, PROFILE_DIR)
        else:
            set_model(part, backend, request.model, cache.path if cache else None)
            _spread(part, one.parallelism.gpus, request.hardware.gpus_per_node)
            set_parallelism(part, backend, one.parallelism)
    if request.kv_router:
        for part in graph.parts:
            if part.role == "frontend":
                part.set_environment("DYN_ROUTER_MODE", "kv")


def _spread(part: Part, gpus: int, of_a_node: int | None) -> None:
    """Spread an engine over nodes where it is larger than one and the base does not say how."""
    if of_a_node and gpus > of_a_node and part.nodes == 1:
        part.spec["multinode"] = {"nodeCount": -(-gpus // of_a_node)}


def own_image(request: Request) -> str | None:
    """The profiler image, which is the planner's too, unless it is one of Dynamo's."""
    image = request.profiler_image
    return None if image is None or "/ai-dynamo/" in image else image


def _set_metadata(graph: Graph, request: Request, choice: Choice, base: Mapping[str, Any] | None) -> None:
    """Name, labels and annotations of the deployment.

    Raises:
        GenerationError: The annotations are too large.
    """
    before = dict(graph.body.get("metadata") or {})
    named = before.get("name") if base is not None else None
    name = request.overrides.name or named or f"{shortened(request.name, _LONGEST_NAME)}-dgd"
    annotations = {
        **(before.get("annotations") or {}),
        **request.overrides.annotations,
        **choice.annotations(),
    }
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _MOST_ANNOTATIONS:
        raise issues.ANNOTATIONS_TOO_LARGE.error(size=size)
    labels = {
        **(before.get("labels") or {}),
        **request.overrides.labels,
        **_labels(request),
    }
    where = {"namespace": request.deployment_namespace} if request.deployment_namespace else {}
    spec = graph.body.pop("spec")
    graph.body = {
        "apiVersion": f"nvidia.com/{'v1beta1' if isinstance(spec.get('components'), list) else 'v1alpha1'}",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name, **where, "labels": labels, "annotations": annotations},
        "spec": spec,
    }


def _labels(request: Request) -> dict[str, str]:
    """Labels of whatever the request leads to; without its namespace where that is not known yet."""
    where = {NAMESPACE: label(request.namespace)} if request.namespace else {}
    return {NAME: label(request.name), **where, "nvidia.com/managed-by": "sla-planner"}


def _profile_map(request: Request, data: ProfileData, name: str) -> dict[str, Any]:
    try:
        manifest = config_map(data, name, request.deployment_namespace or None)
    except ProfileError as error:
        raise issues.TOO_LARGE.error(complaint=error) from error
    manifest["metadata"]["labels"] = _labels(request)
    return manifest
