"""Decisions as lines of JSON: what is written, when files are rotated, and what a crash leaves."""

import asyncio
import json

import pytest

from planner.report.decision_log import DECISION_FILE, DecisionLog, decision_files, lines_of
from planner.report.history import History
from tests.dashboard.day import day_of_records


@pytest.fixture(scope="module")
def records():
    return list(day_of_records(1_700_000_000.0, 60))


def written(directory):
    return list(lines_of(decision_files(directory)))


def test_each_record_is_a_line_after_what_the_planner_runs_with(tmp_path, records):
    facts = {"interval_s": 60}
    log = DecisionLog(tmp_path / "logs", lambda: facts)
    log.write(records[0])
    log.write(records[1])
    facts = {"interval_s": 30}
    log.write(records[2])
    log.close()
    first, one, two, second, three = written(tmp_path / "logs")
    assert (first, second) == ({"planner": {"interval_s": 60}}, {"planner": {"interval_s": 30}})
    assert [one, two, three] == [json.loads(json.dumps(record.to_dict())) for record in records[:3]]


def test_files_are_rotated_and_the_oldest_go(tmp_path, records):
    log = DecisionLog(tmp_path, lambda: {"version": "1"}, most_bytes=10_000)
    for record in records:
        log.write(record)
    log.close()
    files = decision_files(tmp_path)
    assert [file.name for file in files] == [
        *(f"{DECISION_FILE}.{number}" for number in (5, 4, 3, 2, 1)),
        DECISION_FILE,
    ]
    assert all(file.stat().st_size <= 11_000 for file in files)
    for file in files:
        assert next(lines_of([file])) == {"planner": {"version": "1"}}, "each file tells by itself"
    times = [line["decision"]["time"] for line in written(tmp_path) if "decision" in line]
    assert times == [record.decision.time for record in records[-len(times) :]]
    assert len(times) < len(records)


def test_an_unfinished_line_swallows_nothing(tmp_path, records):
    log = DecisionLog(tmp_path, dict)
    log.write(records[0])
    log.close()
    file = tmp_path / DECISION_FILE
    file.write_bytes(file.read_bytes()[:-40])
    log = DecisionLog(tmp_path, dict)
    log.write(records[1])
    log.close()
    facts, torn, again, whole = written(tmp_path)
    assert facts == again == {"planner": {}}
    assert torn is None
    assert whole["decision"]["time"] == records[1].decision.time


async def test_what_a_history_gets_is_written_to_the_last_one(tmp_path, records):
    history = History(100)
    log = DecisionLog(tmp_path, dict)
    async with log.following(history):
        for record in records:
            await history.add(record)
    lines = [line for line in written(tmp_path) if "decision" in line]
    assert [line["id"] for line in lines] == list(range(1, len(records) + 1))


async def test_a_disk_that_fails_costs_lines_only(tmp_path, records, caplog):
    history = History(100)
    log = DecisionLog(tmp_path, dict)
    works, log.write = log.write, lambda _: (_ for _ in ()).throw(OSError("no space left"))
    async with log.following(history):
        for record in records[:3]:
            await history.add(record)
        await asyncio.sleep(0.05)
        log.write = works
        await history.add(records[3])
    assert [one["decision"]["time"] for one in written(tmp_path) if "decision" in one] == [records[3].decision.time]
    assert caplog.text.count("decisions are not logged") == 1, "told once, not with every line"


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        DecisionLog(tmp_path / "file", dict)
