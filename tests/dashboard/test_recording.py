"""Recorded runs as one page: of a history file, of what the API gave, and of a simulation."""

import json
import re
import subprocess
import sys

import pytest

from planner.dashboard.command import record_of
from planner.report.database import HistoryError
from planner.settings import Settings
from tests.dashboard.conftest import as_json
from tests.dashboard.day import OPTIONS


def run(*arguments):
    command = [sys.executable, "-W", "error", "-m", "planner", "dashboard", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_history_as_one_file(history, day, tmp_path, open_tab):
    page = tmp_path / "day.html"
    told = run("--state-dir", history, "--namespace", OPTIONS["namespace"], "--output", page)
    assert told.returncode == 0, told.stderr
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', text), "it needs nothing else"
    tab = open_tab(page.as_uri())
    assert tab.text("#title") == OPTIONS["namespace"]
    assert tab.text("#status") == "Recorded"
    times = {record.decision.time for record in day}
    assert times <= set(tab.page.evaluate("page.course.records.map(record => record.decision.time)"))
    assert tab.page.evaluate("page.course.columns.blind.filter(Boolean).length") >= 15
    assert tab.requests == [page.as_uri()]


def test_what_the_api_gave(day, tmp_path, open_tab, picture):
    saved, page = tmp_path / "decisions.json", tmp_path / "page.html"
    saved.write_text(json.dumps({"decisions": [as_json(record) for record in day]}), encoding="utf-8")
    told = run(
        *(
            "--history",
            saved,
            "--since",
            day[-721].decision.time,
            "--output",
            page,
            "--namespace",
            "from-a-file",
            "--max-gpu-budget",
            8,
        ),
        *("--profile-results-dir", OPTIONS["profile_results_dir"], "--adjustment-interval", 60),
    )
    assert told.returncode == 0, told.stderr
    assert "721 records" in told.stdout
    tab = open_tab(page.as_uri())
    assert tab.text("#title") == "from-a-file"
    assert tab.page.locator("[data-chart=gpus]").is_visible()
    picture(tab, "dashboard-recorded")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no history at"),
        ("colour: red", "is neither an SQLite history nor decisions in JSON"),
        ('{"decisions": []}', "holds no decision"),
        ('{"decisions": [{"decision": 1}]}', "is neither an SQLite history nor decisions in JSON"),
    ],
)
def test_a_file_that_cannot_be_shown_is_named(tmp_path, content, complaint):
    file = tmp_path / "history"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(HistoryError, match=complaint):
        record_of(file, Settings(**OPTIONS))


def test_a_wrong_file_ends_the_command(tmp_path):
    told = run("--history", tmp_path / "nothing", "--output", tmp_path / "page.html")
    assert told.returncode == 2
    assert "there is no history at" in told.stderr
    assert not (tmp_path / "page.html").exists()


def test_a_simulation_shows_the_same_views(tmp_path, open_tab, picture):
    command = (
        *("simulate", "--profile-results-dir", OPTIONS["profile_results_dir"], "--adjustment-interval", 60),
        *("--pattern", "diurnal", "--period", 1200, "--rps", 2, "--peak-rps", 12, "--duration", 1200),
        *("--isl", 2000, "--osl", 100, "--ttft", 500, "--itl", 20, "--baseline", "hpa", "--baseline", "static:2,2"),
        *("--output", tmp_path, "--max-gpu-budget", 8),
    )
    told = subprocess.run(
        [sys.executable, "-m", "planner", *map(str, command)], capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stderr
    tab = open_tab((tmp_path / "report.html").as_uri(), dark=True)
    names = tab.page.locator("#runs tbody button").all_inner_texts()
    assert names == ["planner", "hpa", "static 2,2"]
    content = json.loads((tmp_path / "simulation.json").read_text(encoding="utf-8"))
    assert tab.text("#now .reason") == content["planner"]["points"][-1]["reason"]
    assert f"{content['planner']['score']['gpu_hours']:.1f}" in tab.text("#runs tbody tr")
    picture(tab, "simulation-report")
    tab.page.get_by_role("button", name="hpa").click()
    assert tab.text("#now .reason") == content["hpa"]["points"][-1]["reason"]
    assert tab.page.locator("figure.chart:visible").count() >= 7
