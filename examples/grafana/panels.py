"""What the dashboard shows: a table of panels, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

WHERE = '{namespace=~"$namespace"}'
# An aggregated deployment has one pool, which counts as decode: nothing is drawn of a prefill pool that is not there.
APART = ' unless on (job, namespace) sla_planner_info@{mode="agg"}'
THERE = ' unless on (job, namespace, pool) label_replace(sla_planner_info@{mode="agg"}, "pool", "prefill", "", "")'
ONE_POOL = "one pool"


@dataclass(frozen=True)
class Query:
    """A query with its legend; ``@`` stands for the selector of the namespace."""

    text: str
    legend: str = ""

    @property
    def expression(self) -> str:
        return self.text.replace("@{", WHERE[:-1] + ",").replace("@", WHERE)


@dataclass(frozen=True)
class Panel:
    title: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    description: str = ""
    steps: bool = False
    thresholds: Sequence[tuple[float | None, str]] = ((None, "green"),)
    most: float | None = None
    dashed: Sequence[str] = ()
    bands: Sequence[tuple[str, str]] = ()
    right: dict[str, str] = field(default_factory=dict)
    nothing: str = ""


def stat(title: str, text: str, unit: str = "short", **options: Any) -> Panel:
    return Panel(title, [Query(text)], unit=unit, kind="stat", width=4, height=4, **options)


def gauge(title: str, text: str) -> Panel:
    steps = ((None, "green"), (1.2, "yellow"), (1.5, "red"))
    return Panel(title, [Query(text)], kind="gauge", width=4, height=8, thresholds=steps, most=2)


def latency(title: str, mean: str, pool: str) -> Panel:
    queries = [
        Query(mean, "mean"),
        Query(f'sla_planner_observed_latency_quantile_ms@{{pool="{pool}"}}', "p{{quantile}}"),
        Query(f'sla_planner_latency_target_ms@{{pool="{pool}"}}', "target"),
    ]
    return Panel(f"Latency ({title})", queries, unit="ms", dashed=("target",))


def increases(counter: str, by: str = "") -> str:
    each = f" by ({by}) " if by else ""
    return f"sum{each}(increase(sla_planner_{counter}_total@[$__rate_interval]))"


ROWS: dict[str, Sequence[Panel]] = {
    "Worker Counts & GPU Usage": (
        stat("Prefill Workers", f"sum(planner:num_p_workers@{APART})", nothing=ONE_POOL),
        stat("Decode Workers", "sum(planner:num_d_workers@)", description="Of aggregated deployments all workers."),
        stat("GPUs In Use", "sum(sla_planner_gpus@)"),
        stat("Cumulative GPU Hours", "sum(planner:gpu_hours@)", description="Since the planner started."),
        stat(
            "Last Adjustment",
            "time() - max(sla_planner_last_tick_timestamp_seconds@)",
            "s",
            description="Time since the planner last decided.",
        ),
        stat(
            "Age Of Data",
            "max(sla_planner_data_age_seconds@)",
            "s",
            thresholds=((None, "green"), (60, "yellow"), (300, "red")),
        ),
        Panel(
            "Worker Count History",
            [Query(f"planner:num_p_workers@{APART}", "prefill"), Query("planner:num_d_workers@", "decode")],
            width=12,
            steps=True,
            description="Workers of aggregated deployments count as decode.",
        ),
        Panel(
            "GPUs And Budget",
            [Query("sla_planner_gpus@", "in use"), Query("sla_planner_gpu_budget@", "budget")],
            width=12,
            steps=True,
            dashed=("budget",),
            description="Without a budget only what is in use is drawn.",
        ),
    ),
    "Observed": (
        latency("TTFT", "planner:observed_ttft@", "prefill"),
        latency("ITL", "planner:observed_itl@", "decode"),
        Panel(
            "Rate & Duration",
            [
                Query("planner:observed_request_rate@", "requests"),
                Query("planner:observed_request_duration@", "duration"),
            ],
            unit="reqps",
            right={"duration": "s"},
        ),
        Panel(
            "Sequence Lengths",
            [Query("planner:observed_isl@", "ISL"), Query("planner:observed_osl@", "OSL")],
            width=12,
            description="Tokens, mean of an interval.",
        ),
        Panel(
            "Adjustments That Held",
            [Query(increases("held_ticks", "reason"), "{{reason}}")],
            width=12,
            description="Why nothing was changed: blind and unreachable are trouble, patience and unchanged are not.",
        ),
    ),
    "Predicted": (
        Panel(
            "Request Rate",
            [
                Query("planner:predicted_request_rate@", "forecast"),
                Query('sla_planner_forecast_request_rate@{quantile="0.1"}', "p10"),
                Query('sla_planner_forecast_request_rate@{quantile="0.9"}', "p90"),
                Query("planner:observed_request_rate@", "observed"),
            ],
            unit="reqps",
            bands=(("p90", "p10"),),
        ),
        Panel(
            "Sequence Lengths",
            [Query("planner:predicted_isl@", "ISL"), Query("planner:predicted_osl@", "OSL")],
        ),
        Panel(
            "Forecast Error",
            [Query("sla_planner_forecast_error_ratio@", "{{series}}")],
            unit="percentunit",
            description="(forecast - what came) / what came.",
        ),
        Panel(
            "Prefill Replicas",
            [
                Query(f"planner:predicted_num_p@{APART}", "required"),
                Query(f'sla_planner_target_workers@{{pool="prefill"}}{APART}', "decided"),
                Query(f"planner:num_p_workers@{APART}", "ready"),
            ],
            width=12,
            steps=True,
            dashed=("required",),
            nothing=ONE_POOL,
        ),
        Panel(
            "Decode Replicas",
            [
                Query("planner:predicted_num_d@", "required"),
                Query('sla_planner_target_workers@{pool="decode"}', "decided"),
                Query("planner:num_d_workers@", "ready"),
            ],
            width=12,
            steps=True,
            dashed=("required",),
            description="Of aggregated deployments all workers.",
        ),
    ),
    "Correction Factors": (
        gauge("Prefill (TTFT)", "max(planner:p_correction_factor@)"),
        gauge("Decode (ITL)", "max(planner:d_correction_factor@)"),
        Panel(
            "Correction Factor History",
            [
                Query("planner:p_correction_factor@", "prefill (TTFT)"),
                Query("planner:d_correction_factor@", "decode (ITL)"),
            ],
            width=16,
            description="Observed over expected latency; 1 means that the profile is right.",
        ),
    ),
    "Decisions": (
        Panel(
            "What Fixed The Targets",
            [Query(f"sla_planner_target_bound@ == 1{THERE}", "{{pool}}: {{by}}")],
            width=12,
            description="Load, minimum, budget, patience, idle or blind.",
        ),
        Panel(
            "Workers By State",
            [Query(f"sla_planner_workers@{THERE}", "{{pool}} {{state}}")],
            width=12,
            steps=True,
        ),
        Panel(
            "Adjustments And Reactions",
            [
                Query(increases("ticks", "action"), "{{action}}"),
                Query(increases("reactions"), "reaction"),
            ],
        ),
        Panel(
            "Reversals Of Targets",
            [Query(f"sum by (pool) (increase(sla_planner_target_reversals_total@[1h]){THERE})", "{{pool}}, last hour")],
            description="Times a target turned round: many of them mean that it flaps.",
        ),
        Panel(
            "Targets Out Of Reach",
            [Query("sla_planner_target_infeasible@", "{{pool}}")],
            description="1 while not even an idle engine would meet the latency target.",
            steps=True,
        ),
    ),
    "Health": (
        Panel(
            "Trouble",
            [
                Query(increases("tick_failures"), "adjustment failed"),
                Query(increases("missed_ticks"), "adjustment left out"),
                Query(increases("connector_failures"), "connector failed"),
                Query(
                    increases("overdue_acknowledgements"),
                    "acknowledgement overdue",
                ),
                Query(increases("unfinished_fits"), "fit unfinished"),
                Query(increases("history_failures"), "history failed"),
            ],
        ),
        Panel(
            "Failed Reads",
            [Query(increases("source_errors", "field"), "{{field}}")],
        ),
        Panel(
            "Time An Adjustment Takes",
            [
                Query(
                    "histogram_quantile(0.95, sum by (le) "
                    "(rate(sla_planner_tick_duration_seconds_bucket@[$__rate_interval])))",
                    "p95",
                ),
                Query(
                    "sum(rate(sla_planner_tick_duration_seconds_sum@[$__rate_interval])) / "
                    "sum(rate(sla_planner_tick_duration_seconds_count@[$__rate_interval]))",
                    "mean",
                ),
            ],
            unit="s",
        ),
    ),
}
