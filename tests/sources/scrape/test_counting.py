"""What a source makes of the pages of its frontends: births and deaths of series, restarts, failures, models."""

from __future__ import annotations

import pytest

from planner.demo.frontend import DIALECTS
from planner.sources.base import SourceError
from planner.sources.mapping import load_mapping
from tests.sources.scrape.frontends import DYNAMO, HERE, answer


@pytest.mark.parametrize("version", DIALECTS)
async def test_every_field_of_both_dialects(rig, version):
    at = await rig(version)
    (page,) = at.pages
    page.serve(8, isl=2000, osl=101, ttft_s=0.3, itl_s=0.02)
    page.arrive(4)
    seen = await at.tick()
    assert (seen.time, seen.interval) == (at.clock.time, 60)
    assert (seen.requests_started, seen.requests_completed) == (12, 8)
    assert (seen.inflight, seen.queued) == (4, 4)
    assert (seen.isl, seen.osl) == (2000, 101)
    assert (seen.ttft_ms, seen.itl_ms) == (pytest.approx(300), pytest.approx(20))
    assert seen.request_duration_s == pytest.approx(2.3)
    assert 1800 <= seen.isl_quantiles[0.5] <= 3600
    assert 100 <= seen.osl_quantiles[0.95] <= 210
    assert 220 <= seen.ttft_quantiles_ms[0.9] <= 470
    assert 11 <= seen.itl_quantiles_ms[0.99] <= 24
    assert (seen.prefill, seen.decode) == (None, None)
    counted = DIALECTS[version].counts_arrivals
    assert at.source.status.series_matched == {name: 1 for name in DYNAMO.fields() if name != "requests_started"} | {
        "requests_started": int(counted)
    }


async def test_arrivals_of_0_9_are_derived_tick_after_tick(rig):
    at = await rig("0.9")
    (page,) = at.pages
    waiting = page.arrive(30)
    assert (await at.tick()).requests_started == 30
    page.complete(waiting[:20])
    page.arrive(5)
    seen = await at.tick()
    assert (seen.requests_started, seen.requests_completed, seen.inflight) == (5, 20, 15)
    page.complete(waiting[20:])
    seen = await at.tick()
    assert (seen.requests_started, seen.requests_completed) == (0, 10)
    assert not seen.blind


async def test_an_overload_that_completes_nothing_is_seen_without_a_count_of_arrivals(rig):
    at = await rig("0.9")
    for _ in range(3):
        at.pages[0].arrive(50)
        seen = await at.tick()
        assert (seen.requests_started, seen.requests_completed) == (50, 0)


async def test_quantiles_are_of_both_frontends_together(rig):
    at = await rig(number=2)
    at.pages[0].serve(90, ttft_s=0.05)
    at.pages[1].serve(10, ttft_s=5.0)
    quantiles = (await at.tick()).ttft_quantiles_ms
    assert 47 <= quantiles[0.5] <= 100
    assert 4700 <= quantiles[0.95] <= 10000


async def test_means_are_of_the_interval_and_not_of_a_lifetime(rig):
    at = await rig()
    at.pages[0].serve(1000, isl=100)
    await at.tick()
    at.pages[0].serve(2, isl=9000)
    assert (await at.tick()).isl == pytest.approx(9000)


async def test_a_frontend_nobody_called_weighs_nothing(rig):
    at = await rig(number=2)
    at.pages[0].serve(10, isl=500)
    seen = await at.tick()
    assert (seen.requests_started, seen.isl, seen.inflight) == (10, 500, 0)
    assert at.source.status.series_matched["requests_started"] == 1


async def test_a_series_born_between_two_reads_began_at_0(rig):
    at = await rig(number=2)
    at.pages[0].serve(10)
    await at.tick()
    at.pages[0].serve(1)
    at.pages[1].serve(6, isl=3000)
    seen = await at.tick()
    assert (seen.requests_started, seen.requests_completed) == (7, 7)
    assert seen.isl == pytest.approx((1000 + 6 * 3000) / 7)


async def test_one_of_two_frontends_restarts(rig):
    at = await rig(number=2)
    for page in at.pages:
        page.serve(100)
    await at.tick()
    at.pages[0].serve(10)
    at.pages[1].restart()
    at.pages[1].serve(3)
    seen = await at.tick()
    assert (seen.requests_started, seen.requests_completed) == (13, 13)
    at.pages[1].serve(4)
    assert (await at.tick()).requests_started == 4


async def test_a_frontend_that_restarts_and_is_not_called_is_idle(rig):
    at = await rig()
    at.pages[0].serve(100)
    await at.tick()
    at.pages[0].restart()
    seen = await at.tick()
    assert seen.idle
    assert seen.isl is None


async def test_a_restart_that_passes_its_old_count_is_not_seen_and_never_negative(rig):
    at = await rig()
    at.pages[0].serve(5)
    await at.tick()
    at.pages[0].restart()
    at.pages[0].serve(8)
    assert 3 <= (await at.tick()).requests_started <= 8


async def test_a_second_outcome_is_a_series_of_its_own(rig):
    at = await rig()
    (page,) = at.pages
    series = 'dynamo_frontend_requests_total{{model="tiny",status="{}"}} {}\n'
    page.text = HERE + series.format("success", 5)
    await at.tick()
    page.text = HERE + series.format("success", 8) + series.format("error", 2)
    assert (await at.tick()).requests_completed == 5
    assert at.source.status.series_matched["requests_completed"] == 2


async def test_nothing_is_lost_over_a_failure_of_several_intervals(rig):
    at = await rig(number=2)
    await at.tick()
    for _ in range(3):
        at.pages[1].fault = answer("broken", 500)
        at.pages[0].serve(10)
        at.pages[1].serve(20)
        assert (await at.tick()).blind
    at.pages[1].fault = None
    at.pages[0].serve(10, isl=3000)
    at.pages[1].serve(20)
    seen = await at.tick()
    assert (seen.requests_started, seen.requests_completed) == (pytest.approx(30), pytest.approx(30))
    assert seen.isl == pytest.approx((110 * 1000 + 10 * 3000) / 120)
    assert at.source.status.errors == {}
    at.pages[0].serve(3)
    assert (await at.tick()).requests_started == 3


async def test_arrivals_that_are_derived_make_up_for_a_failure_that_nothing_happened_in(rig):
    at = await rig("0.9")
    at.pages[0].serve(5)
    at.pages[0].arrive(4)
    await at.tick()
    at.pages[0].fault = answer("broken", 500)
    assert (await at.tick()).blind
    at.pages[0].fault = None
    seen = await at.tick()
    assert (seen.requests_started, seen.requests_completed, seen.inflight) == (0, 0, 4)


@pytest.mark.parametrize(
    ("seconds", "interval", "expected"), [(60, 60, 30), (30, 60, 41.333), (120, 60, 15), (61, 30, 14.754)]
)
async def test_counts_are_taken_to_the_interval(rig, seconds, interval, expected):
    at = await rig()
    at.pages[0].serve(30)
    at.pages[0].arrive(2)
    await at.tick()
    at.pages[0].serve(30)
    seen = await at.tick(seconds, interval)
    assert seen.requests_started == pytest.approx(expected, rel=1e-3)
    assert (seen.isl, seen.inflight, seen.interval) == (1000, 2, interval)


async def test_a_failure_is_neither_idle_nor_the_end(rig):
    at = await rig()
    at.pages[0].serve(5)
    assert not (await at.tick()).idle
    at.pages[0].fault = answer("broken", 500)
    failed = await at.tick()
    assert (failed.blind, failed.idle) == (True, False)
    at.pages[0].fault = None
    back = await at.tick()
    assert (back.blind, back.idle) == (False, True)


async def test_a_frontend_that_comes_up_later_is_blind_until_it_was_read_twice(rig):
    at = await rig(start=False)
    at.pages[0].fault = answer("starting", 503)
    await at.source.start()
    assert (await at.tick()).blind
    at.pages[0].fault = None
    at.pages[0].serve(100)
    at.pages[0].arrive(3)
    first = await at.tick()
    assert first.blind
    assert (first.inflight, first.isl, first.requests_completed) == (3, None, None)
    assert at.source.status.errors == {}
    assert at.source.status.series_matched["isl"] == 1
    at.pages[0].serve(4)
    assert (await at.tick()).requests_started == 4


async def test_a_clock_that_was_set_back_costs_one_interval(rig):
    at = await rig()
    at.pages[0].serve(5)
    await at.tick()
    at.pages[0].serve(5)
    assert (await at.tick(seconds=-3600)).blind
    at.pages[0].serve(7)
    assert (await at.tick()).requests_started == 7


async def test_nothing_is_known_before_the_first_read(rig):
    status = (await rig(start=False)).source.status
    assert (status.series_matched, status.errors, status.newest_data) == ({}, {}, None)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1"])
async def test_gauges_that_are_nonsense_are_unknown(rig, value):
    at = await rig()
    at.pages[0].serve(5)
    await at.tick()
    at.pages[0].serve(5)
    lines = at.pages[0].frontend.page().decode().splitlines()
    at.pages[0].text = "".join(
        f"{line.rpartition(' ')[0]} {value}\n" if line.startswith("dynamo_frontend_inflight_requests{") else f"{line}\n"
        for line in lines
    )
    seen = await at.tick()
    assert (seen.inflight, seen.queued) == (None, 0)
    assert seen.requests_started == 5


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
async def test_sums_that_are_nonsense_make_that_mean_unknown(rig, value):
    at = await rig()
    at.pages[0].serve(5)
    await at.tick()
    at.pages[0].serve(5)
    lines = at.pages[0].frontend.page().decode().splitlines()
    at.pages[0].text = "".join(
        f"{line.rpartition(' ')[0]} {value}\n" if "to_first_token_seconds_sum{" in line else f"{line}\n"
        for line in lines
    )
    seen = await at.tick()
    assert (seen.ttft_ms, seen.isl, seen.requests_started) == (None, 1000, 5)


async def test_other_models_and_models_that_are_none_do_not_count(rig):
    at = await rig(model_name="TINY")
    at.pages[0].text = HERE + "".join(
        f'dynamo_frontend_requests_started_total{{model="{model}"}} {count}\n'
        for model, count in [("Tiny", 3), ("tiny", 4), ("huge", 50), ("unknown_model", 600)]
    )
    assert (await at.tick()).requests_started == 7
    assert at.source.status.series_matched["requests_started"] == 2


async def test_several_models_and_none_wanted_end_the_start(rig):
    at = await rig(start=False)
    at.pages[0].text = HERE + "".join(f'dynamo_frontend_queued_requests{{model="{name}"}} 1\n' for name in ("b", "a"))
    with pytest.raises(SourceError, match="'a', 'b'"):
        await at.source.start()


async def test_a_second_model_that_appears_later_is_blindness_and_no_crash(rig):
    at = await rig()
    at.pages[0].serve(5)
    await at.tick()
    at.pages[0].text = HERE + "".join(f'dynamo_frontend_queued_requests{{model="{name}"}} 1\n' for name in ("b", "a"))
    assert (await at.tick()).blind
    assert "'a', 'b'" in at.complaint


async def test_a_namespace_is_told_apart_where_pages_have_one(rig):
    at = await rig(namespace="blue")
    at.pages[0].text = "".join(
        f'dynamo_frontend_disconnected_clients{{dynamo_namespace="{namespace}"}} 0\n'
        f'dynamo_frontend_requests_started_total{{model="{model}",dynamo_namespace="{namespace}"}} {count}\n'
        for namespace, model, count in [("blue", "tiny", 3), ("green", "huge", 50)]
    )
    assert (await at.tick()).requests_started == 3


async def test_pages_of_vllm(rig):
    at = await rig(mapping=load_mapping("vllm"))

    def page(done, running, waiting, itl="inter_token_latency"):
        return "".join(
            f'vllm:{name}{{model_name="tiny",engine="0"}} {value}\n'
            for name, value in [
                ("num_requests_running", running),
                ("num_requests_waiting", waiting),
                ("time_to_first_token_seconds_sum", 0.2 * done),
                ("time_to_first_token_seconds_count", done),
                (f"{itl}_seconds_sum", 0.03 * done),
                (f"{itl}_seconds_count", done),
            ]
        ) + "".join(
            f'vllm:request_success_total{{model_name="tiny",finished_reason="{reason}"}} {done / 2}\n'
            for reason in ("stop", "length")
        )

    at.pages[0].text = page(10, 1, 0)
    await at.tick()
    at.pages[0].text = page(30, 4, 6)
    seen = await at.tick()
    assert (seen.requests_started, seen.requests_completed, seen.inflight, seen.queued) == (29, 20, 10, 6)
    assert (seen.ttft_ms, seen.itl_ms, seen.isl) == (pytest.approx(200), pytest.approx(30), None)
    at.pages[0].text = page(10, 0, 0, itl="time_per_output_token")
    assert (await at.tick()).itl_ms == pytest.approx(30)


async def test_in_a_rolling_upgrade_arrivals_are_derived_for_all(rig):
    at = await rig("0.9", "1.6")
    at.pages[0].serve(30)
    at.pages[1].serve(10)
    assert (await at.tick()).requests_started == 40


async def test_what_was_under_way_in_a_frontend_that_restarts_is_no_negative_demand(rig):
    at = await rig("0.9")
    at.pages[0].serve(1)
    at.pages[0].arrive(30)
    await at.tick()
    at.pages[0].restart()
    at.pages[0].serve(7)
    at.pages[0].serve(1)
    seen = await at.tick()
    assert seen.requests_started == 7
    assert not seen.idle


async def test_counters_that_are_no_numbers_are_unknown_and_not_idle(rig):
    at = await rig()
    at.pages[0].serve(3)
    await at.tick()
    call = '{endpoint="c",model="tiny",request_type="stream"}'
    at.pages[0].fault = answer(
        "dynamo_frontend_disconnected_clients 0\n"
        f"dynamo_frontend_requests_started_total{call} NaN\ndynamo_frontend_requests_total{call} NaN\n"
    )
    seen = await at.tick()
    assert seen.blind
    assert not seen.idle


async def test_a_bucket_without_a_bound_is_left_out(rig):
    at = await rig()
    bucket = 'dynamo_frontend_input_sequence_tokens_bucket{model="tiny",le="abc"}'
    page = f"dynamo_frontend_disconnected_clients 0\n{bucket} %d\n"
    at.pages[0].fault = answer(page % 1)
    await at.tick()
    at.pages[0].fault = answer(page % 5)
    assert (await at.tick()).isl_quantiles is None
