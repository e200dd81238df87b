"""The clock of the demo."""

import pytest

from planner.clock import ScaledClock


@pytest.fixture
def wall(monkeypatch):
    """Real time, to be moved on by hand."""
    times = {"now": 100.0}
    monkeypatch.setattr("planner.clock.time.monotonic", lambda: times["now"])
    return times


def test_it_runs_so_many_times_as_fast(wall):
    clock = ScaledClock(30.0)
    begin = clock.now()
    wall["now"] += 2.0
    assert clock.now() - begin == pytest.approx(60.0)


def test_no_more_passes_than_the_longest_gap_while_the_program_is_stopped(wall):
    clock = ScaledClock(30.0, longest_gap_s=0.1)
    begin = clock.now()
    for _ in range(10):
        wall["now"] += 0.05
        clock.now()
    assert clock.now() - begin == pytest.approx(15.0)
    wall["now"] += 20.0
    assert clock.now() - begin == pytest.approx(18.0)


async def test_who_sleeps_wakes_in_time_though_nobody_else_looks(wall, monkeypatch):
    async def sleep(length_s):
        wall["now"] += length_s

    monkeypatch.setattr("planner.clock.asyncio.sleep", sleep)
    clock = ScaledClock(30.0, longest_gap_s=0.1)
    await clock.sleep_until(clock.now() + 300.0)
    assert wall["now"] == pytest.approx(110.0)


def test_it_does_not_stand(wall):
    with pytest.raises(ValueError, match="speed is 0; it is a factor above 0"):
        ScaledClock(0)
