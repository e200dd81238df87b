"""The alerts under promtool: its checker, and its unit tests with made-up series."""

import subprocess
from pathlib import Path

import pytest
import yaml

RULES = Path(__file__).parents[2] / "examples" / "grafana" / "alerts.yaml"
TESTS = Path(__file__).with_name("alerts.test.yaml")


@pytest.fixture
def promtool(require_binary, tmp_path):
    """Runs promtool beside the rules as a plain file and their tests."""
    binary = require_binary("promtool")
    content = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(content["spec"]), encoding="utf-8")
    (tmp_path / "tests.yaml").write_text(TESTS.read_text(encoding="utf-8"), encoding="utf-8")

    def run(*arguments):
        command = [binary, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_the_rules_are_valid(promtool):
    done = promtool("check", "rules", "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_should_and_not_before(promtool):
    done = promtool("test", "rules", "tests.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways():
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]["groups"]
    names = {rule["alert"] for group in rules for rule in group["rules"]}
    cases = [
        case for one in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"] for case in one["alert_rule_test"]
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names, "fires"
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names, "keeps silent"
