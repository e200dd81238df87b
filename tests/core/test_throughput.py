import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.decision import LoadForecast
from planner.core.sizing import Corrections, Targets, Task
from planner.core.throughput import ThroughputSizing

TARGETS = Targets(ttft_ms=500.0, itl_ms=20.0)


def load(rate_rps=20.0, isl=2000.0, osl=300.0):
    requests = rate_rps * 60
    return LoadForecast(requests=requests, requests_p10=requests, requests_p90=requests, isl=isl, osl=osl, interval=60)


def required(sizing, load, corrections=Corrections(), targets=TARGETS):  # noqa: B008 - frozen
    return sizing.required(Task(load=load, targets=targets, corrections=corrections))


@pytest.fixture
def sizing(profile):
    return ThroughputSizing(profile)


def test_the_published_rules(sizing, profile):
    requirement = required(sizing, load())
    prefill_per_worker = profile.prefill.throughput_per_gpu(2000.0) * profile.prefill.gpus
    decode_per_worker = profile.decode.best_throughput_per_gpu(20.0, 2150.0) * profile.decode.gpus
    assert requirement.prefill == math.ceil(20 * 2000 / prefill_per_worker)
    assert requirement.decode == math.ceil(20 * 300 / decode_per_worker)
    assert requirement.prefill_feasible
    assert requirement.decode_feasible
    assert not requirement.warnings


def test_queueing_does_not_count_as_prefill_work_but_a_faster_engine_does(sizing):
    plain = required(sizing, load(100.0))
    assert required(sizing, load(100.0), Corrections(prefill=3.0)).prefill == plain.prefill
    assert required(sizing, load(100.0), Corrections(prefill=0.5)).prefill == pytest.approx(plain.prefill / 2, abs=1)


def test_a_slower_decode_engine_needs_more_workers(sizing):
    plain = required(sizing, load(200.0))
    assert required(sizing, load(200.0), Corrections(decode=1.5)).decode > plain.decode


def test_an_infeasible_ttft_is_said_and_sized_for_throughput(sizing, profile):
    isl = 60_000.0
    requirement = required(sizing, load(1.0, isl=isl))
    assert not requirement.prefill_feasible
    assert "TTFT target of 500 ms is infeasible" in requirement.warnings[0]
    per_worker = profile.prefill.throughput_per_gpu(isl) * profile.prefill.gpus
    assert requirement.prefill == math.ceil(isl / per_worker), "no runaway"


def test_an_infeasible_itl_is_said_and_sized_for_throughput(sizing):
    tight = Targets(ttft_ms=500.0, itl_ms=0.5)
    requirement = required(sizing, load(50.0), targets=tight)
    assert not requirement.decode_feasible
    assert "ITL target of 0.5 ms is infeasible" in requirement.warnings[0]
    assert requirement.decode <= required(sizing, load(50.0)).decode, "no runaway"


@given(st.floats(0, 1000), st.floats(1, 50_000), st.floats(1, 5000), st.floats(0.2, 5), st.floats(0.2, 5))
def test_any_load_has_a_finite_requirement(profile, rate_rps, isl, osl, prefill, decode):
    corrections = Corrections(prefill=prefill, decode=decode)
    requirement = ThroughputSizing(profile).required(
        Task(load=load(rate_rps, isl, osl), targets=TARGETS, corrections=corrections)
    )
    assert requirement.prefill >= (rate_rps > 1e-6)
    assert requirement.decode >= (rate_rps > 1e-6)


def test_no_load_needs_no_workers(sizing):
    requirement = required(sizing, load(0.0))
    assert (requirement.prefill, requirement.decode) == (0, 0)
