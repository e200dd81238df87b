"""Sizing of one pool for both phases, against its simulation."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import Observation, Planner, Settings, Workers
from planner.core.aggregated import AggregatedSloSizing, AggregatedThroughputSizing
from planner.core.budget import Limits
from planner.core.decision import Bound, LoadForecast
from planner.core.lengths import LengthShape
from planner.core.sizing import Corrections, Situation, Targets, Task
from planner.core.slo import SloSizing
from planner.simulation.aggregated import AggregatedDeployment
from profiles import sample_profile_dir

TARGETS = Targets(ttft_ms=500.0, itl_ms=15.0)
STEP_TOKENS = 8192


def task(rate_rps, targets=TARGETS, isl=3000.0, osl=300.0, corrections=None, **known):
    requests = rate_rps * 60
    load = LoadForecast(requests=requests, requests_p10=requests, requests_p90=requests, isl=isl, osl=osl, interval=60)
    situation = Situation(isl_spread=LengthShape().spread(), osl_spread=LengthShape().spread(), **known)
    return Task(load=load, targets=targets, corrections=corrections or Corrections(), situation=situation)


def needed(profile, *arguments, percentile=95.0, **options):
    requirement = AggregatedSloSizing(profile, percentile, STEP_TOKENS).required(task(*arguments, **options))
    assert requirement.prefill == 0
    return requirement.decode


def attained(profile, workers, rate_rps, requests=20_000, variation=1.0, targets=TARGETS):
    """Share of requests within both targets of a steady load with log-normal lengths; its gaps vary so much."""
    generator = np.random.default_rng(1)
    deployment = AggregatedDeployment(profile, startup=lambda: 0.0, step_tokens=STEP_TOKENS, workers=workers)
    shape = np.exp(0.6 * generator.normal(size=(requests, 2)) - 0.18)
    lengths = np.maximum(1, (shape * (3000, 300)).round()).astype(int).tolist()
    time, served = 0.0, []
    gaps = generator.gamma(1 / variation**2, variation**2 / rate_rps, requests)
    for gap, (isl, osl) in zip(gaps, lengths, strict=True):
        time += gap
        served.append(deployment.submit(time, isl, osl))
    deployment.drain()
    possible = [one for one in served if profile.prefill.ttft_ms(one.isl) <= targets.ttft_ms]
    met = [one.ttft_ms <= targets.ttft_ms and (one.itl_ms or 0) <= targets.itl_ms for one in possible]
    return float(np.mean(met[len(met) // 10 :]))


@pytest.mark.parametrize("rate_rps", [10.0, 40.0])
def test_the_workers_are_enough_and_a_quarter_fewer_are_not(profile, rate_rps):
    workers = needed(profile, rate_rps)
    assert attained(profile, workers, rate_rps) >= 0.94
    assert attained(profile, int(0.75 * workers), rate_rps) < 0.95


def smallest(profile, wanted, *arguments, **options):
    return next(n for n in range(1, 200) if attained(profile, n, *arguments, **options) >= wanted)


@pytest.mark.parametrize("percentile", [80.0, 95.0, 99.0])
@pytest.mark.parametrize(("variation", "burstiness"), [(1.0, 1.0), (3.0, 7.0)])
def test_a_steady_load_gets_hardly_a_worker_more_than_it_needs(profile, percentile, variation, burstiness):
    """All workers see the same waves, so that the more of them there are the smaller waves get."""
    workers = needed(profile, 20.0, percentile=percentile, burstiness=burstiness)
    least = smallest(profile, percentile / 100, 20.0, variation=variation)
    assert least <= workers <= least + 1


def test_bursts_make_prompts_wait_for_each_other(profile):
    """Where the TTFT target is what is tight, arrivals in bursts need more workers, though these are idle mostly."""
    tight = Targets(ttft_ms=250.0, itl_ms=40.0)
    workers = needed(profile, 10.0, targets=tight, burstiness=7.0)
    assert workers > needed(profile, 10.0, targets=tight)
    assert attained(profile, workers, 10.0, variation=3.0, targets=tight) >= 0.94
    assert attained(profile, workers - 2, 10.0, variation=3.0, targets=tight) < 0.95


def test_latencies_as_the_profile_has_them_are_what_is_expected(profile):
    """Prompts of different lengths take longer in the mean than one of mean length."""
    sizing, rate_rps, workers = AggregatedSloSizing(profile, 95.0, STEP_TOKENS), 20.0, 6
    generator = np.random.default_rng(4)
    deployment = AggregatedDeployment(profile, startup=lambda: 0.0, step_tokens=STEP_TOKENS, workers=workers)
    isl = (3000 * np.exp(0.9 * generator.normal(size=20_000) - 0.405)).astype(int) + 1
    times = generator.exponential(1 / rate_rps, len(isl)).cumsum()
    served = [deployment.submit(time, length, 300) for time, length in zip(times, isl.tolist(), strict=True)]
    deployment.drain()
    steady = served[2000:]
    observation = Observation(
        time=60.0,
        interval=60.0,
        requests_started=60 * rate_rps,
        requests_completed=60 * rate_rps,
        isl=float(isl.mean()),
        osl=300.0,
        isl_quantiles=dict(zip((0.5, 0.9, 0.99), np.quantile(isl, (0.5, 0.9, 0.99)).tolist(), strict=True)),
        ttft_ms=float(np.mean([one.ttft_ms for one in steady])),
        request_duration_s=float(np.mean([one.duration_s for one in steady])),
        decode=Workers(workers),
    )
    seen_ms = np.mean([one.itl_ms for one in steady])
    assert sizing.expected_itl_ms(observation, Corrections(), Situation()) == pytest.approx(seen_ms, rel=0.03)


def test_what_overloaded_workers_leave_undone_waits_though_they_could_take_up_all_prompts(profile):
    """Two workers could prefill 20 requests/s, but not decode them besides; four can do both."""
    assert 20.0 * profile.prefill.ttft_ms(3000) / 1000 < 2
    overloaded = needed(profile, 20.0, queued=60.0, prefill=Workers(2), startup_s=90.0)
    assert overloaded > needed(profile, 20.0, queued=60.0, prefill=Workers(4), startup_s=90.0)


# Most outputs of one load are of one or three tokens.
SHORT = ((0.2, 1), (0.5, 3), (0.3, 100))


@pytest.mark.parametrize(("rate_rps", "workers"), [(20.0, 3), (60.0, 4), (60.0, 6)])
def test_outputs_of_a_few_tokens_are_late_as_often_as_expected(profile, rate_rps, workers):
    """A single prompt in between makes them late."""
    generator, targets = np.random.default_rng(1), Targets(ttft_ms=500.0, itl_ms=20.0)
    osl = generator.choice([tokens for _, tokens in SHORT], 20_000, p=[share for share, _ in SHORT])
    isl = np.maximum(1, (1000 * np.exp(0.6 * generator.normal(size=len(osl)) - 0.18)).round()).astype(int)
    times = generator.exponential(1 / rate_rps, len(osl)).cumsum()
    deployment = AggregatedDeployment(profile, startup=lambda: 0.0, step_tokens=STEP_TOKENS, workers=workers)
    served = [deployment.submit(*one) for one in zip(times.tolist(), isl.tolist(), osl.tolist(), strict=True)]
    deployment.drain()
    late = np.mean([(one.itl_ms or 0) > targets.itl_ms or one.ttft_ms > targets.ttft_ms for one in served[2000:]])
    mean = sum(share * tokens for share, tokens in SHORT)
    one = task(rate_rps, targets, isl=1000.0, osl=mean)
    spread = tuple((share, tokens / mean) for share, tokens in SHORT)
    one = dataclasses.replace(one, situation=dataclasses.replace(one.situation, osl_spread=spread))

    def needed_for(missed):
        return AggregatedSloSizing(profile, 100 * (1 - missed), STEP_TOKENS).required(one).decode

    assert needed_for(1.5 * late) <= workers <= needed_for(late / 1.5)
    assert needed_for(late / 3) > workers


@pytest.mark.parametrize("percentile", [80.0, 95.0])
def test_surges_are_more_load_at_times_and_no_clumps(profile, percentile):
    """The rate is another one every three seconds, in which requests are independent; windows of ten even it out."""
    generator, span_s, swing = np.random.default_rng(1), 3.0, 0.4
    counts = generator.poisson(span_s * 40.0 * generator.gamma(1 / swing**2, swing**2, 200))
    times = [np.sort(generator.uniform(span_s * n, span_s * (n + 1), count)) for n, count in enumerate(counts)]
    shape = np.exp(0.6 * generator.normal(size=(counts.sum(), 2)) - 0.18)
    lengths = np.maximum(1, (shape * (3000, 300)).round()).astype(int).tolist()

    def met(workers):
        deployment = AggregatedDeployment(profile, startup=lambda: 0.0, step_tokens=STEP_TOKENS, workers=workers)
        requests = zip(np.concatenate(times).tolist(), lengths, strict=True)
        served = [deployment.submit(time, isl, osl) for time, (isl, osl) in requests]
        deployment.drain()
        return np.mean([one.ttft_ms <= TARGETS.ttft_ms and one.itl_ms <= TARGETS.itl_ms for one in served])

    variance = swing**2 * span_s / 10
    # Tokens are expected to be as many as the load has that requests meet.
    rate_rps, burstiness = 40.0 * (1 + variance), 1 + variance * 400.0 / np.exp(0.36)
    known = {"burstiness": burstiness, "peakedness": 1.0, "surges_tps": variance * 40.0 * 3000}
    workers = needed(profile, rate_rps, percentile=percentile, **known)
    assert met(workers) >= percentile / 100
    assert met(workers - 2) < percentile / 100
    assert workers < needed(profile, rate_rps, percentile=percentile, burstiness=burstiness)


def test_prompts_that_the_batch_makes_late_are_late(profile):
    """Each takes ten steps of the batch, which no ITL target keeps small; in time on eight workers is every second."""
    sizing, targets = AggregatedSloSizing(profile, 95.0, 64), Targets(ttft_ms=60.0, itl_ms=1.0)
    assert sizing.required(task(40.0, targets, isl=640.0, osl=100.0)).decode > 8


@pytest.mark.parametrize("percentile", [None, 50.0, 95.0])
def test_surges_never_make_workers_needless(profile, percentile):
    surging = {"burstiness": 6.0, "peakedness": 1.0, "surges_tps": 40_000.0}
    assert needed(profile, 40.0, percentile=percentile, **surging) >= needed(profile, 40.0, percentile=percentile)


def test_large_pools_take_great_bursts_calmly(profile):
    assert needed(profile, 200.0, burstiness=20.0) < 1.5 * needed(profile, 200.0)


def test_interference_costs_more_than_both_phases_apart(profile):
    """At the same load the decode target leaves less room when prompts come in between."""
    apart = SloSizing(profile, 95.0).required(task(40.0))
    assert needed(profile, 40.0) > apart.decode


def test_more_load_tighter_targets_and_slower_engines_never_need_fewer(profile):
    assert needed(profile, 10.0) <= needed(profile, 20.0) <= needed(profile, 40.0)
    assert needed(profile, 20.0) <= needed(profile, 20.0, targets=Targets(ttft_ms=500.0, itl_ms=11.0))
    assert needed(profile, 20.0) <= needed(profile, 20.0, targets=Targets(ttft_ms=300.0, itl_ms=15.0))
    assert needed(profile, 20.0) <= needed(profile, 20.0, percentile=99.0)
    assert needed(profile, 20.0) <= needed(profile, 20.0, corrections=Corrections(prefill=1.3, decode=1.3))
    assert needed(profile, 20.0) <= needed(profile, 20.0, queued=200.0)


@pytest.mark.parametrize("sizing", [AggregatedThroughputSizing, lambda p: AggregatedSloSizing(p, 95.0, STEP_TOKENS)])
def test_targets_out_of_reach_are_named_and_do_not_run_away(profile, sizing):
    found = sizing(profile).required(task(10.0, Targets(ttft_ms=1.0, itl_ms=0.1)))
    assert not found.prefill_feasible
    assert not found.decode_feasible
    assert len(found.warnings) == 2
    reachable = sizing(profile).required(task(10.0, Targets(ttft_ms=5000.0, itl_ms=1000.0)))
    assert found.decode <= 3 * reachable.decode


def test_throughput_gives_prompts_and_tokens_their_share_of_time(profile):
    """Prompts take a share of the time of every worker; the batch of the rest must still meet the target."""
    load = task(40.0)
    workers = AggregatedThroughputSizing(profile).required(load).decode
    busy = 40 * profile.prefill.ttft_ms(3000) / 1000

    def made(number):
        left = 1 - busy / number
        return number * left * profile.decode.operating_point(15.0 * left, 3150).throughput_per_gpu

    assert made(workers) >= 40 * 300
    assert workers - 1 <= busy or made(workers - 1) < 40 * 300


@settings(max_examples=60)
@given(
    rate_rps=st.just(0.0) | st.floats(1e-6, 50.0),
    isl=st.floats(1.0, 50_000.0),
    osl=st.floats(1.0, 3000.0),
    percentile=st.sampled_from([None, 50.0, 95.0]),
    step_tokens=st.sampled_from([64, 2048, 8192]),
    known=st.fixed_dictionaries(
        {
            "burstiness": st.floats(1.0, 20.0),
            "peakedness": st.none() | st.floats(1.0, 100.0),
            "surges_tps": st.floats(0.0, 1e7),
            "queued": st.none() | st.floats(0.0, 100.0),
        }
    ),
)
def test_whatever_comes_and_is_known_some_workers_are_enough(
    profile, rate_rps, isl, osl, percentile, step_tokens, known
):
    sizing = AggregatedSloSizing(profile, percentile, step_tokens)
    found = sizing.required(task(rate_rps, isl=isl, osl=osl, **known))
    assert found.decode >= (1 if rate_rps else 0)
    assert sizing.required(task(2 * rate_rps, isl=isl, osl=osl, **known)).decode >= found.decode - 1


def test_nothing_arrives_nothing_is_needed(profile):
    assert needed(profile, 0.0) == 0
    assert AggregatedThroughputSizing(profile).required(task(0.0)).decode == 0


def test_the_budget_is_whole_workers_of_the_one_pool():
    limits = Limits(min_endpoint=2, max_gpus=7, prefill_gpus=1, decode_gpus=2, aggregated=True)
    assert limits.raise_to_minimum(0, 0) == (0, 2)
    assert limits.cut_to_budget(0, 9) == (0, 3)
    assert limits.fill_up((0, 2), (0, 9)) == (0, 3)


def make(**options):
    values = {
        "profile_results_dir": str(sample_profile_dir()),
        "mode": "agg",
        "adjustment_interval": 60,
        "ttft": 500,
        "itl": 15,
        "max_gpu_budget": -1,
        "load_predictor": "constant",
        "worker_startup": 60,
    }
    return Planner(Settings(**(values | options)))


TEN = Workers(10)


def seen(time, requests=1200.0, workers=TEN, **options):
    values = {
        "time": float(time),
        "interval": 60.0,
        "requests_started": requests,
        "requests_completed": requests,
        "isl": 3000.0,
        "osl": 300.0,
        "ttft_ms": 150.0,
        "itl_ms": 9.0,
        "inflight": 60.0,
        "queued": 2.0,
        "decode": workers,
    }
    return Observation(**(values | options))


class TestPlanner:
    """The whole decision; nobody says anything of prefill workers."""

    @pytest.mark.parametrize("sizing", ["slo", "throughput"])
    def test_the_pool_is_decode_and_prefill_is_0(self, sizing):
        decision = make(sizing=sizing).step(seen(60, workers=Workers(1)))
        assert (decision.previous_prefill, decision.previous_decode) == (0, 1)
        assert decision.prefill == 0
        assert decision.decode > 1
        assert "workers go from 1 to" in decision.explanation.reason
        assert "prefill" not in decision.explanation.reason

    def test_both_latencies_are_explained(self):
        planner = make()
        planner.step(seen(60))
        why = planner.step(seen(120)).explanation
        assert why.prefill.target_ms == 500
        assert why.prefill.observed_ms == 150
        assert why.prefill.expected_ms is not None
        assert why.decode.observed_ms == 9
        assert why.decode.expected_ms is not None

    def test_idle_goes_to_the_minimum_of_the_one_pool(self):
        planner = make(min_endpoint=2)
        planner.step(seen(60))
        idle = {"inflight": 0.0, "queued": 0.0, "isl": None, "osl": None, "ttft_ms": None, "itl_ms": None}
        decisions = [planner.step(seen(60 * n, 0.0, **idle)) for n in range(2, 6)]
        assert (decisions[-1].prefill, decisions[-1].decode) == (0, 2)

    def test_blind_holds(self):
        planner = make()
        planner.step(seen(60))
        decision = planner.step(Observation(time=120.0, interval=60.0, decode=Workers(7)))
        assert (decision.prefill, decision.decode) == (0, 7)
        assert decision.explanation.decode.bound_by is Bound.BLIND

    def test_a_queue_is_answered_between_adjustments(self):
        planner = make()
        planner.step(seen(60))
        before = planner.step(seen(120)).decode
        rushed = seen(130, 900.0, Workers(before), interval=10.0, queued=600.0, inflight=800.0)
        decision = planner.react(rushed)
        assert decision.prefill == 0
        assert decision.decode > before

    def test_the_budget_caps_it(self):
        decision = make(max_gpu_budget=3).step(seen(60, requests=6000.0))
        assert (decision.prefill, decision.decode) == (0, 3)
        assert decision.explanation.decode.bound_by is Bound.BUDGET

    def test_a_budget_below_one_worker_is_refused(self):
        with pytest.raises(ValueError, match="--min-endpoint 4 of 1 GPU an engine take 4 GPUs"):
            make(max_gpu_budget=3, min_endpoint=4)

    def test_slower_engines_are_learnt_from_both_latencies(self):
        """Latencies 1.5 times as high as expected, in the same batch, raise both factors and the need."""
        planner = make()
        planner.step(seen(0))
        why = planner.step(seen(60)).explanation
        ttft_ms, itl_ms = 1.5 * why.prefill.expected_ms, 1.5 * why.decode.expected_ms
        for n in range(2, 12):
            slow = planner.step(seen(60 * n, ttft_ms=ttft_ms, itl_ms=itl_ms, request_duration_s=ttft_ms / 1000 + 3.0))
        assert slow.explanation.prefill.correction_factor > 1.1
        assert slow.explanation.decode.correction_factor > 1.1

    def test_a_profile_of_two_engines_is_warned_about(self, tmp_path):
        planner = make(prefill_engine_num_gpu=2, decode_engine_num_gpu=4)
        assert any("--mode agg one engine serves both" in warning for warning in planner.warnings)
        assert planner.engine_gpus[1] == 4


def test_a_lull_with_sequences_in_the_batch_is_no_load():
    settings = Settings(
        profile_results_dir=str(sample_profile_dir()), mode="agg", adjustment_interval=60, max_gpu_budget=-1
    )
    planner = Planner(settings)
    for index in range(1, 12):
        requests = 0 if index in (6, 7) else 600
        lengths = {"isl": 3000.0, "osl": 900.0} if requests else {}
        seen = Observation(
            time=60.0 * index,
            interval=60.0,
            requests_started=requests,
            inflight=5,
            queued=0,
            decode=Workers(3),
            **lengths,
        )
        assert planner.step(seen).decode >= 1
        assert planner.react(dataclasses.replace(seen, time=60.0 * index + 10, interval=10.0)).decode >= 1
