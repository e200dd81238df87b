"""Processes that work side by side."""

import os
import time
from concurrent.futures import wait

import pytest

from planner.simulate.crew import Crew, LostWorkError, fail_early, results


def double(number, report):
    report(number)
    return 2 * number


def fail(report):
    raise LookupError("nothing there")


def die(report):
    os._exit(9)


def sleep(seconds, report):
    time.sleep(seconds)


def threads(report):
    return os.environ["OMP_NUM_THREADS"]


def process(report):
    return os.getpid()


def test_as_many_processes_as_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    with Crew(3, processes=None) as crew:
        futures = [crew.submit(piece, process) for piece in range(3)]
        assert len({future.result() for future in futures}) == 1


def test_work_is_done_and_its_progress_told():
    with Crew(3, processes=2) as crew:
        futures = {piece: crew.submit(piece, double, 10 + piece) for piece in range(3)}
        wait(futures.values())
        fail_early(futures.values())
        assert results(futures) == {0: 20, 1: 22, 2: 24}
        assert [crew.progress(piece) for piece in range(3)] == [10, 11, 12]


def test_what_fails_is_raised_and_the_rest_is_kept():
    with Crew(2, processes=2) as crew:
        futures = {"good": crew.submit(0, double, 4), "bad": crew.submit(1, fail)}
        wait(futures.values())
        with pytest.raises(LookupError, match="nothing there"):
            fail_early(futures.values())
        assert results(futures) == {"good": 8}


def test_a_process_that_is_lost_is_told():
    with Crew(1, processes=1) as crew:
        lost = crew.submit(0, die)
        wait([lost])
        with pytest.raises(LostWorkError, match=r"exit code 9\), perhaps for lack of memory; try --processes 1"):
            fail_early([lost])


def test_an_exception_ends_everything_at_once():
    def give_up():
        with Crew(1, processes=1) as crew:
            crew.submit(0, sleep, 60.0)
            time.sleep(0.5)
            raise ValueError("enough")

    begun = time.monotonic()
    with pytest.raises(ValueError, match="enough"):
        give_up()
    assert time.monotonic() - begun < 20


def test_each_has_one_thread_for_linear_algebra_and_the_environment_is_left_as_it_was(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with Crew(1, processes=1) as crew:
        assert crew.submit(0, threads).result(timeout=60) == "1"
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with Crew(1, processes=1) as crew:
        assert crew.submit(0, threads).result(timeout=60) == "3", "what the user says stands"
