"""More of the rules that turn readings into an observation: what is unknown, what is 0, and quantiles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.sources.derive import QUANTILES, Bucket, Readings, derive, quantile

NONSENSE = [math.nan, math.inf, -math.inf, -1.0]


def observe(**readings):
    return derive(Readings(**{"present": True, **readings}), time=100.0, interval=60.0)


def counted(started, completed):
    return {"requests_started": started, "requests_completed": completed}


def test_nothing_read_is_all_unknown():
    observation = derive(Readings(), time=100.0, interval=60.0)
    assert (observation.time, observation.interval) == (100, 60)
    unknown = {name: getattr(observation, name) for name in observation.__dataclass_fields__}
    assert {name for name, value in unknown.items() if value is not None} == {"time", "interval"}


def test_workers_are_left_to_the_connector():
    observation = observe(increases=counted(5, 5))
    assert (observation.prefill, observation.decode) == (None, None)


def test_counted_arrivals_need_no_completions():
    observation = observe(increases=counted(40, None), failed={"requests_completed"})
    assert (observation.requests_started, observation.requests_completed) == (40, None)


def test_counted_arrivals_of_0_are_not_taken_for_uncounted_ones():
    observation = observe(increases=counted(0, 10), gauges={"inflight": 9.0}, inflight_before=1.0)
    assert observation.requests_started == 0


@pytest.mark.parametrize(
    ("gauges", "before"), [({}, 5.0), ({"inflight": 5.0}, None), ({}, None), ({"inflight": math.nan}, 5.0)]
)
def test_where_inflight_is_unknown_completions_alone_are_the_arrivals(gauges, before):
    assert observe(increases=counted(None, 10), gauges=gauges, inflight_before=before).requests_started == 10


def test_all_arrivals_may_still_be_in_the_system():
    observation = observe(increases=counted(None, None), gauges={"inflight": 12.0}, inflight_before=0.0)
    assert (observation.requests_started, observation.requests_completed) == (12, 0)


def test_arrivals_that_failed_to_be_read_are_not_derived():
    observation = observe(increases=counted(None, 10), gauges={"inflight": 5.0}, failed={"requests_started"})
    assert (observation.requests_started, observation.requests_completed) == (None, 10)


def test_arrivals_are_not_derived_from_completions_that_failed_to_be_read():
    observation = observe(increases=counted(None, None), failed={"requests_completed"})
    assert (observation.requests_started, observation.requests_completed) == (None, None)


def test_a_counter_nobody_began_is_unknown_where_no_server_was_seen():
    observation = observe(present=False, increases=counted(None, None), gauges={})
    assert (observation.requests_completed, observation.inflight, observation.queued) == (None, None, None)


def test_gauges_of_a_server_that_was_called_are_not_made_up():
    observation = observe(increases=counted(3, 3))
    assert (observation.inflight, observation.queued) == (None, None)


def test_gauges_are_not_made_up_where_anything_failed():
    observation = observe(increases=counted(None, None), failed={"queued"})
    assert (observation.inflight, observation.queued) == (None, None)


def test_gauges_alone_are_no_load():
    observation = observe(present=False, gauges={"inflight": 4.0, "queued": 2.0})
    assert observation.blind
    assert (observation.inflight, observation.queued) == (4, 2)


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("isl", "isl"),
        ("osl", "osl"),
        ("ttft_ms", "ttft_ms"),
        ("itl_ms", "itl_ms"),
        ("request_duration_s", "request_duration_s"),
    ],
)
def test_a_mean_that_is_nonsense_is_unknown(name, field, nonsense):
    assert getattr(observe(increases=counted(5, 5), means={name: nonsense}), field) is None


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_counts_that_are_nonsense_are_unknown_where_no_server_was_seen(nonsense):
    observation = observe(present=False, increases=counted(nonsense, nonsense))
    assert (observation.requests_started, observation.requests_completed) == (None, None)


def test_a_mean_of_0_is_known():
    observation = observe(increases=counted(5, 5), means={"ttft_ms": 0.0, "osl": 0.0})
    assert (observation.ttft_ms, observation.osl) == (0, 0)


def test_every_quantile_is_told_by_its_share():
    buckets = [Bucket(100, 50), Bucket(200, 90), Bucket(400, 100), Bucket(math.inf, 100)]
    observation = observe(increases=counted(5, 5), buckets={"osl": buckets, "itl_ms": buckets})
    assert tuple(observation.osl_quantiles) == QUANTILES
    assert observation.osl_quantiles == pytest.approx({0.5: 100, 0.9: 200, 0.95: 300, 0.99: 380})
    assert observation.itl_quantiles_ms == pytest.approx({0.5: 1e5, 0.9: 2e5, 0.95: 3e5, 0.99: 3.8e5})


def test_histograms_without_values_have_no_quantiles():
    observation = observe(increases=counted(5, 5), buckets={"isl": [Bucket(100, 0), Bucket(math.inf, 0)]})
    assert (observation.isl_quantiles, observation.osl_quantiles) == (None, None)


def test_quantiles_by_hand():
    # 10 values up to 1, 30 more up to 3, none up to 7, 10 beyond.
    buckets = [Bucket(1, 10), Bucket(3, 40), Bucket(7, 40), Bucket(math.inf, 50)]
    assert quantile(buckets, 0.1) == pytest.approx(0.5)
    assert quantile(buckets, 0.2) == pytest.approx(1)
    assert quantile(buckets, 0.5) == pytest.approx(2)
    assert quantile(buckets, 0.8) == pytest.approx(3)
    assert quantile(buckets, 0.9) == 7


def test_a_bucket_at_0_takes_up_values_of_0():
    assert quantile([Bucket(0, 8), Bucket(1, 10), Bucket(math.inf, 10)], 0.5) == 0


def test_a_histogram_of_the_unbounded_bucket_alone_tells_0():
    assert quantile([Bucket(math.inf, 10)], 0.5) == 0


def test_buckets_may_come_in_any_order_and_from_an_iterator():
    buckets = [Bucket(math.inf, 4), Bucket(2, 4), Bucket(1, 2)]
    assert quantile(iter(buckets), 0.5) == quantile(sorted(buckets, key=lambda one: one.upper), 0.5) == 1


@st.composite
def histograms(draw):
    bounds = sorted(draw(st.sets(st.floats(1e-3, 1e5), min_size=1, max_size=12)))
    counts = draw(st.lists(st.floats(0, 1e6), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    buckets, total = [], 0.0
    for upper, count in zip([*bounds, math.inf], counts, strict=True):
        total += count
        buckets.append(Bucket(upper, total))
    return buckets


@given(histograms(), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_a_quantile_is_within_the_finite_bounds_and_grows_with_its_share(buckets, one, other):
    low, high = quantile(buckets, min(one, other)), quantile(buckets, max(one, other))
    if buckets[-1].count == 0:
        assert (low, high) == (None, None)
    else:
        assert 0 <= low <= high * (1 + 1e-12)
        assert high <= buckets[-2].upper * (1 + 1e-12)


@given(histograms(), st.floats(0.001, 0.999))
def test_a_quantile_is_in_the_bucket_in_which_its_rank_is(buckets, p):
    found = quantile(buckets, p)
    if found is None:
        return
    rank = p * buckets[-1].count
    index = next(i for i, bucket in enumerate(buckets) if bucket.count >= rank)
    lower = buckets[index - 1].upper if index else 0.0
    assert lower * (1 - 1e-12) <= found <= buckets[index].upper * (1 + 1e-12)


@given(histograms(), st.floats(0.001, 0.999), st.floats(0.01, 100))
def test_a_quantile_does_not_depend_on_how_many_values_there_are(buckets, p, times):
    few = quantile(buckets, p)
    many = quantile([Bucket(one.upper, one.count * times) for one in buckets], p)
    if few is not None and buckets[-1].count > 1:
        assert many == pytest.approx(few, rel=1e-3, abs=1e-6) or _at_an_edge(buckets, p)


def _at_an_edge(buckets, p):
    """Whether the rank is where buckets meet, so that rounding may take it to the next one with values."""
    total = buckets[-1].count
    return any(math.isclose(one.count, p * total, rel_tol=1e-9) for one in buckets)
