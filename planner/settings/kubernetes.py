"""Which deployment in Kubernetes is scaled."""

from __future__ import annotations

from typing import ClassVar

from planner.settings.options import OptionGroup, option

_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class KubernetesOptions(OptionGroup):
    """Which deployment in Kubernetes is scaled; the Dynamo operator tells its own planner components."""

    title: ClassVar[str] = "Kubernetes environment"

    dgd_name: str | None = option(
        None,
        "Name of the DynamoGraphDeployment to scale.",
        env=("DYN_PARENT_DGD_K8S_NAME",),
        max_length=253,
        pattern=_NAME,
    )
    dgd_namespace: str | None = option(
        None,
        "Kubernetes namespace of that deployment. Left out, it is the planner's own.",
        env=("DYN_PARENT_DGD_K8S_NAMESPACE",),
        max_length=63,
        pattern=_NAME,
    )
