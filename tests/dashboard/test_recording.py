"""Recorded runs as one page: of a history file, of what the API gave, and of a simulation."""

import json
import re
import subprocess
import sys

import pytest

from planner.dashboard.facts import planner_facts
from planner.dashboard.recorded import record_of
from planner.report.database import HistoryError
from planner.report.decision_log import DecisionLog, decision_files
from planner.settings import Settings
from planner.simulate.table import gpu_hours_text
from tests.dashboard.conftest import as_json
from tests.dashboard.day import OPTIONS, day_of_records


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


def test_a_decision_that_waits_for_an_earlier_one_is_pending(day, tmp_path, open_tab):
    documents = [as_json(record) for record in day[-3:]]
    last = documents[-1]
    last["applied"] = {"outcome": "waiting", "detail": "decision 3 is not acknowledged yet", "overdue": False}
    last["decision"]["explanation"]["prefill"]["target"] = last["observation"]["prefill"]["ready"] + 2
    saved, page = tmp_path / "decisions.json", tmp_path / "page.html"
    saved.write_text(json.dumps(documents), encoding="utf-8")
    page.write_text(record_of(saved, Settings(**OPTIONS)).to_html(), encoding="utf-8")
    tab = open_tab(page.as_uri())
    assert tab.text("[data-tile=prefill] .chip") == "pending"
    assert tab.page.locator("[data-tile=decode] .chip").count() == 0
    assert "pending" in tab.text("[data-chart=prefill] .bound")
    assert tab.text("#decisions .flag"), "it is worth a look"
    tab.page.locator("#decisions summary").first.click()
    assert "decision 3 is not acknowledged yet" in tab.text("#decisions .inside")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no history at"),
        ("colour: red", "is neither an SQLite history nor decisions in JSON"),
        ('{"decisions": []}', "holds no decision"),
        ('{"decisions": [{"decision": 1}]}', "is neither an SQLite history nor decisions in JSON"),
        ("[1, 2]", "is neither an SQLite history nor decisions in JSON"),
        ('{"level": "info"}\n{"level": "info"}', "is neither an SQLite history nor decisions in JSON"),
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


def test_a_folder_that_holds_neither_is_named(tmp_path):
    (tmp_path / "planner.log").write_text("{}", encoding="utf-8")
    with pytest.raises(
        HistoryError, match=r"holds neither history.sqlite.* nor decisions.jsonl, which --log-dir leaves"
    ):
        record_of(tmp_path, Settings(**OPTIONS))


def test_what_a_planner_left_in_its_log_folder(planner, tmp_path, open_tab):
    page = tmp_path / "run.html"
    told = run("--history", planner.logs, "--output", page)
    assert told.returncode == 0, told.stderr
    tab = open_tab(page.as_uri())
    assert tab.text("#title") == OPTIONS["namespace"]
    assert tab.text("#subtitle").startswith(OPTIONS["model_name"])
    shown = tab.page.evaluate("page.course.records.map(record => record.id)")
    assert shown
    recorded = {one["id"]: one for one in planner.decisions()}
    assert all(number in recorded for number in shown)
    assert tab.page.evaluate("page.course.latest.decision") == recorded[shown[-1]]["decision"]
    assert tab.page.locator("[data-chart=gpus]").is_visible(), "it knows how large engines are"


def test_rotated_files_are_read_in_their_order(day, tmp_path):
    facts = planner_facts(Settings(**OPTIONS), (1, 1))
    log = DecisionLog(tmp_path, lambda: facts, most_bytes=700_000)
    for record in day:
        log.write(record)
    log.close()
    assert len(decision_files(tmp_path)) > 3
    with (tmp_path / "decisions.jsonl").open("a", encoding="utf-8") as torn:
        torn.write('{"id": 17, "kind"')
    settings = Settings(namespace="another", profile_results_dir=OPTIONS["profile_results_dir"])
    recording = record_of(tmp_path, settings)
    assert recording.title == OPTIONS["namespace"], "as the files tell, not as the settings do"
    assert recording.runs[0].planner == facts
    times = [record["decision"]["time"] for record in recording.runs[0].records]
    assert times == [record.decision.time for record in day]
    assert "1 damaged line left out" in recording.note
    part = record_of(tmp_path, settings, since=times[100], until=times[199])
    assert len(part.runs[0].records) == 100


def test_of_a_long_log_what_matters_is_shown(tmp_path):
    (record,) = day_of_records(1_700_000_000.0, 1)
    document = as_json(record)
    lines = []
    for number in range(6200):
        document["decision"]["time"] = 1_700_000_000.0 + number
        document["decision"]["action"] = "scale" if number == 4321 else "hold"
        document["observation"]["ttft_ms"] = 900.0 if number == 1234 else 100.0
        lines.append(json.dumps(document))
    (tmp_path / "decisions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    recording = record_of(tmp_path, Settings(**OPTIONS))
    times = {one["decision"]["time"] - 1_700_000_000.0 for one in recording.runs[0].records}
    assert {1234, 4321, 6199} <= times, "peaks, changes, and the last"
    assert 2000 <= len(times) < 6000
    assert "thinned" in recording.note


def test_a_simulation_shows_the_same_views(tmp_path, open_tab, picture):
    command = (
        *("simulate", "--profile-results-dir", OPTIONS["profile_results_dir"], "--adjustment-interval", 60),
        *("--pattern", "diurnal", "--period", 1200, "--rps", 2, "--peak-rps", 12, "--duration", 1200),
        *("--isl", 2000, "--osl", 100, "--ttft", 500, "--itl", 20, "--baseline", "hpa", "--baseline", "static:2,2"),
        *("--output", tmp_path, "--max-gpu-budget", 8, "--processes", 1),
    )
    told = subprocess.run(
        [sys.executable, "-m", "planner", *map(str, command)], capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stderr
    tab = open_tab((tmp_path / "report.html").as_uri(), dark=True)
    names = tab.page.locator("#runs tbody button").all_inner_texts()
    assert names == ["planner", "hpa", "static 2+2"]
    content = json.loads((tmp_path / "simulation.json").read_text(encoding="utf-8"))["runs"]
    assert tab.text("#now .reason") == content["planner"]["points"][-1]["reason"]
    assert gpu_hours_text(content["planner"]["score"]["gpu_hours"]) in tab.text("#runs tbody tr")
    picture(tab, "simulation-report")
    tab.page.get_by_role("button", name="hpa").click()
    assert tab.text("#now .reason") == content["hpa"]["points"][-1]["reason"]
    assert tab.page.locator("figure.chart:visible").count() >= 7
