"""Stories of what went wrong elsewhere, and how they must end here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.core.decision import Action, Bound


def targets(records):
    return [(record.decision.prefill, record.decision.decode) for record in records]


async def test_prometheus_is_down_for_ten_minutes_under_load(play, cluster):
    """Blindness holds: a failed read is not a load of zero."""
    records = await play(lambda t: None if 600 <= t < 1200 else 80.0, 30)
    before, blind, after = records[9], records[10:20], records[20:]
    assert before.decision.prefill > 1
    for record in blind:
        assert record.decision.action is Action.HOLD
        assert targets([record]) == targets([before])
        assert "The load is unknown" in record.decision.explanation.reason
    last = after[-1].decision
    assert last.explanation.prefill.bound_by is not Bound.BLIND
    assert abs(last.prefill - before.decision.prefill) <= 1, "the longer a load was watched, the surer it is"
    assert last.decode == before.decision.decode
    sample = play.daemon.metrics.registry.get_sample_value
    assert sample("sla_planner_held_ticks_total", {"reason": "blind"}) == 10
    assert sample("sla_planner_source_errors_total", {"field": "requests_started"}) == 10


async def test_load_drops_to_zero(play, cluster):
    """Known silence, once confirmed, gives everything back down to the minimum, and load brings it back."""
    records = await play(lambda t: 80.0 if t < 600 or t >= 1200 else 0.0, 25, min_endpoint=1)
    busy = records[9].decision
    assert busy.prefill > 1
    idle = next(index for index in range(10, 20) if records[index].decision.explanation.prefill.bound_by is Bound.IDLE)
    assert idle in (11, 12), "a single silent interval may be a hiccup, and workers take two to be back"
    assert set(targets(records[10:idle])) == {(busy.prefill, busy.decode)}
    assert set(targets(records[idle:20])) == {(1, 1)}
    again = records[20].decision
    assert again.prefill >= busy.prefill, "up again at once"
    assert again.decode >= busy.decode


async def test_arrivals_exceed_capacity_while_completions_stay_flat(play, cluster, profile):
    """Completions are capped by what runs; arrivals say what is needed."""

    def overload(t):
        return {"rate_rps": 160.0, "requests_completed": 20.0 * 60, "inflight": 140.0 * t}

    records = await play(overload, 5)
    needed = records[-1].decision.explanation.prefill.required
    assert needed >= 160 * 2000 / profile.prefill.throughput_per_gpu(2000)
    assert targets(records[:1])[0][0] >= needed, "at the first sight of it"


@pytest.mark.parametrize("predictor", ["constant", "kalman"])
async def test_constant_noisy_load_at_seventy_percent_of_two_workers_does_not_flap(play, cluster, profile, predictor):
    generator = np.random.default_rng(7)
    rate_rps = 1.4 * profile.prefill.throughput_per_gpu(2000.0) / 2000.0
    records = await play(
        lambda t: generator.poisson(rate_rps * 60) / 60, 240, load_predictor=predictor, scale_down_window=300
    )
    settled = [prefill for prefill, _ in targets(records[20:])]
    changes = sum(now != then for now, then in zip(settled[1:], settled, strict=False))
    assert set(settled) == {2}
    assert changes == 0


async def test_latency_outliers_while_workers_warm_up_teach_nothing(play, cluster):
    def load(t):
        # While anything starts or has just started, the observed latencies are wild.
        warming = cluster.prefill.workers().pending or cluster.decode.workers().pending
        latencies = {"ttft_ms": 60_000.0, "itl_ms": 900.0} if warming else {}
        return {"rate_rps": 20.0 + 20.0 * (t // 600), "request_duration_s": 6.0, **latencies}

    records = await play(load, 40)
    assert len(cluster.asked) >= 2, "it did scale"
    assert all(record.decision.explanation.prefill.correction_factor == 1 for record in records)
    assert all(record.decision.explanation.decode.correction_factor == 1 for record in records)


async def test_a_worker_that_never_gets_ready_is_given_back_when_demand_falls(play, cluster):
    cluster.prefill.stuck = True
    records = await play(lambda t: 80.0 if t < 3600 else 5.0, 70)
    first = records[5].decision.prefill
    assert all(prefill <= first for prefill, _ in targets(records[5:59])), "nothing runs away meanwhile"
    assert any("has been pending for" in warning for warning in records[50].decision.explanation.warnings)
    assert cluster.prefill.workers().pending == 0
    assert records[-1].decision.prefill == 1


async def test_a_full_budget_is_rebalanced_and_never_exceeded_though_a_shrink_fails(play, cluster):
    """Decode must make room for prefill, its workers refuse to go for a while; the budget holds in every decision."""

    def load(t):
        cluster.decode.unshrinkable = 1200 <= t < 2400
        return (
            {"rate_rps": 20.0, "isl": 300.0, "osl": 3000.0}
            if t < 1200
            else {"rate_rps": 60.0, "isl": 8000.0, "osl": 20.0}
        )

    records = await play(load, 60, max_gpu_budget=12, scale_down_window=0)
    assert all(prefill + decode <= 12 for prefill, decode in targets(records))
    decode_heavy, prefill_heavy = records[19].decision, records[-1].decision
    assert decode_heavy.decode > decode_heavy.prefill
    assert prefill_heavy.prefill > prefill_heavy.decode
    assert prefill_heavy.explanation.prefill.bound_by is Bound.BUDGET
    assert sum(cluster.size) <= 12


async def test_an_isl_whose_ttft_no_engine_meets_is_said_and_does_not_run_away(play, cluster, profile):
    isl = 60_000.0
    assert profile.prefill.ttft_ms(isl) > 500
    records = await play(lambda _: {"rate_rps": 0.5, "isl": isl}, 20)
    last = records[-1].decision
    assert not last.explanation.prefill.feasible
    assert any("infeasible" in warning for warning in last.explanation.warnings)
    work_per_s = 0.5 * isl
    assert last.prefill == math.ceil(work_per_s / profile.prefill.throughput_per_gpu(isl))


async def test_a_budget_that_the_engine_sizes_do_not_divide_is_a_hard_cap(play, cluster):
    records = await play(lambda _: 500.0, 10, max_gpu_budget=15, prefill_engine_num_gpu=2, decode_engine_num_gpu=4)
    assert all(2 * prefill + 4 * decode <= 15 for prefill, decode in targets(records))
    assert targets(records)[-1] != (1, 1)


@pytest.mark.parametrize("predictor", ["constant", "kalman"])
async def test_a_falling_load_is_never_forecast_below_zero(play, cluster, predictor):
    records = await play(lambda t: max(0.01, 50.0 - t / 60), 80, load_predictor=predictor)
    for record in records:
        forecast = record.decision.explanation.forecast
        assert forecast.requests >= 0
        assert forecast.requests_p10 >= 0
    assert records[-1].decision.prefill == 1


async def test_a_restarted_planner_takes_nothing_away_before_it_knows(play, cluster):
    """A fresh planner sees a short past; workers that run are not given back on its word."""
    cluster.prefill.resize(6)
    cluster.decode.resize(6)
    records = await play(lambda _: 5.0, 6, scale_down_window=180)
    assert targets(records[:3]) == [(6, 6)] * 3
    assert targets(records[-1:]) == [(1, 1)]
