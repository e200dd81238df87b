"""A DynamoGraphDeploymentRequest, whichever of its two versions it is written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from planner.dgdr import issues
from planner.dgdr.options import PlannerOptions
from planner.dgdr.section import Section, check_names
from planner.dgdr.terms import ConfigMapRef, Hardware, ModelCache, Overrides, Sla, Sweep
from planner.dgdr.versions import ALPHA_FIELDS, BETA_FIELDS, read_alpha, read_beta

KIND = "DynamoGraphDeploymentRequest"
PROFILE_CONFIG_MAP = "planner.dynamo/profile-config-map"
"""Annotation of a request that names the ConfigMap with the profile, where two deployments share a namespace."""

Backend = Literal["auto", "vllm", "sglang", "trtllm"]
Version = Literal["v1alpha1", "v1beta1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        name: Name of the request.
        namespace: Its namespace; empty if it does not say, which it does in a cluster.
        uid: Its identity; empty outside a cluster.
        generation: Counts the changes of its specification; 0 outside a cluster.
        version: The version whose fields it has, and whose deployment is generated.
        model: The model to serve.
        backend: The engine's software; ``auto`` to choose it too.
        sla: What is to be met.
        sweep: How engines are looked for.
        hardware: Which GPUs there are.
        planner: What it tells the planner.
        profiler_image: Image of the profiling job.
        config_map_ref: Where the deployment to build on is; None for the template of the backend.
        output_pvc: Claim that keeps plots, data and logs of profiling.
        resources: Resources of the profiling job.
        tolerations: Its tolerations.
        overrides: What the deployment is to have anyway.
        model_cache: A volume that has the model.
        kv_router: Whether the frontend routes by what caches hold.
        auto_apply: Whether the deployment is created too.
        use_mocker: Whether its workers only pretend.
        online: Whether real engines have to be measured by a job.
        profile_config_map: Name of the ConfigMap that the profile goes to; None for the usual one.
        notes: What is worth knowing about it, a sentence each.
    """

    name: str
    namespace: str
    uid: str
    generation: int
    version: Version
    model: str
    backend: Backend
    sla: Sla
    sweep: Sweep
    hardware: Hardware = field(default_factory=Hardware)
    planner: PlannerOptions = field(default_factory=lambda: PlannerOptions(values={}))
    profiler_image: str | None = None
    config_map_ref: ConfigMapRef | None = None
    output_pvc: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    overrides: Overrides = field(default_factory=Overrides)
    model_cache: ModelCache | None = None
    kv_router: bool = False
    auto_apply: bool = False
    use_mocker: bool = False
    online: bool = False
    profile_config_map: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, manifest: Mapping[str, Any], origin: str = "the manifest") -> Self:
        """Read a request of either version, told apart by its fields rather than by the version it claims.

        Args:
            manifest: The object.
            origin: Where it was found, for messages.

        Raises:
            RequestError: It is none, or says something wrong or not enough.
        """
        if not isinstance(manifest, Mapping) or manifest.get("kind") != KIND:
            raise issues.NO_REQUEST.error(origin=origin, found=_found_instead(manifest))
        version = _version(manifest)
        spec = Section(manifest.get("spec"), "spec")
        shape, notes = _shape(spec, version)
        metadata = _Metadata.read(manifest)
        read = read_alpha if shape == "v1alpha1" else read_beta
        return cls(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            generation=metadata.generation,
            version=shape,
            profile_config_map=metadata.profile_config_map,
            **read(spec, notes),
        )

    @property
    def unknown_planner_options(self) -> tuple[str, ...]:
        """Paths of what it tells the planner and the planner does not know."""
        return self.planner.unknown

    @property
    def deployment_namespace(self) -> str:
        """Namespace of the deployment to generate; empty if nothing says so."""
        return self.overrides.namespace or self.namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    name: str
    namespace: str
    uid: str
    generation: int
    profile_config_map: str | None

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> Self:
        metadata = Section(manifest.get("metadata"), "metadata")
        name = metadata.needed_text("name", "a name such as qwen3-32b")
        annotations = metadata.texts("annotations")
        named = {"metadata.name": name, "metadata.namespace": metadata.text("namespace")}
        named[f"metadata.annotations.{PROFILE_CONFIG_MAP}"] = annotations.get(PROFILE_CONFIG_MAP)
        check_names(named)
        return cls(
            name=name,
            namespace=metadata.text("namespace") or "",
            uid=str(metadata.raw("uid") or ""),
            generation=metadata.whole("generation", "changes") or 0,
            profile_config_map=annotations.get(PROFILE_CONFIG_MAP),
        )


def _found_instead(manifest: Any) -> str:
    if not isinstance(manifest, Mapping):
        return f"it is a {type(manifest).__name__}, not a mapping"
    return f"its kind is {manifest['kind']}" if manifest.get("kind") else "it has no kind"


def _version(manifest: Mapping[str, Any]) -> Version:
    group, _, version = str(manifest.get("apiVersion") or "").partition("/")
    match (group, version):
        case ("nvidia.com", "v1alpha1"):
            return "v1alpha1"
        case ("nvidia.com", "v1beta1"):
            return "v1beta1"
    raise issues.UNKNOWN_VERSION.error(version=str(manifest.get("apiVersion") or ""))


def _shape(spec: Section, version: Version) -> tuple[Version, list[str]]:
    """The version whose fields a specification has; the one it claims is wrong where a server does not convert."""
    alpha, beta = _there(spec, ALPHA_FIELDS), _there(spec, BETA_FIELDS)
    if alpha and beta:
        raise issues.MIXED_SHAPES.error(alpha=", ".join(alpha), beta=", ".join(beta))
    shape: Version = "v1alpha1" if alpha else "v1beta1" if beta else version
    if shape == version:
        return shape, []
    return shape, [f"it claims to be {version} and has the fields of {shape}, which is what is generated"]


def _there(spec: Section, fields: Sequence[str]) -> list[str]:
    # What is false may be filled in by a server that stores the other version.
    return [spec.at(field).removeprefix("spec.") for field in fields if field in spec and spec.raw(field) is not False]
