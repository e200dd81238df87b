"""Which of several planners of one deployment scales."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from planner.settings.options import KUBERNETES_NAME, OptionGroup, option


class ElectionOptions(OptionGroup):
    """Which of several planners of one deployment scales; the names are those of Kubernetes' own components."""

    title: ClassVar[str] = "Leader election"

    leader_elect: bool = option(
        False,
        "Run several planners of one deployment: one scales, the others observe and forecast, ready to take over. "
        "For --environment kubernetes.",
    )
    leader_elect_resource_name: str | None = option(
        None,
        "Name of the Lease. Left out: sla-planner- and the name of the deployment.",
        max_length=253,
        pattern=KUBERNETES_NAME,
    )
    leader_elect_resource_namespace: str | None = option(
        None,
        "Kubernetes namespace of the Lease. Left out: that of the deployment.",
        max_length=63,
        pattern=KUBERNETES_NAME,
    )
    leader_elect_lease_duration: float = option(
        15.0, "Time a lease must be seen unrenewed before another planner takes it.", unit="s", ge=1, le=3600
    )
    leader_elect_renew_deadline: float = option(
        10.0, "Time after the last renewal when the leader stops scaling; shorter than the lease.", unit="s", gt=0
    )
    leader_elect_retry_period: float = option(
        2.0, "Time between two attempts to renew or take the lease.", unit="s", gt=0
    )

    @model_validator(mode="after")
    def _lease_outlasts_its_leader(self) -> Self:
        if not self.leader_elect_lease_duration > self.leader_elect_renew_deadline > self.leader_elect_retry_period:
            raise ValueError(
                f"--leader-elect-lease-duration {self.leader_elect_lease_duration:g}, --leader-elect-renew-deadline "
                f"{self.leader_elect_renew_deadline:g} and --leader-elect-retry-period "
                f"{self.leader_elect_retry_period:g} must each be shorter than the one before"
            )
        return self
