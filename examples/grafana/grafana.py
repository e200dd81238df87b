"""From panels to the JSON that Grafana imports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from panels import ROWS, Panel

_COLUMNS = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


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
