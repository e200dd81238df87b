import dataclasses
import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.decision import Action
from planner.core.observation import Observation, Workers
from planner.report import database
from planner.report.database import HistoryError
from planner.report.life import Life
from planner.report.reader import Filter, HistoryReader
from planner.report.record import Kind, Record
from planner.report.store import HistoryStore

EPOCH = 1_700_000_000.0


def times(records):
    return [round((record.decision.time - EPOCH) / 60) for record in records]


_amount = st.none() | st.floats(min_value=0, max_value=1e9)
_quantiles = st.none() | st.dictionaries(st.floats(min_value=0.01, max_value=0.99), st.floats(0, 1e6), min_size=1)
_workers = st.none() | st.builds(Workers, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))


@given(
    st.builds(
        Observation,
        time=st.floats(0, 1e10),
        interval=st.floats(0.1, 1e4),
        requests_started=_amount,
        isl=_amount,
        ttft_ms=_amount,
        isl_quantiles=_quantiles,
        itl_quantiles_ms=_quantiles,
        inflight=_amount,
        prefill=_workers,
        decode=_workers,
    )
)
def test_an_observation_is_the_same_after_a_way_through_json(seen):
    assert Observation.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen


def test_a_record_is_the_same_after_a_way_through_the_file(open_store, make_records):
    (record,) = make_records(1)
    record = dataclasses.replace(record, kind=Kind.REACTION)
    store = open_store()
    number = store.add(record)
    assert store.records() == [dataclasses.replace(record, id=number)]


def test_an_older_record_without_what_was_added_since_is_read(make_records):
    (record,) = make_records(1)
    data = record.to_dict()
    for added in ("id", "kind", "source", "gpu_hours"):
        del data[added]
    assert Record.from_dict(data) == dataclasses.replace(record, source=None, gpu_hours=None)


def test_records_are_the_newest_of_a_time_oldest_first(open_store, make_records):
    store = open_store()
    for record in make_records(10):
        store.add(record)
    assert times(store.records()) == list(range(1, 11))
    assert times(store.records(limit=3)) == [8, 9, 10]
    assert times(store.records(since=EPOCH + 180, until=EPOCH + 300)) == [3, 4, 5]
    assert times(store.records(EPOCH + 180, EPOCH + 300, 2)) == [4, 5]
    assert store.records(limit=0) == []
    assert store.span() == (EPOCH + 60, EPOCH + 600)


def test_records_by_action_pool_run_and_number(open_store, make_records):
    store = open_store()
    records = make_records(60)
    for record in records[:40]:
        store.add(record)
    store.close()
    store = open_store(started=EPOCH + 40 * 60)
    for record in records[40:]:
        store.add(record)
    scaled = store.records(only=Filter(action=Action.SCALE))
    assert scaled
    assert all(record.decision.action is Action.SCALE for record in scaled)
    for pool in ("prefill", "decode"):
        changed = store.records(only=Filter(pool=pool))
        assert changed
        assert times(changed) == [
            index + 1
            for index, record in enumerate(records)
            if getattr(record.decision, pool) != getattr(record.decision, f"previous_{pool}")
        ]
    first, second = store.runs()
    assert times(store.records(only=Filter(run=second.id))) == list(range(41, 61))
    assert first.settings["adjustment_interval"] == 180
    last = store.records(limit=1)[0].id
    assert times(store.records(only=Filter(after=last - 2))) == [59, 60]


def test_settling_replaces_a_record(open_store, make_records):
    (record,) = make_records(1)
    store = open_store()
    number = store.add(dataclasses.replace(record, applied=None))
    store.settle(number, record)
    assert [one.applied for one in store.records()] == [record.applied]


def test_a_thinned_view_keeps_every_peak_and_every_change(open_store, make_records):
    store = open_store()
    records = make_records(300)
    for record in records:
        store.add(record)
    view = store.thinned(EPOCH, EPOCH + 18_000, slices=20)
    assert len(view) < 200
    numbers = [document["id"] for document in view]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 300, "the newest is there"
    for read in (lambda one: one["observation"]["requests_started"], lambda one: one["observation"]["ttft_ms"]):
        assert max(map(read, view)) == max(read(record.to_dict()) for record in records)
    scaled = {record.decision.time for record in records if record.decision.action is Action.SCALE}
    assert scaled <= {document["decision"]["time"] for document in view}


def test_a_thinned_view_of_few_records_is_all_of_them(open_store, make_records):
    store = open_store()
    for record in make_records(5):
        store.add(record)
    assert store.thinned(EPOCH, EPOCH + 300, slices=100) == store.documents()


def test_what_is_too_old_is_dropped(open_store, make_records):
    store = open_store(days=100 * 60 / 86400)
    for record in make_records(300):
        store.add(record)
    first, _ = store.span()
    assert EPOCH + 60 * (300 - 100 - 50) <= first <= EPOCH + 60 * 201


def test_the_file_does_not_grow_beyond_its_size(open_store, make_records, history_file):
    store = open_store(megabytes=0.2)
    for record in make_records(300):
        store.add(record)
    assert history_file.stat().st_size < 0.2e6 * 2
    assert store.records(limit=1)[0].decision.time == EPOCH + 18_000
    assert len(store.records()) > 30


def test_reading_while_it_is_written(open_store, make_records, history_file):
    store = open_store()
    reader = HistoryReader(history_file)
    for index, record in enumerate(make_records(5), start=1):
        store.add(record)
        assert len(reader.records()) == index


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_history_is_set_aside_and_kept(open_store, make_records, history_file, content):
    history_file.parent.mkdir(parents=True)
    history_file.write_bytes(content)
    store = open_store()
    store.add(make_records(1)[0])
    assert len(store.records()) == 1
    aside = list(history_file.parent.glob("history.sqlite.damaged-*"))
    if content:
        assert [file.read_bytes() for file in aside] == [content]
        (complaint,) = store.complaints()
        assert str(history_file) in complaint
        assert aside[0].name in complaint
    else:
        assert not aside, "an empty file is a new one"
    assert store.complaints() == []


def test_a_damaged_page_is_noticed_at_the_start(open_store, make_records, history_file):
    store = open_store()
    for record in make_records(50):
        store.add(record)
    store.close()
    with history_file.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 8192)
    store = open_store()
    assert "set aside" in store.complaints()[0]
    assert store.records() == []


def test_a_file_that_breaks_while_it_is_open_costs_no_new_record(open_store, make_records, history_file):
    store = open_store()
    records = make_records(52)
    for record in records[:50]:
        store.add(record)
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with history_file.open("r+b") as file:
        file.write(b"\xa5" * history_file.stat().st_size)
    store._connection.execute("PRAGMA shrink_memory")
    store.add(records[50])
    store.add(records[51])
    assert times(store.records()) == [51, 52]
    assert "damaged" in store.complaints()[0]


def test_a_newer_version_is_set_aside_not_touched(open_store, history_file):
    open_store().close()
    with sqlite3.connect(history_file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(HistoryError, match="version 99, newer than this planner knows"):
        HistoryReader(history_file).records()
    store = open_store()
    assert "version 99" in store.complaints()[0]
    assert store.records() == []


def test_an_older_version_is_brought_up_to_date_with_its_records(open_store, make_records, monkeypatch):
    store = open_store()
    store.add(make_records(1)[0])
    store.close()
    monkeypatch.setattr(
        database, "MIGRATIONS", (*database.MIGRATIONS, "ALTER TABLE records ADD COLUMN note TEXT DEFAULT 'x'")
    )
    store = open_store()
    assert len(store.records()) == 1
    assert store._connection.execute("SELECT note FROM records").fetchall() == [("x",)]
    assert store._connection.execute("PRAGMA user_version").fetchone() == (len(database.MIGRATIONS),)


def test_a_migration_that_fails_changes_nothing(open_store, make_records, monkeypatch, history_file):
    store = open_store()
    store.add(make_records(1)[0])
    store.close()
    with monkeypatch.context() as patch:
        patch.setattr(
            database, "MIGRATIONS", (*database.MIGRATIONS, "ALTER TABLE records ADD COLUMN note TEXT; SELECT nonsense")
        )
        with pytest.raises(HistoryError, match="nonsense"):
            open_store()
    assert len(HistoryReader(history_file).records()) == 1


def test_histories_of_other_namespaces_are_named(tmp_path):
    for namespace in ("b", "a"):
        (tmp_path / namespace).mkdir()
        (tmp_path / namespace / "history.sqlite").touch()
    with pytest.raises(HistoryError, match=r"dynamo/history\.sqlite; there are those of --namespace a, b$"):
        HistoryReader(tmp_path / "dynamo" / "history.sqlite").records()


def test_what_is_not_there_or_no_history_is_explained(tmp_path):
    with pytest.raises(HistoryError, match="there is no history at"):
        HistoryReader(tmp_path / "none").records()
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(HistoryError, match="is no history of the planner"):
        HistoryReader(other).records()
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(HistoryError, match="not a database"):
        HistoryReader(tmp_path / "text").records()


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="cannot be opened"):
        HistoryStore(tmp_path / "file" / "below" / "history.sqlite").open(Life(started=0, version="1", settings={}))
