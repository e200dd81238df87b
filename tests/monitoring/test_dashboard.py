import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from planner.report.metrics import PlannerMetrics

FOLDER = Path(__file__).parents[2] / "examples" / "grafana"


@pytest.fixture(scope="module")
def made():
    """The script that makes the files, with the modules beside it, which nobody else is to come upon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module("dashboard")
    for name in ("dashboard", "grafana", "panels"):
        del sys.modules[name]


def exported_names():
    lines = generate_latest(PlannerMetrics().registry).decode().splitlines()
    families = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    return families | {f"{name}_{part}" for name in families for part in ("bucket", "sum", "count")}


def test_the_files_are_those_that_the_script_makes(made):
    for file, content in made.FILES.items():
        assert file.read_text(encoding="utf-8") == content(), "run: python examples/grafana/dashboard.py"


def test_the_config_map_is_for_the_sidecar_and_holds_the_dashboard():
    content = yaml.safe_load((FOLDER / "dashboard-configmap.yaml").read_text(encoding="utf-8"))
    assert content["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = content["data"].values()
    assert json.loads(text) == json.loads((FOLDER / "planner-dashboard.json").read_text(encoding="utf-8"))


def test_the_rows_of_the_published_dashboard_come_first(made):
    rows = [panel["title"] for panel in made.dashboard()["panels"] if panel["type"] == "row"]
    assert rows[:4] == ["Worker Counts & GPU Usage", "Observed", "Predicted", "Correction Factors"]


def test_panels_do_not_overlap_and_have_numbers_of_their_own(made):
    panels = made.dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_overrides_name_legends_that_are_there(made):
    for panel in made.dashboard()["panels"]:
        legends = {target["legendFormat"] for target in panel.get("targets", ())}
        named = {one["matcher"]["options"] for one in panel.get("fieldConfig", {}).get("overrides", ())}
        assert named <= legends, panel["title"]


def test_every_name_in_queries_and_alerts_is_exported(made):
    alerts = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
    texts = [rule["expr"] for group in alerts["spec"]["groups"] for rule in group["rules"]]
    texts += [target["expr"] for panel in made.dashboard()["panels"] for target in panel.get("targets", ())]
    names = set(re.findall(r"\b(?:sla_planner_|planner:)\w+", " ".join(texts)))
    assert len(names) > 30
    assert names <= exported_names()
