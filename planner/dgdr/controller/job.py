"""The profiling job of a request: its manifest, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.kubernetes.api import Object
from connectors.kubernetes.inventory import trouble
from planner.cli import EXIT_BAD_CONFIGURATION
from planner.dgdr.controller.issues import JOB_FAILED
from planner.dgdr.issues import DgdrError
from planner.dgdr.ownership import CONTROLLER, Owner
from planner.dgdr.request import Request

ACCOUNT = "dgdr-profiling-job"
"""The service account of profiling jobs, in the namespace of the request."""
CONTAINER = "profiler"
CONFIGURATION = "/config"
OUTPUT = "/data"
_BASE = "base.yaml"

# A job that fails for a reason that stays is not begun again; others are, so often.
_RETRIES = 3
_GROUP = 65532


def job_manifest(
    request: Request, manifest: Object, owner: Owner, *, image: str, controller: str, timeout_s: int
) -> Object:
    """The job that profiles for a request.

    Args:
        request: The request.
        manifest: The same as it was accepted; the job is given it, and needs no right to read it.
        owner: The same as owner of the job.
        image: An image of this planner.
        controller: The controller whose job it is.
        timeout_s: After so many seconds the job is ended.
    """
    container = _container(request, manifest, owner, image)
    metadata = owner.metadata(owner.job, app="sla-planner-profiler", **{CONTROLLER: controller})
    failed_for_good = {"containerName": CONTAINER, "operator": "In", "values": [EXIT_BAD_CONFIGURATION]}
    return {
        "metadata": metadata,
        "spec": {
            "backoffLimit": _RETRIES,
            "activeDeadlineSeconds": timeout_s,
            "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": failed_for_good}]},
            "template": {"metadata": {"labels": metadata["labels"]}, "spec": _pod(request, container)},
        },
    }


def _pod(request: Request, container: Object) -> Object:
    """The pod of a job, with the volumes that ``_container`` mounts."""
    volumes: list[Object] = [_output_volume(request.output_pvc), {"name": "tmp", "emptyDir": {}}]
    if (base := request.config_map_ref) is not None:
        items = [{"key": base.key, "path": _BASE}]
        volumes.append({"name": "config", "configMap": {"name": base.name, "items": items}})
    return {
        "serviceAccountName": ACCOUNT,
        "restartPolicy": "Never",
        # Its last act is to remove the deployment that it measured.
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": _GROUP,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
        **({"tolerations": list(request.tolerations)} if request.tolerations else {}),
    }


def _container(request: Request, manifest: Object, owner: Owner, image: str) -> Object:
    """The container that profiles, told the request itself."""
    accepted = {key: manifest[key] for key in ("apiVersion", "kind", "spec")}
    accepted["metadata"] = {"name": owner.name, "namespace": owner.namespace, "uid": owner.uid}
    arguments = ["dgdr", "profile", "--request-json", json.dumps(accepted, separators=(",", ":"))]
    arguments += ["--output", OUTPUT, "--planner-image", image, "--log-format", "json"]
    mounts: list[Object] = [{"name": "output", "mountPath": OUTPUT}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if request.config_map_ref is not None:
        mounts.append({"name": "config", "mountPath": CONFIGURATION, "readOnly": True})
        arguments += ["--base", f"{CONFIGURATION}/{_BASE}"]
    return {
        "name": CONTAINER,
        "image": image,
        "command": ["python", "-m", "planner"],
        "args": arguments,
        "env": [{"name": "DGDR_NAME", "value": owner.name}, {"name": "DGDR_NAMESPACE", "value": owner.namespace}],
        "volumeMounts": mounts,
        # The end of its log is then the message that it ended with: no right to read logs is needed.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **({"resources": request.resources} if request.resources else {}),
    }


def _output_volume(claim: str | None) -> Object:
    if claim:
        return {"name": "output", "persistentVolumeClaim": {"claimName": claim}}
    return {"name": "output", "emptyDir": {}}


def outcome(job: Object) -> bool | None:
    """Whether a job was a success; None as long as it has not ended."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in {"Complete", "Failed"}:
            return bool(condition["type"] == "Complete")
    return None


def failure(job: Object, pods: Sequence[Object]) -> DgdrError:
    """Why a job failed: what its last container ended with, and what the job itself says.

    Args:
        job: The job.
        pods: Its pods.
    """
    conditions = (job.get("status") or {}).get("conditions") or ()
    why: Mapping[str, Any] = next(
        (one for one in conditions if one.get("type") == "Failed" and one.get("status") == "True"), {}
    )
    told = ": ".join(str(why[key]) for key in ("reason", "message") if why.get(key)) or "no reason told"
    states = [found for pod in _by_age(pods) if (found := _ended(pod))]
    if not states:
        ended, mend = trouble(pods) or "none of its containers tells why", _mend({}, "")
    else:
        lines = str(states[-1].get("message") or "").strip()
        reason = f" ({states[-1]['reason']})" if states[-1].get("reason") not in {None, "Error"} else ""
        ended = f"its last container ended with code {states[-1].get('exitCode')}{reason}: {lines or 'it said nothing'}"
        mend = _mend(states[-1], lines)
    return JOB_FAILED.error(name=job["metadata"]["name"], told=told, ended=ended, mend=mend)


def waiting(pods: Sequence[Object]) -> str | None:
    """Why the pods of a job do not run; None if nothing says so."""
    return trouble(pods)


def _by_age(pods: Sequence[Object]) -> Sequence[Object]:
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))


def _ended(pod: Object) -> Mapping[str, Any] | None:
    """How the container ended; None if it did not, or well."""
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        state = (one.get("state") or {}).get("terminated") or {}
        if one.get("name") == CONTAINER and state.get("exitCode"):
            found: Mapping[str, Any] = state
            return found
    return None


def _mend(state: Mapping[str, Any], lines: str) -> str:
    """What helps, as far as the way that it ended tells."""
    again = "delete the request and create it again"
    if state.get("reason") == "OOMKilled":
        return f"raise the memory limit of the profiling job in the request, then {again}"
    if "No module named planner" in lines or "No module named 'planner'" in lines:
        return f"have it run an image of this planner, then {again}"
    return f"mend what it says, then {again}"
