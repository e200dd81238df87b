"""What can go wrong with a request in a cluster, beyond what can go wrong with it anywhere."""

from __future__ import annotations

from planner.dgdr.issues import DeployingError, DgdrError, Issue, ProfilingError, RequestError

_AGAIN = "delete the request and create it again"
NO_RIGHT = Issue(
    DgdrError,
    "the controller has no right to {verb} {what} {where}: {without}",
    "add to its role the rule {rule}",
    {
        "verb": "create",
        "what": "jobs",
        "where": "in namespace serving",
        "without": "engines cannot be measured",
        "rule": "{apiGroups: [batch], resources: [jobs], verbs: [create]}",
    },
)
NO_CONFIG_MAP = Issue(
    RequestError,
    "the request refers to ConfigMap {name}, which namespace {namespace} does not have",
    f"create it, then {_AGAIN}",
    {"name": "my-disagg", "namespace": "serving"},
)
NO_KEY = Issue(
    RequestError,
    "the request refers to key {key} of ConfigMap {name}, which does not have it; it has {keys}",
    f"name one of these, then {_AGAIN}",
    {"name": "my-disagg", "key": "disagg.yaml", "keys": "base.yaml"},
)
NO_ACCOUNT = Issue(
    RequestError,
    "measuring engines takes the service account {account}, which namespace {namespace} does not have",
    f"kubectl apply -n {{namespace}} -f examples/kubernetes/dgdr/profiling-job.yaml, then {_AGAIN}",
    {"account": "dgdr-profiling-job", "namespace": "serving"},
)
NO_CLAIM = Issue(
    RequestError,
    "the request refers to PersistentVolumeClaim {name}, which namespace {namespace} does not have",
    f"create it, then {_AGAIN}",
    {"name": "profiles", "namespace": "serving"},
)
NO_IMAGE = Issue(
    ProfilingError,
    "there is no image of this planner to measure engines with",
    f"name it in the request, or start the controller with --profiler-image; then {_AGAIN}",
    {},
)
JOB_TAKEN = Issue(
    ProfilingError,
    "job {name} is there already and is not of this request",
    f"delete it, then {_AGAIN}",
    {"name": "profile-qwen3-32b"},
)
JOB_GONE = Issue(ProfilingError, "job {name} was deleted before it ended", _AGAIN, {"name": "profile-qwen3-32b"})
JOB_WITHOUT_RESULT = Issue(
    ProfilingError,
    "job {name} ended well and left no result in ConfigMap {results}",
    f"have it run an image of this planner, with the profiler image of the request; then {_AGAIN}",
    {"name": "profile-qwen3-32b", "results": "dgdr-output-qwen3-32b"},
)
JOB_FAILED = Issue(
    ProfilingError,
    "job {name} failed ({told}); {ended}",
    "{mend}",
    {
        "name": "profile-qwen3-32b",
        "told": "BackoffLimitExceeded",
        "ended": "its last container ended with code 1: No module named planner",
        "mend": f"have it run an image of this planner, then {_AGAIN}",
    },
)
RESULT_GONE = Issue(
    DeployingError,
    "ConfigMap {name} was deleted before what it holds was deployed",
    _AGAIN,
    {"name": "dgdr-output-qwen3-32b"},
)
PROFILE_TAKEN = Issue(
    DeployingError,
    "ConfigMap {name} in namespace {namespace} is there already and is not of this request ({origin})",
    f"delete it, or name another with the annotation planner.dynamo/profile-config-map; then {_AGAIN}",
    {"name": "planner-profile-data", "namespace": "serving", "origin": "it is of request serving/llama"},
)
DEPLOYMENT_TAKEN = Issue(
    DeployingError,
    "DynamoGraphDeployment {name} in namespace {namespace} is there already and is not of this request ({origin})",
    f"delete it, or have another name or namespace with deploymentOverrides; then {_AGAIN}",
    {"name": "qwen3-32b-dgd", "namespace": "serving", "origin": "it has no labels of a request"},
)
DEPLOYMENT_DELETED = Issue(
    DeployingError,
    "DynamoGraphDeployment {name} in namespace {namespace} was deleted, and is not made anew",
    _AGAIN,
    {"name": "qwen3-32b-dgd", "namespace": "serving"},
)

ISSUES: tuple[Issue, ...] = tuple(value for value in tuple(globals().values()) if isinstance(value, Issue))
"""All of them, in the order of the documentation."""
