"""The Grafana dashboard of the planner, made from a table of panels.

``python examples/grafana/dashboard.py`` writes planner-dashboard.json, which Grafana imports, and
dashboard-configmap.yaml, which the sidecar of Grafana's chart picks up; and for the Helm chart the same dashboard and
the rules of alerts.yaml.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
OF_CHART = FOLDER.parent / "kubernetes" / "chart" / "files"
WHERE = '{namespace=~"$namespace"}'
# An aggregated deployment has one pool, which counts as decode: nothing is drawn of a prefill pool that is not there.
APART = ' unless on (job, namespace) sla_planner_info@{mode="agg"}'
THERE = ' unless on (job, namespace, pool) label_replace(sla_planner_info@{mode="agg"}, "pool", "prefill", "", "")'
ONE_POOL = "one pool"
_COLUMNS = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


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
        Panel(
            "Latency (TTFT)",
            [
                Query("planner:observed_ttft@", "mean"),
                Query('sla_planner_observed_latency_quantile_ms@{pool="prefill"}', "p{{quantile}}"),
                Query('sla_planner_latency_target_ms@{pool="prefill"}', "target"),
            ],
            unit="ms",
            dashed=("target",),
        ),
        Panel(
            "Latency (ITL)",
            [
                Query("planner:observed_itl@", "mean"),
                Query('sla_planner_observed_latency_quantile_ms@{pool="decode"}', "p{{quantile}}"),
                Query('sla_planner_latency_target_ms@{pool="decode"}', "target"),
            ],
            unit="ms",
            dashed=("target",),
        ),
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
            [Query("sum by (reason) (increase(sla_planner_held_ticks_total@[$__rate_interval]))", "{{reason}}")],
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
                Query("sum by (action) (increase(sla_planner_ticks_total@[$__rate_interval]))", "{{action}}"),
                Query("sum(increase(sla_planner_reactions_total@[$__rate_interval]))", "reaction"),
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
                Query("sum(increase(sla_planner_tick_failures_total@[$__rate_interval]))", "adjustment failed"),
                Query("sum(increase(sla_planner_missed_ticks_total@[$__rate_interval]))", "adjustment left out"),
                Query("sum(increase(sla_planner_connector_failures_total@[$__rate_interval]))", "connector failed"),
                Query(
                    "sum(increase(sla_planner_overdue_acknowledgements_total@[$__rate_interval]))",
                    "acknowledgement overdue",
                ),
                Query("sum(increase(sla_planner_unfinished_fits_total@[$__rate_interval]))", "fit unfinished"),
                Query("sum(increase(sla_planner_history_failures_total@[$__rate_interval]))", "history failed"),
            ],
        ),
        Panel(
            "Failed Reads",
            [Query("sum by (field) (increase(sla_planner_source_errors_total@[$__rate_interval]))", "{{field}}")],
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


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana's JSON model, schema version 39 (Grafana 10 and newer)."""
    variables = [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {
            "name": "namespace",
            "label": "Namespace",
            "type": "query",
            "datasource": _DATASOURCE,
            "definition": "label_values(sla_planner_info, namespace)",
            "query": {"query": "label_values(sla_planner_info, namespace)", "refId": "namespace"},
            "refresh": 2,
            "includeAll": True,
            # Also planners that are scraped without a namespace.
            "allValue": ".*",
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        },
    ]
    return {
        "uid": "sla-planner",
        "title": "SLA planner",
        "description": "Prefill and decode workers, the load they are for, and why.",
        "tags": ["sla-planner", "llm"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "panels": list(_laid_out()),
    }


def _laid_out() -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for title, panels in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
        }
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            number += 1
            yield {
                **_drawn(panel),
                "id": number,
                "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
            }
            x, height = x + panel.width, max(height, panel.height)
        y += height


def _drawn(panel: Panel) -> dict[str, Any]:
    thresholds = {"mode": "absolute", "steps": [{"value": at, "color": color} for at, color in panel.thresholds]}
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": thresholds}
    if panel.nothing:
        defaults["noValue"] = panel.nothing
    if panel.kind == "gauge":
        defaults |= {"min": 0, "max": panel.most}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineInterpolation": "stepAfter" if panel.steps else "linear",
            "lineWidth": 2,
            "fillOpacity": 8,
            "showPoints": "never",
            "spanNulls": False,
        }
        if panel.unit != "percentunit":
            defaults["min"] = 0
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATASOURCE,
                "expr": query.expression,
                "legendFormat": query.legend or "__auto",
                "range": panel.kind == "timeseries",
                "instant": panel.kind != "timeseries",
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": list(_overrides(panel))},
        "options": _options(panel),
    }


def _overrides(panel: Panel) -> Iterator[dict[str, Any]]:
    for legend in panel.dashed:
        yield _override(
            legend, ("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}), ("custom.fillOpacity", 0), color="orange"
        )
    for upper, lower in panel.bands:
        yield _override(upper, ("custom.fillBelowTo", lower), ("custom.lineWidth", 0), ("custom.fillOpacity", 20))
        yield _override(lower, ("custom.lineWidth", 0), ("custom.fillOpacity", 0))
    for legend, unit in panel.right.items():
        yield _override(legend, ("unit", unit), ("custom.axisPlacement", "right"))


def _override(legend: str, *properties: tuple[str, Any], color: str | None = None) -> dict[str, Any]:
    colors = [("color", {"mode": "fixed", "fixedColor": color})] if color else []
    return {
        "matcher": {"id": "byName", "options": legend},
        "properties": [{"id": name, "value": value} for name, value in [*properties, *colors]],
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "none"},
        }
    return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}


def as_json() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


class _Block(str):
    """Text that YAML shows as a block."""

    __slots__ = ()


yaml.SafeDumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def as_config_map() -> str:
    content = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "grafana-sla-planner-dashboard",
            "labels": {"grafana_dashboard": "1", "app.kubernetes.io/name": "sla-planner"},
        },
        "data": {"planner-dashboard.json": _Block(as_json())},
    }
    head = "# Made by dashboard.py, for the namespace that Grafana's sidecar watches: kubectl apply -n monitoring\n"
    return head + yaml.safe_dump(content, sort_keys=False, width=1000)


def rules() -> str:
    """What is below ``spec`` in alerts.yaml, as it stands there."""
    _, _, below = (FOLDER / "alerts.yaml").read_text(encoding="utf-8").partition("\nspec:\n")
    return textwrap.dedent(below)


FILES = {
    FOLDER / "planner-dashboard.json": as_json,
    FOLDER / "dashboard-configmap.yaml": as_config_map,
    OF_CHART / "planner-dashboard.json": as_json,
    OF_CHART / "rules.yaml": rules,
}


if __name__ == "__main__":
    for file, content in FILES.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(content(), encoding="utf-8")
