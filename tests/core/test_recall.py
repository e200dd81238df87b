"""A planner that was restarted goes on as if it had not been."""

import dataclasses
import math
import random

import pytest

from planner import Observation, Planner, Settings, Workers
from planner.core.decision import Bound
from planner.planner import Remembered

EPOCH = 1_700_000_000.0


def make(profile, **options):
    return Planner(
        Settings(**{"adjustment_interval": 60, "load_predictor": "auto", "max_gpu_budget": 64, **options}),
        profile=profile,
    )


def play(planner, numbers, workers=(1, 1), load=lambda index: 2000 + 1500 * math.sin(index / 8)):
    """Observations with the workers that were asked for, and the decisions on them."""
    past = []
    for index in numbers:
        rng = random.Random(index)
        seen = Observation(
            time=EPOCH + 60 * index,
            interval=60.0,
            requests_started=max(0, round(load(index) + rng.gauss(0, 20))),
            isl=3000.0 + rng.gauss(0, 30),
            osl=400.0,
            ttft_ms=250.0 + rng.gauss(0, 5),
            itl_ms=24.0,
            isl_quantiles={0.5: 2800.0, 0.9: 5000.0 + rng.gauss(0, 50)},
            prefill=Workers(workers[0]),
            decode=Workers(workers[1]),
        )
        decision = planner.step(seen)
        workers = decision.prefill, decision.decode
        past.append(Remembered(seen, decision))
    return past


def answers(planner, past):
    return [planner.step(one.observation) for one in past]


@pytest.mark.parametrize(
    "options",
    [
        {"sizing": "slo"},
        {"sizing": "slo", "mode": "agg", "load_predictor": "kalman"},
        {"sizing": "throughput", "load_predictor": "constant"},
    ],
)
@pytest.mark.parametrize("restart", [5, 60, 83])
def test_the_same_decisions_follow_as_without_a_restart(profile, options, restart):
    options = {"scale_down_window": 600, **options}
    past = play(make(profile, **options), range(1, 120))
    again = make(profile, **options)
    assert again.recall(past[:restart], EPOCH + 60 * restart + 30) == restart
    assert answers(again, past[restart:]) == [one.decision for one in past[restart:]]


def test_what_was_learnt_is_there(profile):
    past = play(make(profile), range(1, 61))
    again = make(profile)
    again.recall(past, EPOCH + 3630)
    (before,), (fresh,) = (answers(one, play(make(profile), [61])[:1]) for one in (again, make(profile)))
    learnt = past[-1].decision.explanation
    assert before.explanation.prefill.correction_factor == pytest.approx(learnt.prefill.correction_factor, rel=0.05)
    assert before.explanation.decode.correction_factor != 1
    assert fresh.explanation.decode.correction_factor == 1
    assert before.explanation.forecast.requests_p90 > before.explanation.forecast.requests


def test_burstiness_is_taken_up(profile):
    (one,) = play(make(profile), [1])
    bursty = dataclasses.replace(
        one.decision, explanation=dataclasses.replace(one.decision.explanation, burstiness=6.0)
    )
    again = make(profile)
    again.recall([Remembered(one.observation, bursty)], EPOCH + 90)
    assert play(again, [2])[0].decision.explanation.burstiness == 6.0


def test_how_many_come_together_is_taken_up(profile):
    """Also at a reaction, and what is learnt next is learnt from there."""
    generator = random.Random(1)
    planner, past = make(profile, mode="agg", load_predictor="kalman"), []
    for index in range(1, 20):
        step = index % 6 == 0
        seen = Observation(
            time=EPOCH + 10.0 * index,
            interval=60.0 if step else 10.0,
            requests_started=1800 if step else 300,
            isl=3000.0,
            osl=400.0,
            queued=float(generator.randrange(20)),
            inflight=100.0,
            decode=Workers(12),
        )
        past.append(Remembered(seen, planner.step(seen) if step else planner.react(seen), reaction=not step))
    again = make(profile, mode="agg", load_predictor="kalman")
    again.recall(past[:-1], EPOCH + 185)
    assert again.react(past[-1].observation).explanation.peakedness == past[-1].decision.explanation.peakedness > 1


def test_the_peak_of_an_interval_is_taken_up(profile):
    past = play(make(profile), range(1, 31))
    uneven = [
        dataclasses.replace(
            one,
            decision=dataclasses.replace(
                one.decision, explanation=dataclasses.replace(one.decision.explanation, peak=3.0)
            ),
        )
        for one in past
    ]
    tokens = []
    for told in (past, uneven):
        again = make(profile)
        again.recall(told, EPOCH + 1830)
        tokens.append(again.decide(past[-1].observation).explanation.forecast.input_tokens.mean)
    assert tokens[1] > 2 * tokens[0]


def test_start_up_times_are_measured_over_a_restart(profile):
    def seen(number, ready, pending):
        return Observation(
            time=EPOCH + 60 * number,
            interval=60.0,
            requests_started=4000.0,
            isl=3000.0,
            osl=400.0,
            prefill=Workers(ready, pending),
            decode=Workers(9),
        )

    planner = make(profile)
    first = seen(1, 1, 0)
    decision = planner.step(first)
    assert decision.prefill > 1
    again = make(profile)
    again.recall([Remembered(first, decision)], EPOCH + 90)
    for number in range(2, 8):
        again.step(seen(number, 1, decision.prefill - 1))
    again.step(seen(8, decision.prefill, 0))
    assert again._policy._prefill.startup.p90_s == 7 * 60


def test_a_long_absence_begins_patience_anew_and_lets_time_pass_in_the_forecast(profile):
    options = {"sizing": "throughput", "scale_down_window": 600, "load_predictor": "constant"}
    past = play(make(profile, **options), range(1, 61), load=lambda _: 4000)
    top = past[-1].decision.prefill
    quiet = [Observation(time=EPOCH + 60 * (60 + 1), interval=60.0, requests_started=60.0, isl=3000.0, osl=400.0)]

    def after(minutes):
        again = make(profile, **options)
        again.recall(past, EPOCH + 60 * (60 + minutes))
        seen = dataclasses.replace(
            quiet[0],
            time=EPOCH + 60 * (60 + minutes),
            prefill=Workers(top),
            decode=Workers(past[-1].decision.decode),
        )
        return again.step(seen)

    for minutes in (1, 30, 60 * 24 * 30):
        decision = after(minutes)
        assert decision.prefill == top, f"patience holds {minutes} minutes later"
        assert decision.explanation.prefill.bound_by is Bound.PATIENCE


def test_another_interval_and_the_future_are_left_out(profile):
    past = play(make(profile), range(1, 11))
    assert make(profile, adjustment_interval=30).recall(past, EPOCH + 1000) == 0
    assert make(profile).recall(past, EPOCH + 60 * 5) == 5
    assert make(profile).recall([], EPOCH) == 0


def test_a_reaction_is_taken_up_without_its_load(profile):
    past = play(make(profile), range(1, 21))
    moment = dataclasses.replace(past[-1].observation, time=EPOCH + 60 * 20 + 5, interval=5.0, requests_started=9000.0)
    planner = make(profile)
    planner.recall(past, moment.time)
    decision = planner.react(moment)
    assert decision.prefill > past[-1].decision.prefill
    with_it, without = make(profile), make(profile)
    with_it.recall([*past, Remembered(moment, decision, reaction=True)], moment.time + 1)
    without.recall(past, moment.time + 1)
    assert with_it._policy._demand.forecast() == without._policy._demand.forecast()
    assert with_it._policy._prefill.standing == decision.prefill
