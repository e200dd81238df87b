import asyncio
import time

import pytest

from planner.report.history import History
from planner.report.life import Life
from planner.report.reader import HistoryReader
from planner.report.store import HistoryStore

LIFE = Life(started=1_700_000_000.0, version="1", settings={"ttft": 500.0})


@pytest.fixture
async def begin(history_file):
    begun = []

    async def start(size=100, path=history_file, **options):
        history = History(size, HistoryStore(path), **options)
        begun.append(history)
        await history.start(LIFE)
        return history

    yield start
    for history in begun:
        await history.close()


async def test_in_memory_only(make_records):
    history = History(3)
    await history.start(LIFE)
    for record in make_records(5):
        await history.add(record, await history.announce(record))
    assert [record.id for record in history.latest()] == [3, 4, 5]
    assert [document["id"] for document in await history.documents(limit=2)] == [4, 5]
    assert len(await history.thinned(0, 2e9, 10)) == 3
    assert await history.documents(until=0.0) == []
    await history.close()


async def test_records_are_there_again_after_a_restart(begin, make_records):
    history = await begin()
    records = [await history.add(record) for record in make_records(5)]
    await history.close()
    again = await begin(size=3)
    assert list(again.latest()) == records[-3:]
    assert len(await again.documents()) == 5, "all of them are in the file"


async def test_an_announced_decision_is_on_the_disk_before_it_is_carried_out(begin, make_records, history_file):
    history = await begin()
    (record,) = make_records(1)
    announced = await history.announce(record)
    assert [one.decision for one in HistoryReader(history_file).records()] == [record.decision]
    done = await history.add(record, announced)
    assert HistoryReader(history_file).records() == [done]


async def test_a_slow_disk_does_not_hold_up_an_adjustment_and_nothing_is_written_twice(
    begin, make_records, monkeypatch, history_file
):
    monkeypatch.setattr("planner.report.history._PATIENCE_S", 0.02)
    history = await begin()
    add = history.store.add

    def slow(record):
        time.sleep(0.2)
        return add(record)

    history.store.add = slow
    (record,) = make_records(1)
    begun = asyncio.get_running_loop().time()
    await history.add(record, await history.announce(record))
    assert asyncio.get_running_loop().time() - begun < 0.18
    assert len(history.latest()) == 1
    monkeypatch.undo()
    await history.close()
    assert len(HistoryReader(history_file).records()) == 1


async def test_a_file_that_cannot_be_opened_or_written_is_reported_and_memory_goes_on(begin, make_records, tmp_path):
    problems = []
    (tmp_path / "file").write_text("")
    history = await begin(path=tmp_path / "file" / "history.sqlite", on_failure=problems.append)
    assert "kept in memory only" in problems[0]
    records = make_records(2)
    await history.add(records[0])
    assert len(await history.documents()) == 1

    broken = await begin(on_failure=problems.append)
    broken.store.close()
    await broken.add(records[1], await broken.announce(records[1]))
    assert len(broken.latest()) == 1
    await asyncio.sleep(0.01)
    assert "is not open" in problems[-1]


async def test_damage_is_reported(begin, history_file):
    problems = []
    history_file.parent.mkdir(parents=True)
    history_file.write_text("rubbish " * 500)
    await begin(on_failure=problems.append)
    assert len(problems) == 1
    assert "set aside" in problems[0]


async def test_whoever_listens_gets_every_record_and_a_slow_one_the_newest(make_records):
    history = History(10)
    records = make_records(5)
    with history.subscribe() as quick, history.subscribe(size=2) as slow:
        for record in records:
            await history.add(record)
    assert [quick.get_nowait().id for _ in range(5)] == [1, 2, 3, 4, 5]
    assert [slow.get_nowait().id for _ in range(2)] == [4, 5]
    await history.add(records[0])
    assert quick.empty(), "who has left gets nothing"
