import pytest

from planner import Observation
from planner.core.demand import Demand, LoadPredictors, Sight
from predictors import InlineFitter, PredictorOptions, make_predictor


@pytest.fixture
def demand():
    predictors = [make_predictor("constant", PredictorOptions(interval_s=60), InlineFitter()) for _ in range(3)]
    load = LoadPredictors(requests=predictors[0], isl=predictors[1], osl=predictors[2])
    return Demand(load, interval=60, isl=3000, osl=150, idle_intervals=2)


def seen(index, requests, interval=60.0, **fields):
    return Observation(time=60.0 * index, interval=interval, requests_started=requests, **fields)


def test_nothing_is_forecast_before_anything_was_seen(demand):
    assert demand.forecast() is None
    demand.learn(seen(1, None))
    assert demand.sight is Sight.BLIND
    assert demand.forecast() is None


def test_configured_lengths_stand_in_until_lengths_are_seen(demand):
    demand.learn(seen(1, 120))
    forecast = demand.forecast()
    assert (forecast.requests, forecast.isl, forecast.osl) == (120, 3000, 150)
    assert forecast.request_rate_rps == 2
    demand.learn(seen(2, 120, isl=500.0, osl=80.0))
    assert (demand.forecast().isl, demand.forecast().osl) == (500, 80)


def test_a_longer_interval_does_not_look_like_more_load(demand):
    demand.learn(seen(1, 240, interval=120.0))
    assert demand.forecast().requests == 120


def test_idleness_is_confirmed_by_a_second_interval(demand):
    demand.learn(seen(1, 60, isl=500.0))
    assert demand.sight is Sight.ACTIVE
    demand.learn(seen(2, 0))
    assert demand.sight is Sight.QUIET
    demand.learn(seen(3, 0))
    assert demand.sight is Sight.IDLE
    assert demand.forecast().isl == 500, "an idle interval says nothing about lengths"


def test_a_blind_interval_neither_starts_nor_breaks_idleness(demand):
    demand.learn(seen(1, 60))
    for index, sight in enumerate([Sight.BLIND, Sight.QUIET, Sight.BLIND, Sight.IDLE], start=2):
        demand.learn(seen(index, None if sight is Sight.BLIND else 0))
        assert demand.sight is sight


def test_pauses_after_which_load_came_back_are_no_idleness(demand):
    for index, requests in enumerate([60, 0, 0, 0, 60, 0, 0, 0], start=1):
        demand.learn(seen(index, requests))
    assert demand.sight is Sight.QUIET
    demand.learn(seen(9, 0))
    assert demand.sight is Sight.IDLE, "it is longer than any pause before"


def test_pauses_are_forgotten_and_a_night_is_none(demand):
    for index, requests in enumerate([60, 0, 0, 0, *[60] * 60, *[0] * 40, 60, 0, 0], start=1):
        demand.learn(seen(index, requests))
    assert demand.sight is Sight.IDLE


def test_requests_still_in_the_system_are_load(demand):
    for index in range(1, 5):
        demand.learn(seen(index, 0, inflight=4))
        assert demand.sight is Sight.ACTIVE
