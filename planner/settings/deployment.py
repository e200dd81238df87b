"""What is scaled, and where decisions go."""

from __future__ import annotations

from typing import ClassVar, Literal

from planner.settings.options import OptionGroup, option


class DeploymentOptions(OptionGroup):
    """What is scaled, and where decisions go."""

    title: ClassVar[str] = "Deployment"

    environment: Literal["kubernetes", "virtual"] = option(
        "kubernetes",
        "Where decisions go: a DynamoGraphDeployment, or any orchestrator that reads and acknowledges them.",
    )
    mode: Literal["disagg", "agg"] = option(
        "disagg",
        "What is scaled. disagg: a pool of prefill and a pool of decode workers. agg: one pool whose workers do both; "
        "it counts as decode, and there are 0 prefill workers.",
    )
    namespace: str = option(
        "dynamo",
        "Dynamo namespace of the deployment.",
        env=("DYN_NAMESPACE",),
        min_length=1,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    )
    model_name: str | None = option(
        None,
        "Model to observe, in any case. Left out, it is the only one that the frontends serve.",
    )
    no_operation: bool = option(False, "Observe, forecast and explain, but scale nothing.")

    @property
    def aggregated(self) -> bool:
        """Whether one pool serves both phases."""
        return self.mode == "agg"
