import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.decision import LoadForecast
from planner.core.sizing import Corrections, Targets
from planner.core.throughput import ThroughputSizing

TARGETS = Targets(ttft_ms=500.0, itl_ms=20.0)


def load(rate_rps=20.0, isl=2000.0, osl=300.0):
    requests = rate_rps * 60
    return LoadForecast(requests=requests, requests_p10=requests, requests_p90=requests, isl=isl, osl=osl, interval=60)


@pytest.fixture
def sizing(profile):
    return ThroughputSizing(profile)


def test_the_published_rules(sizing, profile):
    requirement = sizing.required(load(), TARGETS, Corrections())
    prefill_per_worker = profile.prefill.throughput_per_gpu(2000.0) * profile.prefill.gpus
    decode_per_worker = profile.decode.best_throughput_per_gpu(20.0, 2150.0) * profile.decode.gpus
    assert requirement.prefill == math.ceil(20 * 2000 / prefill_per_worker)
    assert requirement.decode == math.ceil(20 * 300 / decode_per_worker)
    assert requirement.prefill_feasible
    assert requirement.decode_feasible
    assert not requirement.warnings


def test_queueing_does_not_count_as_prefill_work_but_a_faster_engine_does(sizing):
    plain = sizing.required(load(100.0), TARGETS, Corrections())
    assert sizing.required(load(100.0), TARGETS, Corrections(prefill=3.0)).prefill == plain.prefill
    assert sizing.required(load(100.0), TARGETS, Corrections(prefill=0.5)).prefill == pytest.approx(
        plain.prefill / 2, abs=1
    )


def test_a_slower_decode_engine_needs_more_workers(sizing):
    plain = sizing.required(load(200.0), TARGETS, Corrections())
    assert sizing.required(load(200.0), TARGETS, Corrections(decode=1.5)).decode > plain.decode


def test_an_infeasible_ttft_is_said_and_sized_for_throughput(sizing, profile):
    isl = 60_000.0
    requirement = sizing.required(load(1.0, isl=isl), TARGETS, Corrections())
    assert not requirement.prefill_feasible
    assert "TTFT target of 500 ms is infeasible" in requirement.warnings[0]
    per_worker = profile.prefill.throughput_per_gpu(isl) * profile.prefill.gpus
    assert requirement.prefill == math.ceil(isl / per_worker), "no runaway"


def test_an_infeasible_itl_is_said_and_sized_for_throughput(sizing):
    tight = Targets(ttft_ms=500.0, itl_ms=0.5)
    requirement = sizing.required(load(50.0), tight, Corrections())
    assert not requirement.decode_feasible
    assert "ITL target of 0.5 ms is infeasible" in requirement.warnings[0]
    assert requirement.decode <= sizing.required(load(50.0), TARGETS, Corrections()).decode, "no runaway"


@given(st.floats(0, 1000), st.floats(1, 50_000), st.floats(1, 5000), st.floats(0.2, 5), st.floats(0.2, 5))
def test_any_load_has_a_finite_requirement(profile, rate_rps, isl, osl, prefill, decode):
    corrections = Corrections(prefill=prefill, decode=decode)
    requirement = ThroughputSizing(profile).required(load(rate_rps, isl, osl), TARGETS, corrections)
    assert requirement.prefill >= (rate_rps > 1e-6)
    assert requirement.decode >= (rate_rps > 1e-6)


def test_no_load_needs_no_workers(sizing):
    requirement = sizing.required(load(0.0), TARGETS, Corrections())
    assert (requirement.prefill, requirement.decode) == (0, 0)
