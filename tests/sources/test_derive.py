"""The rules that turn readings into an observation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.sources.derive import Bucket, Readings, derive, quantile


def observe(**readings):
    return derive(Readings(**{"present": True, **readings}), time=100.0, interval=60.0)


def counted(started, completed):
    return {"requests_started": started, "requests_completed": completed}


def test_counted_arrivals_are_demand():
    assert observe(increases=counted(40, 10), gauges={"inflight": 35.0}).requests_started == 40


def test_without_a_count_demand_is_completions_plus_what_piles_up():
    observation = observe(increases=counted(None, 10), gauges={"inflight": 35.0}, inflight_before=5.0)
    assert (observation.requests_started, observation.requests_completed) == (40, 10)


def test_a_backlog_that_drains_is_no_negative_demand():
    assert observe(increases=counted(None, 10), gauges={"inflight": 0.0}, inflight_before=30.0).requests_started == 0


def test_a_server_that_nobody_called_is_idle():
    observation = observe(increases=counted(None, None))
    assert observation.idle
    assert (observation.inflight, observation.queued) == (0, 0)


def test_no_server_is_blind():
    assert observe(present=False, increases=counted(None, None)).blind


@pytest.mark.parametrize("failed", [{"requests_completed"}, {"requests_started"}])
def test_what_could_not_be_read_is_unknown(failed):
    assert observe(increases=counted(None, None), failed=failed).requests_started is None


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0])
def test_nonsense_is_unknown(nonsense):
    observation = observe(
        increases=counted(5, 5), means={"isl": nonsense, "ttft_ms": nonsense}, gauges={"inflight": nonsense}
    )
    assert (observation.isl, observation.ttft_ms, observation.inflight) == (None, None, None)
    assert observation.requests_started == 5


def test_seconds_become_milliseconds_and_lengths_stay():
    observation = observe(
        increases=counted(5, 5),
        means={"ttft_ms": 0.3, "itl_ms": 0.02, "isl": 1000.0, "request_duration_s": 4.0},
        buckets={"ttft_ms": [Bucket(0.2, 5), Bucket(math.inf, 10)], "isl": [Bucket(100, 10), Bucket(math.inf, 10)]},
    )
    assert (observation.ttft_ms, observation.itl_ms, observation.isl) == (300, 20, 1000)
    assert observation.request_duration_s == 4
    assert observation.ttft_quantiles_ms[0.5] == pytest.approx(200)
    assert observation.isl_quantiles[0.5] == pytest.approx(50)
    assert observation.itl_quantiles_ms is None


def test_a_quantile_is_linear_within_its_bucket():
    buckets = [Bucket(math.inf, 20), Bucket(10, 5), Bucket(20, 15)]
    assert quantile(buckets, 0.5) == pytest.approx(15)
    assert quantile(buckets, 0.125) == pytest.approx(5)
    assert quantile(buckets, 0.99) == 20


@pytest.mark.parametrize("buckets", [[], [Bucket(1, 0), Bucket(math.inf, 0)], [Bucket(math.inf, math.nan)]])
def test_an_empty_histogram_has_no_quantiles(buckets):
    assert quantile(buckets, 0.5) is None


@given(
    st.lists(st.tuples(st.floats(0.1, 1e3), st.integers(0, 50)), min_size=1, max_size=10, unique_by=lambda one: one[0])
)
def test_quantiles_are_within_the_bounds_and_in_order(cells):
    total, buckets = 0, []
    for upper, count in sorted(cells):
        total += count
        buckets.append(Bucket(upper, total))
    buckets.append(Bucket(math.inf, total))
    found = [quantile(buckets, p) for p in (0.1, 0.5, 0.9, 0.99)]
    if total == 0:
        assert found == [None] * 4
    else:
        assert found == sorted(found)
        assert found[0] >= 0
        assert found[-1] <= max(cells)[0]
