"""Sizing for the share of requests that meet their targets, against the simulation and against all alternatives."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.core.budget import Limits
from planner.core.decision import Band, LoadForecast
from planner.core.lengths import LengthShape
from planner.core.observation import Observation, Workers
from planner.core.sizing import Corrections, Situation, Targets, Task
from planner.core.slo import Case, SloSizing
from planner.simulation.deployment import Deployment

TARGETS = Targets(ttft_ms=500.0, itl_ms=15.0)


def load(rate_rps=20.0, isl=3000.0, osl=300.0, error=0.0):
    requests = rate_rps * 60
    band = 1.2815516 * error * requests
    return LoadForecast(
        requests=requests,
        requests_p10=requests - band,
        requests_p90=requests + band,
        isl=isl,
        osl=osl,
        interval=60,
    )


def situation(**options):
    return Situation(isl_spread=LengthShape().spread(), osl_spread=LengthShape().spread(), **options)


def required(profile, load, percentile=95.0, targets=TARGETS, corrections=None, **known):
    task = Task(load=load, targets=targets, corrections=corrections or Corrections(), situation=situation(**known))
    requirement = SloSizing(profile, percentile).required(task)
    return requirement.prefill, requirement.decode


def attained(profile, workers, rate_rps, seed=1, requests=30_000):
    """Share of requests within both targets of a steady Poisson load with log-normal lengths."""
    generator = np.random.default_rng(seed)
    deployment = Deployment(profile, startup=lambda: 0.0, workers=workers)
    shape = np.exp(0.6 * generator.normal(size=(requests, 2)) - 0.18)
    lengths = np.maximum(1, (shape * (3000, 300)).round()).astype(int).tolist()
    time, served = 0.0, []
    for gap, (isl, osl) in zip(generator.exponential(1 / rate_rps, requests), lengths, strict=True):
        time += gap
        served.append(deployment.submit(time, isl, osl))
    deployment.drain()
    possible = [one for one in served if profile.prefill.ttft_ms(one.isl) <= TARGETS.ttft_ms]
    met = [one.ttft_ms <= TARGETS.ttft_ms and (one.itl_ms or 0) <= TARGETS.itl_ms for one in possible]
    return float(np.mean(met[len(met) // 10 :]))


def test_itl_of_outputs_that_are_of_very_different_lengths_is_no_fault_of_the_engines(profile):
    """Long outputs are in the batch longest, so that its contexts are longer than the mean request's."""
    generator = np.random.default_rng(1)
    osl = np.maximum(2, 2000 * np.exp(0.8 * generator.normal(size=12_000) - 0.32)).astype(int)
    times = generator.exponential(1 / 12.0, len(osl)).cumsum()
    deployment = Deployment(profile, startup=lambda: 0.0, workers=(2, 4))
    served = [deployment.submit(time, 500, length) for time, length in zip(times, osl.tolist(), strict=True)]
    deployment.drain()
    steady = served[2000:-2000]
    observation = Observation(
        time=60.0,
        interval=60.0,
        requests_started=720,
        requests_completed=720,
        isl=500.0,
        osl=float(osl.mean()),
        ttft_ms=float(np.mean([one.ttft_ms for one in steady])),
        request_duration_s=float(np.mean([one.duration_s for one in steady])),
        decode=Workers(4),
    )
    quantiles = dict(zip((0.5, 0.9, 0.95, 0.99), np.quantile(osl, (0.5, 0.9, 0.95, 0.99)).tolist(), strict=True))
    spread = LengthShape().learn(quantiles, observation.osl).spread()
    sizing = SloSizing(profile, 95.0)
    expected_ms = sizing.expected_itl_ms(observation, Corrections(), Situation(osl_spread=spread))
    assert expected_ms == pytest.approx(np.mean([one.itl_ms for one in steady]), rel=0.05)


@pytest.mark.parametrize("rate_rps", [8.0, 40.0])
@pytest.mark.parametrize("percentile", [90.0, 99.0])
def test_what_is_promised_is_kept_in_the_simulation(profile, rate_rps, percentile):
    workers = required(profile, load(rate_rps), percentile)
    assert attained(profile, workers, rate_rps) >= percentile / 100 - 0.01


@pytest.mark.parametrize("rate_rps", [20.0, 40.0])
def test_two_workers_fewer_would_not_do(profile, rate_rps):
    prefill, decode = required(profile, load(rate_rps), 95.0)
    fewer = (max(1, prefill - 2), decode) if prefill > 2 else (1, max(1, decode - 2))
    assert attained(profile, fewer, rate_rps) < 0.95


def test_a_higher_percentile_a_less_certain_load_and_bursts_need_more(profile):
    plain = sum(required(profile, load(300.0), 80.0))
    assert sum(required(profile, load(300.0), 99.5)) > plain
    assert sum(required(profile, load(300.0, error=0.2), 80.0)) > plain
    assert sum(required(profile, load(300.0), 80.0, burstiness=15.0)) > plain


def test_slower_engines_need_more(profile):
    prefill, decode = required(profile, load(60.0))
    assert required(profile, load(60.0), corrections=Corrections(prefill=1.5))[0] > prefill
    assert required(profile, load(60.0), corrections=Corrections(decode=1.5))[1] > decode


def test_a_backlog_is_drained(profile):
    quiet, _ = required(profile, load(20.0), queued=5.0, prefill=Workers(4))
    waiting, _ = required(profile, load(20.0), queued=900.0, prefill=Workers(4))
    growing, _ = required(profile, load(20.0), queued=900.0, prefill=Workers(1), startup_s=120.0)
    assert quiet < waiting < growing


def test_sequences_that_decode_now_need_their_room(profile):
    assert required(profile, load(5.0), decoding=500.0)[1] > required(profile, load(5.0))[1]


def test_pending_workers_solve_a_backlog_only_if_they_are_kept(profile):
    few, _ = required(profile, load(20.0), queued=900.0, prefill=Workers(2), startup_s=90.0)
    coming, _ = required(profile, load(20.0), queued=900.0, prefill=Workers(2, pending=8), startup_s=90.0)
    calm, _ = required(profile, load(20.0))
    assert calm < coming <= few


def test_a_router_that_deals_out_blindly_wants_more_workers(profile):
    found = [required(profile, load(40.0), blindness=blindness)[0] for blindness in (0.0, 0.3, 1.0)]
    assert found == sorted(found)
    assert found[-1] > found[0]


@pytest.mark.parametrize("percentile", [95.0, 99.9])
def test_what_workers_cannot_cure_is_no_reason_for_more_and_more(profile, percentile):
    alone, _ = required(profile, load(40.0, isl=9000.0), percentile)
    blind, _ = required(profile, load(40.0, isl=9000.0), percentile, blindness=1.0)
    assert blind <= 2 * alone


def test_a_tail_of_jumps_is_sized_for_as_far_as_it_goes(profile):
    def with_tail(tail, most):
        band = Band(mean=1200 * 3000.0, p10=1150 * 3000.0, p90=1250 * 3000.0, tail=tail * 3000, most=most * 3000)
        return required(profile, replace(load(20.0), input_tokens=band))[0]

    assert with_tail(800.0, 3600.0) > with_tail(20.0, 3600.0)
    assert with_tail(1e6, 3600.0) <= required(profile, load(60.0))[0] + 1


def test_a_band_that_is_wide_for_a_load_that_fell_is_none_for_more_than_there_was(profile):
    fell = Band(mean=480 * 3000.0, p10=290 * 3000.0, p90=1560 * 3000.0, tail=300 * 3000.0, most=1640 * 3000.0)
    assert required(profile, replace(load(8.0), input_tokens=fell), 99.5) <= required(profile, load(1640 / 60), 99.5)


def test_the_mean_may_be_what_counts(profile):
    assert sum(required(profile, load(60.0), None)) < sum(required(profile, load(60.0), 99.0))


def test_an_infeasible_ttft_is_said_and_sized_for_throughput(profile):
    task = Task(load=load(1.0, isl=60_000.0), targets=TARGETS, situation=situation())
    requirement = SloSizing(profile, 95.0).required(task)
    assert not requirement.prefill_feasible
    assert "TTFT target of 500 ms is infeasible" in requirement.warnings[0]
    busy = profile.prefill.ttft_ms(60_000.0) / 1000
    assert busy <= requirement.prefill <= 2 * busy + 1, "no runaway"


def test_an_infeasible_itl_is_said_and_sized_for_throughput(profile):
    task = Task(load=load(30.0), targets=Targets(ttft_ms=500.0, itl_ms=0.5), situation=situation())
    requirement = SloSizing(profile, 95.0).required(task)
    assert not requirement.decode_feasible
    assert "ITL target of 0.5 ms is infeasible" in requirement.warnings[0]
    assert requirement.decode <= required(profile, load(30.0))[1], "no runaway"


@pytest.mark.parametrize("budget", [3, 6, 9, 14])
@pytest.mark.parametrize("isl", [800.0, 8000.0])
def test_the_split_of_a_budget_is_the_best_there_is(profile, budget, isl):
    limits = Limits(min_endpoint=1, max_gpus=budget, prefill_gpus=1, decode_gpus=2)
    sizing, task = SloSizing(profile, 95.0), Task(load=load(60.0, isl=isl), targets=TARGETS, situation=situation())
    requirement = sizing.required(task)
    needs = limits.raise_to_minimum(requirement.prefill, requirement.decode)
    split = sizing.split(task, limits, needs, (None, None))
    assert limits.holds(*split)
    case = Case(sizing, task)
    every = itertools.product(range(1, needs[0] + 1), range(1, needs[1] + 1))
    best = max(case.value(*workers) for workers in every if limits.holds(*workers))
    assert case.value(*split) == pytest.approx(best)


@settings(max_examples=60)
@given(
    st.floats(0, 1000),
    st.floats(1, 50_000),
    st.floats(1, 5000),
    st.floats(0.2, 5),
    st.floats(0.2, 5),
    st.floats(0, 0.5),
    st.floats(0, 1e4),
)
def test_any_load_has_a_finite_requirement(profile, rate_rps, isl, osl, prefill, decode, error, queued):
    task = Task(
        load=load(rate_rps, isl, osl, error),
        targets=TARGETS,
        corrections=Corrections(prefill=prefill, decode=decode),
        situation=situation(queued=queued, prefill=Workers(1), startup_s=60.0, decoding=queued),
    )
    requirement = SloSizing(profile, 95.0).required(task)
    assert requirement.prefill >= (rate_rps > 1e-6)
    assert requirement.decode >= (rate_rps > 1e-6)


def test_no_load_needs_no_workers(profile):
    assert required(profile, load(0.0)) == (0, 0)
