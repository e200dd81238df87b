"""The flags of the commands below ``dgdr``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from planner.commands.points import add_isl_range, add_max_kv_tokens, add_points, add_time_limit
from planner.commands.values import Group, above, web_address, whole
from planner.settings.options import KUBERNETES_NAME


def add_render_flags(group: Group) -> None:
    """Declare those of ``render``."""
    add = group.add_argument
    add(
        "-f",
        "--file",
        metavar="FILE",
        required=True,
        help="The request: a DynamoGraphDeploymentRequest in YAML or JSON, or several; - reads standard input.",
    )
    add(
        "-o",
        "--output",
        metavar="DIR|-",
        default="-",
        help="Folder for one file a manifest; - prints them all. (default: -)",
    )
    add(
        "--profile",
        metavar="PROFILE",
        default=None,
        help="Folder of a profile, instead of an estimate; its engines are the ones to deploy.",
    )
    add(
        "--profile-config-map",
        metavar="NAMESPACE/NAME|FILE",
        default=None,
        help="ConfigMap with a profile, instead of an estimate: in the cluster, or in a file.",
    )
    add(
        "--base",
        type=Path,
        metavar="FILE",
        default=None,
        help="Deployment to build on, instead of the ConfigMap that the request names, or of the backend's template.",
    )
    add(
        "--planner-image",
        metavar="IMAGE",
        default=None,
        help="Image of the planner. (default: that of the base, or the request's profiler image if it is not Dynamo's)",
    )
    add(
        "--kube-namespace",
        metavar="NAME",
        default=None,
        help="Kubernetes namespace of requests that name none. (default: that of whoever applies the manifests)",
    )
    add("--quiet", action="store_true", default=False, help="Print nothing but manifests and errors.")


def add_controller_flags(group: Group) -> None:
    """Declare those of ``controller``."""
    add = group.add_argument
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--watch-namespace",
        type=_name,
        metavar="NAME",
        default=None,
        help="Kubernetes namespace with the requests. (default: the controller's own)",
    )
    where.add_argument("--all-namespaces", action="store_true", default=False, help="Take requests of all namespaces.")
    add(
        "--controller-name",
        type=_label,
        metavar="NAME",
        default="sla-planner",
        help="Take requests whose annotation planner.dynamo/controller has this value. (default: sla-planner)",
    )
    add(
        "--all",
        action="store_true",
        default=False,
        help="Take requests without that annotation, too: where no other controller does.",
    )
    add(
        "--profiler-image",
        metavar="IMAGE",
        default=None,
        help="Image of this planner, for profiling jobs and generated planners of requests that name none or one of "
        "Dynamo's. (default: those that are measured must name one)",
    )
    add(
        "--job-timeout",
        type=above(0),
        metavar="S",
        default=14_400.0,
        help="Longest time that a profiling job may take. (default: 14400)",
    )
    add(
        "--resync",
        type=above(0),
        metavar="S",
        default=30.0,
        help="Look at every request so often even if nothing is seen to change. (default: 30)",
    )
    add("--workers", type=whole, metavar="N", default=4, help="Requests looked at at a time. (default: 4)")


def add_profiling_flags(group: Group) -> None:
    """Declare those of ``profile``."""
    add = group.add_argument
    request = group.add_mutually_exclusive_group(required=True)
    request.add_argument(
        "-f", "--file", type=Path, metavar="FILE", default=None, help="The DynamoGraphDeploymentRequest."
    )
    request.add_argument("--request-json", metavar="JSON", default=None, help="The same in place.")
    add(
        "--base",
        type=Path,
        metavar="FILE",
        default=None,
        help="DynamoGraphDeployment to measure and to build on. (default: the template of the backend)",
    )
    add(
        "--planner-image",
        metavar="IMAGE",
        default=None,
        help="Image of the generated planner. (default: the request's profiler image if it is not Dynamo's)",
    )
    add(
        "--output",
        type=Path,
        metavar="DIR",
        default=Path("dgdr-output"),
        help="Folder for journals, profile, plots and manifests; a job that begins again goes on from what is there. "
        "(default: dgdr-output)",
    )
    add(
        "--endpoint",
        type=web_address,
        metavar="URL",
        default=None,
        help="Where the frontend of the temporary deployment answers. (default: its service)",
    )
    add(
        "--ready-timeout",
        type=above(0),
        metavar="S",
        default=3600.0,
        help="Longest wait for the temporary deployment to become ready. (default: 3600)",
    )
    add_isl_range(group, None, "around the ISL of the SLA")
    add_points(group, "measure", prefill=10, context=6, batch=7)
    add_max_kv_tokens(group, "what the frontend's /metrics tells")
    add_time_limit(group, "Measure each configuration no longer than this. (default: until all points are measured)")


def _name(text: str) -> str:
    if not re.match(KUBERNETES_NAME, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name in Kubernetes: small letters, digits and dashes")
    return text


def _label(text: str) -> str:
    if len(text) > 63 or not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no value of a label: at most 63 letters, digits, dashes, dots and underscores"
        )
    return text
