"""The closed loop: what is counted, what is paid, and that it repeats itself."""

from dataclasses import replace

import pytest

from planner import Observation, Planner, Settings, Workers
from planner.core.budget import Limits
from planner.core.sizing import Targets
from planner.simulation.arrival import Arrival
from planner.simulation.baselines import Reactive, Static
from planner.simulation.foresight import foresee
from planner.simulation.loop import Simulation, World
from planner.simulation.pattern import Pattern, generate
from profiles import sample_profile_dir

TARGETS = Targets(ttft_ms=500.0, itl_ms=15.0)
LIMITS = Limits(min_endpoint=1, max_gpus=None, prefill_gpus=1, decode_gpus=1)
PATTERN = Pattern(kind="sinusoid", rps=4.0, peak_rps=30.0, period_s=1200.0, duration_s=2400.0, isl=3000.0, osl=200.0)


def world(profile, **options):
    return World(engines=profile, targets=TARGETS, **{"startup_s": 60.0, "initial": (2, 1), **options})


def planner(profile, **options):
    settings = Settings(
        **{
            "profile_results_dir": str(sample_profile_dir()),
            "adjustment_interval": 60,
            "ttft": 500,
            "itl": 15,
            "max_gpu_budget": -1,
            "worker_startup": 60,
            **options,
        }
    )
    return Planner(settings, profile=profile)


def test_a_static_deployment_is_paid_by_the_hour(profile):
    arrivals = [Arrival(float(time), 1000, 20) for time in range(1, 3601)]
    run = Simulation(world(profile, initial=(3, 2)), Static(3, 2)).run(iter(arrivals))
    assert run.score.requests == 3600
    assert run.score.within_both == 1.0
    assert run.score.gpu_hours == pytest.approx(5.0, rel=1e-3)
    assert run.score.scalings_per_hour == 0
    assert run.score.ttft.mean == pytest.approx(profile.prefill.ttft_ms(1000), rel=0.01)


@pytest.mark.parametrize(("workers", "step_tokens"), [((1, 1), None), ((3, 2), None), ((0, 1), 2048), ((0, 3), 2048)])
def test_what_is_left_at_the_end_is_paid_for_by_the_time_it_takes(profile, workers, step_tokens):
    """Not for nothing, and no dearer for whoever was ready for more."""
    arrivals = [Arrival(10.0, 2000, 1)] * 3
    run = Simulation(world(profile, initial=workers, step_tokens=step_tokens), Static(*workers)).run(iter(arrivals))
    until_last_s, left_s = 10.0 * sum(workers), 3 * profile.prefill.ttft_ms(2000) / 1000
    assert run.score.requests == 3
    assert run.score.gpu_hours * 3600 == pytest.approx(until_last_s + left_s, rel=1e-6)


def test_sequences_that_end_late_are_paid_for_until_they_do(profile):
    run = Simulation(world(profile, initial=(1, 3)), Static(1, 3)).run(iter([Arrival(10.0, 2000, 101)]))
    decode_s = 100 * profile.decode.itl_ms(1, 2050) / 1000
    left_s = profile.prefill.ttft_ms(2000) / 1000 + decode_s
    assert run.score.gpu_hours * 3600 == pytest.approx(40.0 + left_s, rel=1e-3)


def test_the_bound_is_work_over_the_best_throughput(profile):
    arrivals = [Arrival(float(time), 1000, 20) for time in range(1, 601)]
    run = Simulation(world(profile), Static(2, 1)).run(iter(arrivals))
    prefill_s = profile.prefill.ttft_ms(1000) / 1000
    decode_s = 20 / profile.decode.best_throughput_per_gpu(15.0, 1010)
    assert run.score.bound_gpu_hours == pytest.approx(600 * (prefill_s + decode_s) / 3600, rel=0.02)


def test_what_no_engine_could_serve_is_counted_apart(profile):
    arrivals = [Arrival(float(time), 60_000 if time % 2 else 500, 5) for time in range(1, 401)]
    run = Simulation(world(profile, initial=(40, 1)), Static(40, 1)).run(iter(arrivals))
    assert run.score.infeasible == 200
    assert run.score.within_both == 1.0


def test_observations_are_those_of_a_frontend(profile):
    seen = []

    class Spy(Static):
        def step(self, observation):
            seen.append(observation)
            return super().step(observation)

    arrivals = [Arrival(0.5 + time, 2000, 100) for time in range(180)]
    Simulation(world(profile, reactions=1), Spy(2, 1)).run(iter(arrivals))
    first = seen[0]
    assert (first.interval, first.requests_started) == (60.0, 60)
    assert first.isl == 2000
    assert first.ttft_ms == pytest.approx(profile.prefill.ttft_ms(2000), rel=0.01)
    assert first.requests_completed + first.inflight == 60
    assert first.prefill.ready == 2


def test_reads_can_fail_and_workers_die(profile):
    blind = []

    class Spy(Static):
        def step(self, observation):
            blind.append(observation.blind)
            return super().step(observation)

    arrivals = list(generate(PATTERN))
    run = Simulation(world(profile, missing_reads=0.3, worker_mtbf_s=600.0, initial=(6, 4)), Spy(6, 4)).run(
        iter(arrivals)
    )
    assert 0 < sum(blind) < len(blind)
    assert run.score.requests == len(arrivals), "nothing is lost"
    assert run.score.scalings_per_hour > 0, "workers that died are replaced"


def test_a_run_keeps_the_reactions_that_changed_something(profile):
    class Jumpy(Static):
        def react(self, observation):
            return replace(self.step(observation), prefill=3 if observation.time > 130 else 2)

    run = Simulation(world(profile, initial=(2, 1)), Jumpy(2, 1)).run(
        iter([Arrival(0.0, 100, 2), Arrival(200.0, 100, 2)])
    )
    assert [(point.time_s, point.target) for point in run.reactions] == [(140.0, (3, 1)), (190.0, (3, 1))]
    assert [point.time_s for point in run.decisions] == [60.0, 120.0, 140.0, 180.0, 190.0]


def test_the_same_run_twice_is_the_same_bit_for_bit(profile):
    def run():
        conditions = world(profile, startup_cv=0.3, missing_reads=0.1, worker_mtbf_s=1800.0, seed=5)
        return Simulation(conditions, planner(profile)).run(generate(PATTERN))

    assert run() == run()


def test_the_planner_beats_the_published_rules_and_the_autoscaler(profile):
    runs = {
        name: Simulation(world(profile, reactions=reactions), decider).run(generate(PATTERN)).score
        for name, reactions, decider in (
            ("slo", 6, planner(profile)),
            ("published", 1, planner(profile, sizing="throughput", load_predictor="constant")),
            ("hpa", 1, Reactive(TARGETS, LIMITS)),
        )
    }
    assert runs["slo"].within_both > 0.97
    assert runs["published"].within_both < runs["slo"].within_both - 0.2
    assert runs["hpa"].within_both < runs["slo"].within_both


def test_who_knows_the_arrivals_spends_less(profile):
    settings = planner(profile).settings
    knowing = Planner(settings, profile=profile, predictors=foresee(generate(PATTERN), 60.0))
    informed = Simulation(world(profile), knowing).run(generate(PATTERN)).score
    plain = Simulation(world(profile), planner(profile)).run(generate(PATTERN)).score
    assert informed.within_both > 0.95
    assert informed.gpu_hours < plain.gpu_hours


def test_who_knows_the_arrivals_knows_how_they_come_within_an_interval():
    """Sixty requests in ten seconds meet nearly six times the load that they are in a minute."""
    clump = [Arrival(100.0 + time / 6, 1000, 100) for time in range(60)]
    by_minute, by_look = foresee(clump, 60.0).input_tokens, foresee(clump, 60.0, 6).input_tokens
    assert [by_minute.forecast(step).mean for step in (1, 2)] == [0, 60_000]
    assert [by_look.forecast(step).mean for step in (1, 2)] == pytest.approx([0, 6 * 60_000], rel=0.03)


def test_an_autoscaler_that_chases_a_target_out_of_reach_stops_at_its_maximum():
    impossible = Reactive(TARGETS, LIMITS, maximum=40)
    workers = Workers(ready=2)
    for minute in range(10):
        seen = Observation(
            time=60.0 * minute,
            interval=60.0,
            requests_started=60,
            ttft_ms=1e6,
            itl_ms=1e3,
            prefill=workers,
            decode=workers,
        )
        decision = impossible.step(seen)
        workers = Workers(ready=decision.prefill)
    assert (decision.prefill, decision.decode) == (40, 40)


@pytest.mark.parametrize(("ttft", "itl"), [(1.5, 1.0), (1.0, 1.5), (1.4, 1.4)])
def test_a_profile_that_is_too_optimistic_is_corrected(profile, ttft, itl):
    from planner.simulation.distortion import slower

    pattern = Pattern(kind="constant", rps=25.0, peak_rps=25.0, duration_s=5400.0, isl=3000.0, osl=200.0)
    truth = slower(profile, ttft=ttft, itl=itl)
    corrected = Simulation(world(truth, initial=(4, 2)), planner(profile)).run(generate(pattern))
    trusting = Simulation(world(truth, initial=(4, 2)), planner(profile, no_correction=True)).run(generate(pattern))
    assert corrected.score.within_both > 0.95
    assert corrected.score.within_both >= trusting.score.within_both - 0.005
