"""What can go wrong with a request: cause and mend of each in one place, for errors, statuses and the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class DgdrError(ValueError):
    """A request that leads to no deployment.

    Attributes:
        cause: What is wrong.
        mend: What to do about it; empty if the cause says so itself.
    """

    def __init__(self, cause: str, mend: str = "") -> None:
        super().__init__(f"{cause}: {mend}" if mend else cause)
        self.cause = cause
        self.mend = mend


class RequestError(DgdrError):
    """A request that says something wrong, or not enough."""


class GenerationError(DgdrError):
    """A request that no deployment can be generated for."""


class ProfilingError(DgdrError):
    """A request whose profiling in a cluster failed."""


class DeployingError(DgdrError):
    """A request whose deployment cannot be had."""


@dataclass(frozen=True, slots=True)
class Issue:
    """A kind of trouble.

    Attributes:
        kind: The error it is raised as.
        cause: What is wrong; names in braces are filled in.
        mend: What to do about it, likewise.
        example: Values as they may be, for the documentation.
    """

    kind: type[DgdrError]
    cause: str
    mend: str
    example: Mapping[str, Any] = field(default_factory=dict)

    def error(self, **values: Any) -> DgdrError:
        """The error, with the values filled in."""
        return self.kind(self.cause.format(**values), self.mend.format(**values))

    def row(self) -> tuple[str, str]:
        """Cause and mend of the example, as the documentation shows them."""
        return self.cause.format(**self.example), self.mend.format(**self.example)


NO_REQUEST = Issue(
    RequestError,
    "{origin} is no DynamoGraphDeploymentRequest: {found}",
    "give a manifest with kind: DynamoGraphDeploymentRequest",
    {"origin": "dgd.yaml", "found": "its kind is DynamoGraphDeployment"},
)
UNKNOWN_VERSION = Issue(
    RequestError,
    "apiVersion {version!r} is not supported",
    "use nvidia.com/v1alpha1 or nvidia.com/v1beta1",
    {"version": "nvidia.com/v1beta2"},
)
MIXED_SHAPES = Issue(
    RequestError,
    "the request has fields of v1alpha1 ({alpha}) and of v1beta1 ({beta})",
    "keep to the fields of one version",
    {"alpha": "profilingConfig", "beta": "sla"},
)
MISSING = Issue(
    RequestError,
    "{path} is missing",
    "give {example}",
    {"path": "spec.model", "example": "its name on Hugging Face, such as Qwen/Qwen3-32B"},
)
WRONG_VALUE = Issue(
    RequestError,
    "{path} is {value}",
    "give {accepted}",
    {"path": "spec.profilingConfig.config.sla.ttft", "value": "'500ms'", "accepted": "a number above 0 in ms"},
)
UNKNOWN_FIELD = Issue(
    RequestError,
    "{path} is no field of a request",
    "{hint}",
    {"path": "spec.modle", "hint": "did you mean model?"},
)
CONTRADICTION = Issue(
    RequestError,
    "{path} {value} contradicts {other_path} {other}",
    "leave one of them out, or make them agree",
    {
        "path": "spec.profilingConfig.config.planner.minEndpoint",
        "value": 2,
        "other_path": "spec.profilingConfig.config.planner.plannerMinEndpoint",
        "other": 1,
    },
)
END_TO_END = Issue(
    RequestError,
    "spec.sla.e2eLatency {value:g} ms alone does not say how prefill and decode share it",
    "give spec.sla.ttft and spec.sla.itl instead, such as ttft {ttft:g} and itl {itl:g} for OSL {osl}",
    {"value": 10000.0, "ttft": 2500, "itl": 7.5, "osl": 1000},
)
AUTO_THOROUGH = Issue(
    RequestError,
    "spec.backend auto cannot be measured with spec.searchStrategy thorough",
    "name the backend, or use searchStrategy rapid",
)
WRONG_OPTION = Issue(
    RequestError,
    "{path}: {complaint}",
    "mend the value, see docs/configuration.md for all options",
    {
        "path": "spec.profilingConfig.config.planner",
        "complaint": "--min-endpoint: 'two' (plannerMinEndpoint) is not accepted; accepted is a whole number",
    },
)
FOREIGN_OPTION = Issue(
    RequestError,
    "{path} {value} does not fit: what is generated is a disaggregated DynamoGraphDeployment",
    "leave it out, and deploy by hand what needs it",
    {"path": "spec.profilingConfig.config.planner.mode", "value": "agg"},
)
COLLISION = Issue(
    RequestError,
    "two manifests would be {kind} {name} in one namespace",
    "give deployments different names, and their profiles too, with the annotation {annotation} on one of the requests",
    {"kind": "ConfigMap", "name": "planner-profile-data", "annotation": "planner.dynamo/profile-config-map"},
)
SYSTEM_UNKNOWN = Issue(
    GenerationError,
    "the GPUs are not known, so nothing can be estimated",
    "name them with {path}, such as h200_sxm; or give a profile",
    {"path": "spec.profilingConfig.config.sweep.aicSystem"},
)
NEEDS_MEASURING = Issue(
    GenerationError,
    "the request asks for engines that are measured, which takes a cluster",
    "give a profile with --profile or --profile-config-map, or have it estimated with {path}",
    {"path": "spec.profilingConfig.config.sweep.useAiConfigurator: true"},
)
NO_CONFIGURATOR = Issue(
    GenerationError,
    "engines are estimated by AI Configurator, which is not installed",
    "{install}; measure instead ({online}), or give a profile",
    {
        "install": "pip install 'sla-planner[aic]'",
        "online": "spec.profilingConfig.config.sweep.useAiConfigurator: false",
    },
)
NOT_ESTIMATED = Issue(
    GenerationError,
    "no estimate is possible: {complaint}",
    "name what is supported, measure instead ({online}), or give a profile",
    {
        "complaint": "spec.model 'Qwen/Qwen3-33B' is not supported; did you mean Qwen/Qwen3-32B",
        "online": "spec.profilingConfig.config.sweep.useAiConfigurator: false",
    },
)
NO_ENGINES = Issue(
    GenerationError,
    "no engines can be had: {complaint}",
    "raise the GPUs ({path}), choose GPUs with more memory, or a smaller model",
    {
        "complaint": "no engines fit into GPUs 4. TP 1: its KV cache holds 2000 tokens, fewer than one request has",
        "path": "spec.profilingConfig.config.planner.plannerMaxGpuBudget",
    },
)
SLA_MISSED = Issue(
    GenerationError,
    "the SLA cannot be met: {missed}",
    "what can be met is TTFT {ttft:g} ms and ITL {itl:g} ms at ISL {isl} and OSL {osl}, with {engines}: "
    "raise the targets to that, shorten the lengths, or allow more or faster GPUs",
    {
        "missed": "TTFT is 61.5 ms on an idle engine, target 40 ms (within 16 GPUs for one engine of each role)",
        "ttft": 62.0,
        "itl": 30.0,
        "isl": 3000,
        "osl": 150,
        "engines": "TP 8 for prefill and TP 2 for decode",
    },
)
BUDGET_TOO_SMALL = Issue(
    GenerationError,
    "{budget} GPUs cannot hold {least} of each pool with {prefill} + {decode} GPUs an engine",
    "raise {path} to at least {needed}, or lower minEndpoint",
    {
        "budget": 4,
        "least": 2,
        "prefill": 1,
        "decode": 2,
        "path": "spec.profilingConfig.config.planner.plannerMaxGpuBudget",
        "needed": 6,
    },
)
PROFILE_UNUSABLE = Issue(
    GenerationError,
    "the profile cannot be used: {complaint}",
    "give another, or estimate one: python -m planner profile estimate",
    {"complaint": "profiling_results has no data of prefill"},
)
OTHER_BACKEND = Issue(
    GenerationError,
    "the backend is auto and {what} does not say which it is of",
    "name the backend in spec.backend",
    {"what": "the profile"},
)
NO_BASE = Issue(
    GenerationError,
    "{origin} is no DynamoGraphDeployment to build on: {complaint}",
    "give one deployment with prefill and decode workers, such as those in examples/kubernetes/dgd",
    {"origin": "key disagg.yaml of ConfigMap my-disagg", "complaint": "it has 0 of them (Deployment)"},
)
BAD_OVERRIDE = Issue(
    RequestError,
    "with spec.overrides.dgd laid over it the deployment is none any more: {complaint}",
    "give only what differs, in the shape of the deployment: run it without spec.overrides.dgd to see that",
    {"complaint": "it has both a map of services and a list of components"},
)
SHELL_SCRIPT = Issue(
    GenerationError,
    "component {name} of the base deployment runs a shell script, in which flags cannot be set safely",
    "write its command and args as lists of words",
    {"name": "VllmDecodeWorker"},
)
BASE_TOO_SMALL = Issue(
    GenerationError,
    "component {name} has {nodes} nodes, on which {gpus} GPUs cannot be spread evenly",
    "change multinode.nodeCount in the base deployment",
    {"name": "decode", "nodes": 2, "gpus": 1},
)
TOO_LARGE = Issue(
    GenerationError,
    "the profile does not fit into a ConfigMap: {complaint}",
    "profile fewer points",
    {"complaint": "as a ConfigMap the profile takes 1200000 bytes; Kubernetes holds at most 1 MiB"},
)
ANNOTATIONS_TOO_LARGE = Issue(
    GenerationError,
    "the annotations of the deployment take {size} bytes; Kubernetes holds 256 KiB of them",
    "shorten deploymentOverrides.annotations",
    {"size": 300000},
)
CLUSTER = Issue(
    GenerationError,
    "ConfigMap {name} cannot be had from the cluster: {complaint}",
    "check name, namespace and --kubeconfig, or give a file",
    {"name": "my-disagg", "complaint": "it has no key disagg.yaml; there are base.yaml"},
)

ISSUES: tuple[Issue, ...] = tuple(value for value in tuple(globals().values()) if isinstance(value, Issue))
"""All of them, in the order of the documentation."""
