"""What can go wrong with a request: cause and mend of each in one place, for errors, statuses and the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Issue:
    """A kind of trouble.

    Attributes:
        kind: The error it is raised as.
        cause: What is wrong; names in braces are filled in.
        mend: What to do about it, likewise.
    """

    kind: type[DgdrError]
    cause: str
    mend: str

    def error(self, **values: Any) -> DgdrError:
        """The error, with the values filled in."""
        return self.kind(self.cause.format(**values), self.mend.format(**values))

    def row(self) -> tuple[str, str]:
        """Cause and mend with placeholders, as the documentation shows them."""
        return _shown(self.cause), _shown(self.mend)


def _shown(template: str) -> str:
    return re.sub(r"\{(\w+)(:[^}]*)?\}", lambda match: f"*{match[1]}*", template)


NO_REQUEST = Issue(
    RequestError,
    "{origin} is no DynamoGraphDeploymentRequest: {found}",
    "give a manifest with kind: DynamoGraphDeploymentRequest",
)
UNKNOWN_VERSION = Issue(
    RequestError,
    "apiVersion {version!r} is not supported",
    "use nvidia.com/v1alpha1 or nvidia.com/v1beta1",
)
MIXED_SHAPES = Issue(
    RequestError,
    "the request has fields of v1alpha1 ({alpha}) and of v1beta1 ({beta})",
    "keep to the fields of one version",
)
MISSING = Issue(RequestError, "{path} is missing", "give {example}")
WRONG_VALUE = Issue(RequestError, "{path} is {value}", "give {accepted}")
UNKNOWN_FIELD = Issue(RequestError, "{path} is no field of a request", "{hint}")
CONTRADICTION = Issue(
    RequestError,
    "{path} {value} contradicts {other_path} {other}",
    "leave one of them out, or make them agree",
)
END_TO_END = Issue(
    RequestError,
    "spec.sla.e2eLatency {value:g} ms alone does not say how prefill and decode share it",
    "give spec.sla.ttft and spec.sla.itl instead, such as ttft {ttft:g} and itl {itl:g} for OSL {osl}",
)
AUTO_THOROUGH = Issue(
    RequestError,
    "spec.backend auto cannot be measured with spec.searchStrategy thorough",
    "name the backend, or use searchStrategy rapid",
)
WRONG_OPTION = Issue(RequestError, "{path}: {complaint}", "mend the value, see docs/configuration.md for all options")
FOREIGN_OPTION = Issue(
    RequestError,
    "{path} {value} does not fit: what is generated is a disaggregated DynamoGraphDeployment",
    "leave it out, and deploy by hand what needs it",
)
COLLISION = Issue(
    RequestError,
    "two manifests would be {kind} {name} in one namespace",
    "give deployments different names, and their profiles too, with the annotation {annotation} on one of the requests",
)

SYSTEM_UNKNOWN = Issue(
    GenerationError,
    "the GPUs are not known, so nothing can be estimated",
    "name them with {path}, such as h200_sxm; or give a profile",
)
NEEDS_MEASURING = Issue(
    GenerationError,
    "the request asks for engines that are measured, which takes a cluster",
    "give a profile with --profile or --profile-config-map, or have it estimated with {path}",
)
NOT_ESTIMATED = Issue(
    GenerationError,
    "no estimate is possible: {complaint}",
    "name another ({path}), measure instead ({online}), or give a profile",
)
NO_ENGINES = Issue(
    GenerationError,
    "no engines can be had: {complaint}",
    "raise the GPUs ({path}), choose GPUs with more memory, or a smaller model",
)
SLA_MISSED = Issue(
    GenerationError,
    "the SLA cannot be met: {missed}",
    "what can be met is TTFT {ttft:g} ms and ITL {itl:g} ms at ISL {isl} and OSL {osl}, with {engines}: raise the "
    "targets to that, shorten the lengths, or allow more or faster GPUs",
)
BUDGET_TOO_SMALL = Issue(
    GenerationError,
    "{budget} GPUs cannot hold {least} of each pool with {prefill} + {decode} GPUs an engine",
    "raise {path} to at least {needed}, or lower minEndpoint",
)
PROFILE_UNUSABLE = Issue(
    GenerationError,
    "the profile cannot be used: {complaint}",
    "give another, or estimate one: python -m planner profile estimate",
)
OTHER_BACKEND = Issue(
    GenerationError,
    "the backend is auto and the profile does not say which it is of",
    "name the backend in spec.backend",
)
NO_BASE = Issue(
    GenerationError,
    "{origin} is no DynamoGraphDeployment to build on: {complaint}",
    "give one deployment with prefill and decode workers, such as those in examples/kubernetes/dgd",
)
SHELL_SCRIPT = Issue(
    GenerationError,
    "component {name} of the base deployment runs a shell script, in which flags cannot be set safely",
    "write its command and args as lists of words",
)
BASE_TOO_SMALL = Issue(
    GenerationError,
    "component {name} has {nodes} nodes, on which {gpus} GPUs cannot be spread evenly",
    "change multinode.nodeCount in the base deployment",
)
TOO_LARGE = Issue(
    GenerationError,
    "the profile does not fit into a ConfigMap: {complaint}",
    "profile fewer points",
)
ANNOTATIONS_TOO_LARGE = Issue(
    GenerationError,
    "the annotations of the deployment take {size} bytes; Kubernetes holds 256 KiB of them",
    "shorten deploymentOverrides.annotations",
)
CLUSTER = Issue(
    GenerationError,
    "ConfigMap {name} cannot be had from the cluster: {complaint}",
    "check name, namespace and --kubeconfig, or give a file",
)

ISSUES: tuple[Issue, ...] = tuple(value for value in tuple(globals().values()) if isinstance(value, Issue))
"""All of them, in the order of the documentation."""
