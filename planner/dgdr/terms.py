"""What a request asks for, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_KEY = "disagg.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sla:
    """What is to be met: latencies (ms) at lengths (tokens)."""

    isl: int
    osl: int
    ttft_ms: float
    itl_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """How engines are looked for.

    Attributes:
        use_ai_configurator: Whether they are estimated rather than measured.
        system: The GPUs, as the request calls them.
        hf_id: Hugging Face name of the model to estimate, if the model is called otherwise.
        backend_version: Version of the backend whose data is used; None for the current one.
    """

    use_ai_configurator: bool
    system: str | None = None
    hf_id: str | None = None
    backend_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Which GPUs there are; None is unknown.

    Attributes:
        total_gpus: All that the deployment may use.
        gpus_per_node: Those of one node.
        least_per_engine: Fewest that an engine may have.
        most_per_engine: Most that an engine may have.
    """

    total_gpus: int | None = None
    gpus_per_node: int | None = None
    least_per_engine: int | None = None
    most_per_engine: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapRef:
    """A key of a ConfigMap in the namespace of the request."""

    name: str
    key: str = DEFAULT_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCache:
    """A volume that has the model.

    Attributes:
        claim: The PersistentVolumeClaim.
        model_path: Where the model is on it; empty for its root, None if it is only a cache of downloads.
        mount_path: Where it is mounted.
    """

    claim: str
    model_path: str | None
    mount_path: str

    @property
    def path(self) -> str | None:
        """Where containers find the model; None if it is only a cache of downloads."""
        return None if self.model_path is None else f"{self.mount_path}/{self.model_path.strip('/')}".rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the deployment is to have whatever is generated.

    Attributes:
        name: Its name.
        namespace: Its namespace.
        labels: Labels beside those it gets anyway.
        annotations: Annotations likewise.
        workers_image: Image of its workers.
        runtime_version: Version of Dynamo's images, if they are not named.
        dgd: A part of a deployment that is laid over it.
    """

    name: str | None = None
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    workers_image: str | None = None
    runtime_version: str | None = None
    dgd: Mapping[str, Any] = field(default_factory=dict)
