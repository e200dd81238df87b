"""Which deployment in Kubernetes is scaled, and how its cluster is reached."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from planner.settings.options import KUBERNETES_NAME, OptionGroup, option


class KubernetesOptions(OptionGroup):
    """Which deployment in Kubernetes is scaled; the Dynamo operator tells its own planner components."""

    title: ClassVar[str] = "Kubernetes environment"

    dgd_name: str | None = option(
        None,
        "Name of the DynamoGraphDeployment to scale.",
        env=("DYN_PARENT_DGD_K8S_NAME",),
        max_length=253,
        pattern=KUBERNETES_NAME,
    )
    dgd_namespace: str | None = option(
        None,
        "Kubernetes namespace of that deployment. Left out, it is the planner's own.",
        env=("DYN_PARENT_DGD_K8S_NAMESPACE",),
        max_length=63,
        pattern=KUBERNETES_NAME,
    )


class ClusterOptions(OptionGroup):
    """How a cluster is reached."""

    title: ClassVar[str] = "Access to Kubernetes"

    kubeconfig: Path | None = option(
        None,
        "Kubeconfig to reach the cluster with. Left out: the service account of the planner's pod, or else "
        "~/.kube/config.",
        env=("KUBECONFIG",),
    )
    kube_context: str | None = option(None, "Context of the kubeconfig. Left out, it is the current one.")
    kube_service_account_dir: Path = option(
        Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        "Folder where token, ca.crt and namespace of the service account are mounted; the token is read again as it "
        "is renewed.",
    )
    kube_timeout: float = option(10.0, "Longest time one request to the API server may take.", unit="s", gt=0, le=300)
