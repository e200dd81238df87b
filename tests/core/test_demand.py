import random

import pytest

from planner import Observation
from planner.core.demand import Demand, LoadPredictors, Sight
from predictors import InlineFitter, PredictorOptions, make_predictor


@pytest.fixture
def demand():
    predictors = [make_predictor("constant", PredictorOptions(interval_s=60), InlineFitter()) for _ in range(3)]
    load = LoadPredictors(requests=predictors[0], isl=predictors[1], osl=predictors[2])
    return Demand(load, interval=60, isl=3000, osl=150)


def seen(index, requests, interval=60.0, **fields):
    return Observation(time=60.0 * index, interval=interval, requests_started=requests, **fields)


def learn(demand, observation):
    demand.learn(observation, idle_intervals=2)


def test_nothing_is_forecast_before_anything_was_seen(demand):
    assert demand.forecast() is None
    learn(demand, seen(1, None))
    assert demand.sight is Sight.BLIND
    assert demand.forecast() is None


def test_configured_lengths_stand_in_until_lengths_are_seen(demand):
    learn(demand, seen(1, 120))
    forecast = demand.forecast()
    assert (forecast.requests, forecast.isl, forecast.osl) == (120, 3000, 150)
    assert forecast.request_rate_rps == 2
    learn(demand, seen(2, 120, isl=500.0, osl=80.0))
    assert (demand.forecast().isl, demand.forecast().osl) == (500, 80)


def test_a_longer_interval_does_not_look_like_more_load(demand):
    learn(demand, seen(1, 240, interval=120.0))
    assert demand.forecast().requests == 120


def test_idleness_is_confirmed_by_a_second_interval(demand):
    learn(demand, seen(1, 60, isl=500.0))
    assert demand.sight is Sight.ACTIVE
    learn(demand, seen(2, 0))
    assert demand.sight is Sight.QUIET
    learn(demand, seen(3, 0))
    assert demand.sight is Sight.IDLE
    assert demand.forecast().isl == 500, "an idle interval says nothing about lengths"


def test_a_blind_interval_neither_starts_nor_breaks_idleness(demand):
    learn(demand, seen(1, 60))
    for index, sight in enumerate([Sight.BLIND, Sight.QUIET, Sight.BLIND, Sight.IDLE], start=2):
        learn(demand, seen(index, None if sight is Sight.BLIND else 0))
        assert demand.sight is sight


def test_pauses_after_which_load_came_back_are_no_idleness(demand):
    for index, requests in enumerate([60, 0, 0, 0, 60, *[0] * 6], start=1):
        learn(demand, seen(index, requests))
    assert demand.sight is Sight.QUIET
    learn(demand, seen(12, 0))
    assert demand.sight is Sight.IDLE, "it is more than twice as long as any pause before"


def test_bands_are_of_tokens_where_they_are_followed():
    """Many short requests and few long ones by turns are as much work all the time."""
    generator = random.Random(1)
    many = False
    series = [make_predictor("auto", PredictorOptions(interval_s=60), InlineFitter()) for _ in range(5)]
    demand = Demand(LoadPredictors(*series), interval=60, isl=3000, osl=150)
    for index in range(60):
        many ^= generator.random() < 0.3
        learn(demand, seen(index, 6000 if many else 3000, isl=600.0 if many else 1200.0, osl=100.0))
    forecast = demand.forecast(3)
    assert forecast.requests_p90 > 1.3 * forecast.requests
    assert forecast.input_tokens.mean == pytest.approx(3_600_000, rel=0.01)
    assert forecast.input_tokens.p90 < 1.05 * forecast.input_tokens.mean
    assert forecast.output_tokens.p90 > 1.3 * forecast.output_tokens.mean


@pytest.mark.parametrize(
    ("fields", "known"),
    [({"requests_started": 5, "isl": 10.0}, 50.0), ({"requests_started": 5}, None), ({"requests_started": 0}, 0.0)],
)
def test_tokens_are_unknown_where_a_factor_is(fields, known):
    told = []

    class Listener:
        def observe(self, value, time=None):
            told.append(value)

        def forecast(self, horizon_steps=1):
            return None

    listeners = [Listener() for _ in range(3)]
    demand = Demand(LoadPredictors(*listeners, input_tokens=Listener()), interval=60, isl=3000, osl=150)
    learn(demand, Observation(time=60.0, interval=60.0, **fields))
    assert told[2] == known, "requests, ISL, input tokens, OSL"


def test_pauses_are_forgotten_and_a_night_is_none(demand):
    for index, requests in enumerate([60, 0, 0, 0, *[60] * 60, *[0] * 40, 60, 0, 0], start=1):
        learn(demand, seen(index, requests))
    assert demand.sight is Sight.IDLE


def test_requests_still_in_the_system_are_load(demand):
    for index in range(1, 5):
        learn(demand, seen(index, 0, inflight=4))
        assert demand.sight is Sight.ACTIVE
