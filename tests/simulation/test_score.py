"""How runs are judged: by hand, and in little memory."""

import math
import tracemalloc

import pytest

from planner.core.sizing import Targets
from planner.simulation.request import Request
from planner.simulation.score import ScoreKeeper


def ended(arrival_s, *, ttft_s=0.1, isl=100, osl=2, itl_s=0.01):
    request = Request(arrival_s, isl, osl)
    request.first_token_s = arrival_s + ttft_s
    request.completed_s = request.first_token_s + (osl - 1) * itl_s
    return request


def judge(profile, requests):
    keeper = ScoreKeeper(profile, Targets(ttft_ms=500.0, itl_ms=20.0))
    for request in requests:
        keeper.completed(request)
    return keeper


def score(keeper):
    return keeper.score(gpu_hours=1.0, hours=1.0, scalings=0, wasted_worker_minutes=0.0)


def test_the_worst_five_minutes_count_from_the_first_arrival_and_leave_out_spans_with_hardly_any_request(profile):
    good = [ended(100.0 + number) for number in range(600)]
    late = [ended(400.0 + number, ttft_s=0.6) for number in range(100)]
    lonely = [ended(1400.0, ttft_s=0.6)]
    hopeless = [ended(0.0, isl=100_000, ttft_s=99.0)]
    found = score(judge(profile, [*reversed(good), *late, *lonely, *hopeless]))
    assert found.infeasible == 1
    assert found.within_both == pytest.approx(600 / 701)
    assert found.worst == pytest.approx(300 / 400)


def test_what_was_attained_is_told_by_the_time_of_arrival(profile):
    found = judge(profile, [ended(5.0), ended(6.0, ttft_s=0.6), ended(65.0), ended(200.0), ended(7.0, isl=100_000)])
    assert found.attained(60.0) == (0.5, 1.0, None, 1.0)
    assert judge(profile, []).attained(60.0) == ()


def test_requests_of_one_token_have_no_inter_token_latency(profile):
    several, single = [ended(number, osl=5) for number in range(2)], [ended(number, osl=1) for number in range(9)]
    found = score(judge(profile, [*several, *single]))
    assert found.itl.mean == found.itl.p50 == pytest.approx(10.0)
    assert found.within_itl == 1.0
    assert math.isnan(score(judge(profile, single)).itl.mean)


def test_a_score_takes_no_more_memory_than_the_requests_it_is_of(profile):
    keeper = judge(profile, (ended(0.01 * number) for number in range(200_000)))
    tracemalloc.start()
    try:
        score(keeper)
        assert tracemalloc.get_traced_memory()[1] < 17 * 200_000
    finally:
        tracemalloc.stop()
