"""The files of the planner's Grafana dashboard, made from its table of panels.

``python examples/grafana/dashboard.py`` writes planner-dashboard.json, which Grafana imports, and
dashboard-configmap.yaml, which the sidecar of Grafana's chart picks up; and for the Helm chart the same dashboard and
the rules of alerts.yaml.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import yaml
from grafana import dashboard

FOLDER = Path(__file__).parent
OF_CHART = FOLDER.parent / "kubernetes" / "chart" / "files"


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
