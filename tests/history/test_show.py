import csv
import io
import json
import re
from datetime import UTC, datetime

import pytest

from planner.history.show import CSV_COLUMNS
from planner.report.reader import HistoryReader
from tests.dashboard.day import day_of_records, write_history


def test_the_newest_as_a_table(command, recorded):
    code, out, err = command("history", "--history", recorded)
    assert code == 0
    assert "2023-11-15 02:13:20" in out
    assert "TTFT ms" in out
    assert "Expecting" in out
    assert re.search(r"the newest 20 of \d{3};", err)


def test_csv_is_one_line_a_record_with_everything(command, recorded):
    code, out, _ = command("history", "--history", recorded, "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    records = HistoryReader(recorded).records()
    assert len(rows) == len(records)
    assert list(rows[0]) == list(CSV_COLUMNS)
    for row, record in zip(rows, records, strict=True):
        assert int(row["prefill_target"]) == record.decision.prefill
        assert row["decode_bound_by"] == record.decision.explanation.decode.bound_by
        assert float(row["ttft_ms"]) == record.observation.ttft_ms
        assert datetime.fromisoformat(row["time_utc"]).timestamp() == pytest.approx(record.decision.time, abs=1e-3)


def test_json_is_the_records_themselves(command, recorded):
    _, out, _ = command("history", "--history", recorded, "--format", "json", "--limit", "7")
    assert json.loads(out) == HistoryReader(recorded).documents(limit=7)


def test_filters(command, recorded):
    _, out, _ = command("history", "--history", recorded, "--format", "json", "--action", "scale", "--pool", "decode")
    shown = json.loads(out)
    assert shown
    for record in shown:
        why = record["decision"]["explanation"]["decode"]
        assert record["decision"]["action"] == "scale"
        assert why["previous"] != why["target"]
    span = ("--since", "2023-11-14T23:00", "--until", "2023-11-15T01:00+01:00")
    _, out, _ = command("history", "--history", recorded, "--format", "json", *span)
    times = [record["decision"]["time"] for record in json.loads(out)]
    assert min(times) >= datetime(2023, 11, 14, 23, tzinfo=UTC).timestamp()
    assert max(times) <= datetime(2023, 11, 15, 0, tzinfo=UTC).timestamp()
    assert len(times) >= 60


def test_the_file_of_a_namespace_is_found(command, recorded):
    code, out, _ = command("history", "--state-dir", recorded.parent.parent, "--namespace", "dynamo", "--format", "csv")
    assert code == 0
    assert len(out.splitlines()) > 240


def test_nothing_found_is_an_exit_code_and_says_what_there_is(command, recorded):
    code, out, err = command("history", "--history", recorded, "--since", "1h", "--format", "json")
    assert code == 1
    assert json.loads(out) == []
    assert "the history is from 2023-11-14 22:1" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--history", "nowhere.sqlite"), "there is no history at nowhere.sqlite"),
        (("--since", "yesterday"), "'yesterday' is no time; give 2026-03-01T12:00"),
        (("--limit", "-3"), "-3 is not a whole number"),
    ],
)
def test_mistakes_are_explained(command, arguments, told):
    code, _, err = command("history", *arguments)
    assert code == 2
    assert told in err


@pytest.fixture(scope="module")
def aggregated(tmp_path_factory):
    """The history of a deployment with one pool."""
    file = tmp_path_factory.mktemp("aggregated") / "history.sqlite"
    write_history(file, day_of_records(1_700_000_000.0, 40, mode="agg"), mode="agg", adjustment_interval=60)
    return file


def test_an_aggregated_deployment_has_one_column_of_workers(command, aggregated, recorded):
    _, out, _ = command("history", "--history", aggregated)
    headings = out.splitlines()[1]
    assert "workers" in headings
    assert not {"prefill", "decode"} & set(headings.split())
    _, out, _ = command("history", "--history", recorded)
    assert {"prefill", "decode"} <= set(out.splitlines()[1].split())


def test_an_aggregated_deployment_is_replayed_with_one_pool(command, aggregated):
    code, out, err = command("replay", "--history", aggregated, "--max-gpu-budget", 4)
    assert code == 0, err
    assert "most workers" in out
    assert "prefill" not in out
