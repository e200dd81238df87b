"""How load becomes workers, how often, and within which bounds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from planner.settings.options import OptionGroup, option

NO_BUDGET = -1


class DecisionOptions(OptionGroup):
    """How load becomes workers, how often, and within which bounds."""

    title: ClassVar[str] = "Decision"

    adjustment_interval: float = option(
        180.0,
        "Time between two decisions, and the span each observation covers.",
        unit="s",
        gt=0,
        le=86400,
        reloadable=True,
    )
    sizing: Literal["slo", "throughput"] = option(
        "slo",
        "How load becomes workers. slo: so that the wanted share of requests meets both targets, queues and "
        "uncertainty included. throughput: the published rules, load over capacity at the targets.",
    )
    slo_percentile: Annotated[float, Field(ge=50, le=99.9)] | Literal["mean"] = option(
        95.0,
        "Percentage of requests that should meet both targets, from 50 to 99.9; or mean: that mean latencies should.",
        unit="%",
    )
    worker_startup: float = option(
        120.0,
        "Time a worker takes from being asked for until it serves; what is measured takes its place.",
        unit="s",
        ge=0,
        le=86400,
        reloadable=True,
    )
    reaction_interval: float | None = option(
        None,
        "Time between two looks at whether more workers are needed at once; 0 for none. "
        "Left out: a sixth of the adjustment interval with slo sizing, none with throughput.",
        unit="s",
        ge=0,
        le=86400,
    )
    max_gpu_budget: int = option(
        8,
        "GPUs that all workers together may use, a hard cap; -1 for none.",
        unit="GPUs",
        ge=NO_BUDGET,
        reloadable=True,
    )
    min_endpoint: int = option(
        1, "Workers that each pool keeps whatever the load.", unit="workers", ge=0, reloadable=True
    )
    no_correction: bool = option(
        False,
        "Trust the profile as it is: learn no correction factors from observed latencies.",
        reloadable=True,
    )
    scale_down_window: float | None = option(
        None,
        "Scale down only to the highest need of this span. Left out: the time it takes to have workers back, which is "
        "their start-up, in whole intervals, and one more; at least two intervals.",
        unit="s",
        ge=0,
        reloadable=True,
    )
    idle_intervals: int | None = option(
        None,
        "Idle intervals in a row after which the pools go to their minimum. Left out: as many as it takes to have "
        "workers back, which is their start-up and one interval; at least 2.",
        unit="intervals",
        ge=1,
        reloadable=True,
    )

    def over_budget(self, prefill_gpus: int, decode_gpus: int) -> str | None:
        """Why the budget cannot hold the minimum of all pools; None if it can.

        Args:
            prefill_gpus: GPUs of one prefill worker; 0 where there is no such pool.
            decode_gpus: GPUs of one decode worker.
        """
        least = self.min_endpoint * (prefill_gpus + decode_gpus)
        if self.max_gpu_budget == NO_BUDGET or self.max_gpu_budget >= least:
            return None
        engines = f"of each pool with {prefill_gpus} + {decode_gpus} GPUs"
        if not prefill_gpus:
            engines = f"of {decode_gpus} GPU{'s' * (decode_gpus != 1)}"
        return (
            f"--max-gpu-budget {self.max_gpu_budget} cannot hold the minimum: --min-endpoint {self.min_endpoint} "
            f"{engines} an engine take {least} GPUs; raise the budget to at least {least} or lower --min-endpoint"
        )

    @property
    def wanted_percentile(self) -> float | None:
        """Percentage of requests that should meet both targets; None for mean latencies to meet them."""
        return None if self.slo_percentile == "mean" else self.slo_percentile

    @property
    def reaction_interval_s(self) -> float:
        """Time between two reactions, seconds; 0 for none."""
        if self.reaction_interval is not None:
            return self.reaction_interval
        return self.adjustment_interval / 6 if self.sizing == "slo" else 0.0
