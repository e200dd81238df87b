"""The flags of the commands below ``dgdr``."""

from __future__ import annotations

from pathlib import Path

from planner.commands.values import Group


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
