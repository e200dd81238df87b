import math

import numpy as np
import pytest

from planner import Observation, Workers


def test_unknown_is_not_idle():
    unknown = Observation(time=60, interval=60)
    assert unknown.blind
    assert not unknown.idle
    assert unknown.request_rate_rps is None


def test_idle_needs_an_empty_system():
    assert Observation(time=60, interval=60, requests_started=0).idle
    assert Observation(time=60, interval=60, requests_started=0, inflight=0, queued=0).idle
    assert not Observation(time=60, interval=60, requests_started=0, inflight=3).idle
    assert not Observation(time=60, interval=60, requests_started=0, queued=1).idle
    assert not Observation(time=60, interval=60, requests_started=1).idle


def test_rate():
    assert Observation(time=60, interval=60, requests_started=240).request_rate_rps == 4


@pytest.mark.parametrize("quantiles", [{0.5: math.nan}, {0.9: -1.0}, {95: 300.0}])
def test_quantiles_that_cannot_have_been_observed_are_refused(quantiles):
    with pytest.raises(ValueError, match=r"Observation\.ttft_quantiles_ms has"):
        Observation(time=60, interval=60, ttft_quantiles_ms=quantiles)


def test_numbers_of_numpy_are_looked_at_too():
    with pytest.raises(ValueError, match=r"Observation\.isl is .*nan"):
        Observation(time=60, interval=60, isl=np.float32("nan"))


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("field", ["requests_started", "isl", "ttft_ms", "inflight"])
def test_numbers_that_cannot_have_been_observed_are_refused(field, value):
    with pytest.raises(ValueError, match=f"Observation.{field} is {value}"):
        Observation(time=60, interval=60, **{field: value})


@pytest.mark.parametrize("interval", [0, -1, math.nan])
def test_an_interval_has_a_length(interval):
    with pytest.raises(ValueError, match="interval"):
        Observation(time=60, interval=interval)


def test_negative_workers_are_refused():
    with pytest.raises(ValueError, match=r"Workers\.pending is -1"):
        Workers(ready=1, pending=-1)


@pytest.mark.parametrize("ready", [1.5, "2", None])
def test_workers_are_whole(ready):
    with pytest.raises(ValueError, match=r"Workers\.ready is .*; a count of workers is a whole number of 0 or more"):
        Workers(ready)
    assert Workers(np.int64(2)).requested == 2


def test_what_is_no_number_is_told_by_name():
    with pytest.raises(ValueError, match=r"Observation\.isl is '3000'; it is a finite number"):
        Observation(time=60, interval=60, isl="3000")
    with pytest.raises(TypeError, match=r"Observation\.prefill is 3; it is Workers"):
        Observation(time=60, interval=60, prefill=3)
    with pytest.raises(TypeError, match=r"Observation\.isl_quantiles is \[3000\]; it is a mapping"):
        Observation(time=60, interval=60, isl_quantiles=[3000])


def test_time_is_always_known():
    with pytest.raises(ValueError, match=r"Observation\.time is None; it is in seconds since the epoch"):
        Observation(time=None, interval=60)


def test_requested_workers_are_those_that_serve_or_will():
    assert Workers(ready=2, pending=3, draining=4).requested == 5
